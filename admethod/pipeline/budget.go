// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"sync"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Budget bounds the memory that streams may take, by the upper bounds that their adapters and detectors declare. In a
// mapper each namespace has one, in a server of detectors each client. The zero value gives each [DefaultBudget].
type Budget struct {
	Bytes int64            // for each; 0 means DefaultBudget, a negative one no bound
	Of    map[string]int64 // for some by name, as Bytes; without an entry it is Bytes
}

// DefaultBudget is what the streams of one namespace may take: 1 GiB.
const DefaultBudget = 1 << 30

// stagesCost is what the stages before the detector take of a property: its binding, categories, verdicts.
const stagesCost = 4 << 10

func (b *Budget) of(owner string) int64 {
	bytes, ok := b.Of[owner]
	if !ok || bytes == 0 {
		bytes = b.Bytes
	}
	if bytes == 0 {
		bytes = DefaultBudget
	}
	return bytes
}

// room says whether a stream fits beside what is spent, and if not, what of it costs most.
func (b *Budget) room(owner string, c driver.Cost, spent int64) error {
	limit := b.of(owner)
	if limit < 0 || c.Bytes <= limit-spent {
		return nil
	}
	key := c.By
	if key == "" {
		key = "detector"
	}
	return &params.Error{Key: key, Want: fmt.Sprintf(
		"takes up to %s of memory, and %q has %s left of its %s: lower it, or have the operator raise the budget",
		mebibytes(c.Bytes), owner, mebibytes(max(limit-spent, 0)), mebibytes(limit))}
}

// ledger holds budgets.
type ledger struct {
	budget Budget
	off    bool // whoever replays recordings has the process to himself

	mu    sync.Mutex
	spent map[string]int64 // by owner
}

// charge is what a stream is charged; nil is nothing.
type charge struct {
	ledger *ledger
	owner  string
	bytes  int64
}

// take charges a stream, in place of an old one that is given up once the new one is open: what they have in common
// is charged once. The error says what costs most.
func (l *ledger) take(owner string, c driver.Cost, old *charge) (*charge, error) {
	if l.off {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	spent := l.spent[owner]
	if old != nil && old.owner == owner {
		spent -= old.bytes
	}
	if err := l.budget.room(owner, c, spent); err != nil {
		return nil, err
	}
	if l.spent == nil {
		l.spent = make(map[string]int64)
	}
	l.spent[owner] += c.Bytes
	return &charge{ledger: l, owner: owner, bytes: c.Bytes}, nil
}

// release gives back what a stream was charged. It is idempotent.
func (c *charge) release() {
	if c == nil {
		return
	}
	l := c.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spent[c.owner] -= c.bytes; l.spent[c.owner] <= 0 {
		delete(l.spent, c.owner)
	}
	c.bytes = 0
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// cost is what a stream takes at most, its stages included. The parameter in it is a whole key.
func (o *Options) cost(s *admethod.StreamSettings) (driver.Cost, error) {
	f, err := o.Adapters.Lookup("adapter", s.Config.ADMethodName)
	if err != nil {
		return driver.Cost{}, fmt.Errorf("adMethodName: %w", err)
	}
	var c driver.Cost
	if f.Cost != nil {
		if c, err = f.Cost(o.Drivers, s); err != nil {
			return c, err
		}
	}
	c.Bytes += stagesCost * int64(len(s.Members))
	return c, nil
}

// charge charges a stream to its tenant.
func (h *Handler) charge(s *admethod.StreamSettings, old *charge) (*charge, error) {
	c, err := h.opts.cost(s)
	if err != nil {
		return nil, err
	}
	owner := s.Tenant
	if owner == "" {
		owner = s.Members[0].Key.Namespace
	}
	return h.ledger.take(owner, c, old)
}
