// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"sync"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// abouts is what is known of the properties that are watched.
type abouts struct {
	mu sync.RWMutex
	of map[driver.Key]aboutOf
}

type aboutOf struct {
	admethod.About

	by *Binding
}

// Describe says what is known of a member, from now until the stream is closed.
func (a *Attachment) Describe(member int, about admethod.About) {
	b := a.members[member]
	t := &a.handler.abouts
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[driver.Key]aboutOf)
	}
	t.of[b.Key()] = aboutOf{about, b}
}

// About is what is known of a property; the zero value is nothing.
func (h *Handler) About(key driver.Key) admethod.About {
	h.abouts.mu.RLock()
	about := h.abouts.of[key].About
	h.abouts.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.bindings[key]; b != nil {
		about.Model, about.Node = b.setup.meta.Model, h.opts.Node
	}
	return about
}

// forget forgets what was known of a binding, unless another one has taken its place.
func (t *abouts) forget(b *Binding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[b.Key()].by == b {
		delete(t.of, b.Key())
	}
}

// Watched returns how a property is watched; false where it is not.
func (h *Handler) Watched(key driver.Key) (admethod.Watched, bool) {
	members, _ := h.streamOf(key)
	for _, m := range members {
		if m.Key() != key {
			continue
		}
		w := admethod.Watched{Config: *m.config, Meta: m.setup.meta, States: m.states()}
		if m.config.Model != "" {
			w.ModelDir = h.opts.ModelDir
		}
		for _, m := range members {
			w.Members = append(w.Members, m.Key())
		}
		return w, true
	}
	return admethod.Watched{}, false
}

// states are what the numbers of the property stand for.
func (b *Binding) states() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.convert.States()
}
