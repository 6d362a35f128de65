// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// adapter opens streams on links, one link for each target.
type adapter[C comparable] struct {
	kind     Kind[C]
	hooks    *admethod.Hooks
	defaults C

	mu      sync.Mutex
	root    context.Context // of every link; nil before Start
	stopped bool
	targets map[C]*target
	wg      sync.WaitGroup
}

// target is a link and the streams that use it.
type target struct {
	link *link
	refs int
}

func (a *adapter[C]) Start(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return admethod.ErrClosed
	}
	if a.root == nil {
		a.root = context.WithoutCancel(ctx)
	}
	return nil
}

func (a *adapter[C]) Open(s admethod.StreamSettings) (admethod.Stream, error) {
	c := a.defaults
	if err := params.Decode(&c, s.Config.Options[a.kind.Name]); err != nil {
		return nil, params.Prefix(a.kind.Name+".", err)
	}
	if err := a.kind.Shared(&c).Validate(); err != nil {
		return nil, params.Prefix(a.kind.Name+".", err)
	}
	if len(s.Members) == 0 {
		return nil, errors.New("a stream has at least one member")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.root == nil || a.stopped {
		return nil, admethod.ErrClosed
	}
	t := a.targets[c]
	if t == nil {
		transport, err := a.kind.Transport(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.kind.Name, err)
		}
		t = &target{link: newLink(a.kind.Name, *a.kind.Shared(&c), transport)}
		a.targets[c] = t
		ctx, cancel := context.WithCancel(a.root)
		t.link.cancel = cancel
		a.wg.Go(func() { t.link.run(ctx) })
	}
	t.refs++
	st := &Stream{Settings: s, link: t.link}
	st.release = func() { a.release(c, t) }
	t.link.add(st)
	return st, nil
}

// release gives up a use of a target. A target that nobody uses is closed; Shutdown joins it.
func (a *adapter[C]) release(c C, t *target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.refs--; t.refs == 0 && a.targets[c] == t {
		delete(a.targets, c)
		t.link.cancel()
	}
}

func (a *adapter[C]) links() []*link {
	a.mu.Lock()
	defer a.mu.Unlock()
	var links []*link
	for _, t := range a.targets {
		links = append(links, t.link)
	}
	return links
}

func (a *adapter[C]) Flush(ctx context.Context) error {
	var errs []error
	for _, l := range a.links() {
		errs = append(errs, l.flush(ctx, false))
	}
	return errors.Join(errs...)
}

// Shutdown waits for answers only where a detector is connected: one that is away must not hold up the mapper.
func (a *adapter[C]) Shutdown(ctx context.Context) error {
	links := a.links()
	a.mu.Lock()
	a.stopped = true
	a.mu.Unlock()
	var errs []error
	for _, l := range links {
		patience, cancel := context.WithTimeout(ctx, l.config.Timeout)
		errs = append(errs, l.flush(patience, true))
		cancel()
		l.cancel()
	}
	a.wg.Wait() // sessions end with their context
	return errors.Join(errs...)
}
