// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// adapter opens streams on links, one link for each target.
type adapter[C comparable] struct {
	kind     Kind[C]
	settings admethod.AdapterSettings
	book     book
	bound    func(key string) bool

	opening sync.Mutex // of a link; taken before mu

	mu      sync.Mutex
	root    context.Context // of every link; nil before Start
	stopped bool
	targets map[targetKey[C]]*target
	spools  map[string]*link // by directory
	wg      sync.WaitGroup
}

// targetKey says which streams share a link: those of one configuration, and where readings are kept on disk those of one
// namespace, so that neither the size nor the age that another allows itself touches them.
type targetKey[C comparable] struct {
	config    C
	namespace string
}

// target is a link and the streams that use it.
type target struct {
	link      *link
	refs      int
	namespace string // whose Devices chose the address; "" where the operator did
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

// check finds what is wrong with the operator's targets.
func (a *adapter[C]) check() error {
	decode := func(settings map[string]any) (C, error) {
		c := a.kind.Defaults()
		return c, params.Decode(&c, settings)
	}
	_, err := decode(a.book.usual)
	errs := []error{err}
	for name, t := range a.book.targets {
		c, err := decode(t.settings)
		if err == nil {
			err = a.kind.Shared(&c).Validate()
		}
		errs = append(errs, params.Prefix("targets."+name+".", err))
	}
	return errors.Join(errs...)
}

// decode reads the configuration of a stream, and the parameters of its fallback.
func (a *adapter[C]) decode(s *admethod.StreamSettings) (c C, r resolved, err error) {
	c = a.kind.Defaults()
	shared := a.kind.Shared(&c)
	namespace := ""
	if len(s.Members) > 0 {
		namespace = s.Members[0].Key.Namespace
	}
	if r, err = a.book.resolve(a.kind.Name, namespace, &s.Config, a.bound, a.kind.URLs); err != nil {
		return c, r, err
	}
	if err := params.Decode(&c, r.settings); err != nil {
		return c, r, err
	}
	if err := shared.Validate(); err != nil {
		return c, r, err
	}
	if shared.Fallback == "" && len(r.fallback) > 0 {
		return c, r, &params.Error{Key: "fallback", Want: "must be set beside its parameters"}
	}
	if shared.Delivery == atLeastOnce && a.settings.StateDir == "" {
		return c, r, &params.Error{Key: "delivery", Value: shared.Delivery, Want: "a mapper with a state directory"}
	}
	return c, r, nil
}

func (a *adapter[C]) Open(s admethod.StreamSettings) (admethod.Stream, error) {
	c, r, err := a.decode(&s)
	if err != nil {
		return nil, params.Prefix(a.kind.Name+".", err)
	}
	if len(s.Members) == 0 {
		return nil, errors.New("a stream has at least one member")
	}
	st := &Stream{Settings: s}
	shared := a.kind.Shared(&c)
	if shared.Fallback != "" {
		if st.local, err = openLocal(a.settings.Drivers, shared.Fallback, r.fallback, &s); err != nil {
			return nil, params.Prefix(a.kind.Name+".", err)
		}
		shared.Fallback = "any" // streams with different ones may share a link
	}
	if shared.Delivery == atLeastOnce {
		st.id = rowStream(&s)
	}
	owner := ""
	if r.allowed {
		owner = s.Members[0].Key.Namespace
	}
	key := targetKey[C]{config: c}
	if shared.Delivery == atLeastOnce {
		key.namespace = s.Members[0].Key.Namespace
	}
	t, err := a.take(key, owner)
	if err != nil {
		return nil, err
	}
	st.link = t.link
	st.release = func() { a.release(key, t) }
	t.link.add(st)
	return st, nil
}

// take uses a target once more. One that is new is made without a.mu: files are read for it, on a file system that may
// hang.
func (a *adapter[C]) take(key targetKey[C], owner string) (*target, error) {
	if t, err := a.known(key, owner); t != nil || err != nil {
		return t, err
	}
	a.opening.Lock()
	defer a.opening.Unlock()
	if t, err := a.known(key, owner); t != nil || err != nil {
		return t, err
	}
	l, dir, err := a.open(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.kind.Name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		err := l.transport.Close()
		if l.keeper != nil {
			err = errors.Join(err, l.keeper.close())
		}
		return nil, errors.Join(admethod.ErrClosed, err)
	}
	if dir != "" {
		if a.spools == nil {
			a.spools = make(map[string]*link)
		}
		a.spools[dir] = l
	}
	ctx, cancel := context.WithCancel(a.root)
	l.cancel = cancel
	a.wg.Go(func() { l.run(ctx) })
	t := &target{link: l, refs: 1, namespace: owner}
	a.targets[key] = t
	return t, nil
}

// known uses a target that is there already; nil where it is not, and may be made.
func (a *adapter[C]) known(key targetKey[C], owner string) (*target, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.root == nil || a.stopped {
		return nil, admethod.ErrClosed
	}
	if t := a.targets[key]; t != nil {
		t.refs++
		return t, nil
	}
	if owner == "" {
		return nil, nil
	}
	return nil, params.Prefix(a.kind.Name+".", a.room(owner))
}

// room says whether Devices of the namespace may have one more address of their own. The caller holds a.mu.
func (a *adapter[C]) room(namespace string) error {
	n := 0
	for _, t := range a.targets {
		if t.namespace == namespace {
			n++
		}
	}
	if n >= mostAllowed {
		return &params.Error{Key: "address", Want: fmt.Sprintf("Devices of namespace %s have %d addresses of their own already, which is all that they may: have the operator define targets", namespace, n)}
	}
	return nil
}

// open makes a link, and names the directory of its spool, "" where it has none. The caller holds a.opening.
func (a *adapter[C]) open(key targetKey[C]) (l *link, dir string, err error) {
	c := key.config
	shared := *a.kind.Shared(&c)
	l = newLink(a.kind.Name, shared, a.settings.Hooks)
	l.connect = func(streamID string) (Transport, error) {
		return a.kind.Transport(c, Identity{Mapper: a.settings.Mapper, Node: a.settings.Node, StreamID: streamID})
	}
	streamID := rand.Text()
	if shared.Delivery == atLeastOnce {
		h := fnv.New64a()
		fmt.Fprintf(h, "%q %q %+v %q %v", key.namespace, shared.Address, shared.TLS, shared.Token, shared.Insecure)
		dir = spoolDir(a.settings.StateDir, a.kind.Name, h.Sum64(), func(dir string) bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.spools[dir] != nil
		})
		l.keeper = newKeeper(a.kind.Name, dir, shared.Spool)
		l.openSpool()
		streamID = l.keeper.streamID
	}
	if l.transport, err = l.connect(streamID); err != nil {
		if l.keeper != nil {
			err = errors.Join(err, l.keeper.close())
		}
		return nil, "", err
	}
	return l, dir, nil
}

// release gives up a use of a target. A target that nobody uses is closed; Shutdown joins it.
func (a *adapter[C]) release(key targetKey[C], t *target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.refs--; t.refs == 0 && a.targets[key] == t {
		delete(a.targets, key)
		for dir, l := range a.spools { // the next link waits for this one to leave it
			if l == t.link {
				delete(a.spools, dir)
			}
		}
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

// each calls f for all links at once and joins the errors.
func (a *adapter[C]) each(links []*link, f func(*link) error) error {
	errs := make([]error, len(links))
	var wg sync.WaitGroup
	for i, l := range links {
		wg.Go(func() { errs[i] = f(l) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (a *adapter[C]) Flush(ctx context.Context) error {
	return a.each(a.links(), func(l *link) error { return l.flush(ctx, false) })
}

// Shutdown waits for answers only where a detector is connected: one that is away must not hold up the mapper.
func (a *adapter[C]) Shutdown(ctx context.Context) error {
	links := a.links()
	a.mu.Lock()
	a.stopped = true
	a.mu.Unlock()
	err := a.each(links, func(l *link) error {
		patience, cancel := context.WithTimeout(ctx, l.config.Timeout)
		defer cancel()
		if deadline, ok := ctx.Deadline(); ok { // the rest is for the disk
			patience, cancel = context.WithTimeout(patience, time.Until(deadline)/2)
			defer cancel()
		}
		err := l.flush(patience, true)
		l.cancel()
		if l.keeper != nil { // what is on disk is not lost
			return nil
		}
		return err
	})
	if late := guard.Join(ctx, &a.wg); late != nil { // sessions end with their context
		return errors.Join(err, fmt.Errorf("%s: goroutines still run: %w", a.kind.Name, late))
	}
	errs := []error{err}
	for _, l := range links {
		if l.keeper != nil {
			errs = append(errs, l.failure)
		}
	}
	return errors.Join(errs...)
}
