// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

type groupKey struct{ namespace, name string }

// group is the stream of properties that are scored together. While a member has no reading that counts, the members'
// verdicts are Unknown and name it.
type group struct {
	key     groupKey
	handler *Handler

	mu      sync.Mutex
	members []*Binding // sorted by key; a member's slot is its index
	rows    *stage.Rows
	stream  admethod.Stream
	charge  *charge // of stream; guarded by the group's key
}

// join adds a property to its group and opens the group's stream anew.
func (h *Handler) join(b *Binding) error {
	key := groupKey{b.Key().Namespace, b.config.Group}
	defer h.grouping.lock(key)()
	h.mu.Lock()
	g, ok := h.groups[key]
	h.mu.Unlock()
	if !ok {
		g = &group{key: key, handler: h}
	}
	members := append(slices.Clone(g.members), b)
	slices.SortFunc(members, func(x, y *Binding) int { return strings.Compare(x.Key().String(), y.Key().String()) })
	if err := g.open(members); err != nil {
		return fmt.Errorf("group %q: %w", key.name, err)
	}
	b.group = g
	h.mu.Lock()
	h.groups[key] = g
	h.mu.Unlock()
	return nil
}

// leave takes a property out of its group.
func (h *Handler) leave(b *Binding) {
	g := b.group
	defer h.grouping.lock(g.key)()
	members := slices.DeleteFunc(slices.Clone(g.members), func(m *Binding) bool { return m == b })
	if err := g.open(members); err != nil && !errors.Is(err, admethod.ErrClosed) {
		h.reject(b.Key(), nil, fmt.Errorf("group %q without %v: %w", g.key.name, b.Key(), err))
	}
	if g.empty() {
		h.mu.Lock()
		delete(h.groups, g.key)
		h.mu.Unlock()
	}
}

func (g *group) empty() bool { return len(g.members) == 0 }

// open replaces the stream by one for the given members. On an error nothing changes. The caller has locked the
// group's key, which guards members against other writers.
func (g *group) open(members []*Binding) error {
	if len(members) == 0 {
		g.close()
		g.mu.Lock()
		g.members = nil
		g.mu.Unlock()
		return nil
	}
	first := members[0].config
	id := fnv.New32a() // another set of members is another stream: what was learned of one says nothing of the other
	slots := make([]stage.Slot, 0, len(members))
	dir, file, err := g.handler.model(g.key.namespace, first.Model)
	if err != nil {
		return err
	}
	settings := admethod.StreamSettings{
		Config: *first, Tenant: g.key.namespace, Deliver: g.deliver, Dropped: members[0].lost, Aux: stages(members),
		ModelDir: dir, ModelFile: file,
	}
	for _, m := range members {
		if m.config.ADMethodName != first.ADMethodName || m.config.Detector != first.Detector || m.config.Model != first.Model {
			return fmt.Errorf("%v and %v differ in adMethodName, detector or model: want the same in a group",
				members[0].Key(), m.Key())
		}
		member, err := newMember(m.Key(), m.config, m.setup.meta)
		if err != nil {
			return err
		}
		settings.Members = append(settings.Members, member)
		slots = append(slots, stage.Slot{Key: m.Key(), Cycle: m.config.Quality.Cycle, Each: m.config.Rows.Evaluate == "each"})
		fmt.Fprintln(id, m.Key())
	}
	settings.Group = fmt.Sprintf("%s/group/%s#%08x", g.key.namespace, g.key.name, id.Sum32())
	a, err := g.handler.adapter(first.ADMethodName)
	if err != nil {
		return err
	}
	charged, err := g.handler.charge(&settings, g.charge)
	if err != nil {
		return err
	}
	for _, m := range members { // before the new stream restores what was open when it ended
		m.finish(driver.Abandoned, driver.Unknown, fmt.Sprintf("the members of group %q changed", g.key.name), false)
	}
	stream, err := a.Open(settings)
	if err != nil {
		charged.release()
		return err
	}
	g.mu.Lock()
	old := g.stream
	g.members, g.stream = members, stream
	g.rows = stage.NewRows(slots, first.Rows.MaxAge, g.rows, g.submit)
	g.mu.Unlock()
	if old != nil {
		old.Close()
	}
	g.charge.release()
	g.charge = charged
	return nil
}

func (g *group) close() {
	g.mu.Lock()
	stream := g.stream
	g.stream = nil
	g.mu.Unlock()
	if stream != nil {
		stream.Close()
	}
	g.charge.release()
	g.charge = nil
}

// observe takes a member's reading, and submits a row when one is due. The caller holds b.mu.
func (g *group) observe(b *Binding, s *driver.Sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	slot := slices.Index(g.members, b)
	if slot < 0 || g.stream == nil {
		return
	}
	g.rows.Observe(slot, s)
}

// submit sends a row on, unless a member has no reading that counts. The caller holds g.mu.
func (g *group) submit(row driver.Row, stale int) {
	if stale >= 0 {
		g.unknown(stale, stage.Newest(row))
		return
	}
	g.stream.TrySubmit(row)
}

// unknown tells every member that the group cannot be judged for want of the member in slot. It says so each time: a
// verdict that is still on its way from the adapter must not have the last word.
func (g *group) unknown(slot int, at time.Time) {
	for _, m := range g.members {
		var r driver.Result
		r.Reset(nil)
		r.Key, r.At, r.Threshold, r.Detector = m.Key(), at, m.config.Threshold, m.config.Detector
		r.Message = fmt.Sprintf("group %s: no recent reading of %v", g.key.name, g.members[slot].Key())
		r.Causes = []driver.Cause{{Key: g.members[slot].Key(), Weight: 1}}
		m.deliver(&r, false)
	}
}

// deliver gives each member its own verdict.
func (g *group) deliver(r *driver.Result, row driver.Row) {
	g.mu.Lock()
	members := g.members // replaced as a whole, never written to
	g.mu.Unlock()
	deliverEach(members, r, row)
}

func deliverEach(members []*Binding, r *driver.Result, row driver.Row) {
	own := scratch.Get().(*driver.Result)
	defer scratch.Put(own)
	for i, m := range members {
		*own = stage.Share(r, row, i, m.Key())
		m.deliver(own, false)
	}
}
