// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"sync"

	"github.com/kubeedge/edge-anomaly/driver"
)

// About is what is known of a property that no detector needs, for sinks.
type About struct {
	// Labels are those of its device, as its source has them; nil where none are known. They must not change.
	Labels map[string]string
	// Predicted is the name of a metric by which what is expected of the property is to be shown; "" is none.
	Predicted string
	// Model is the name of the device's DeviceModel, where the property is bound; "" where it is not known.
	Model string
}

// abouts is what is known of the properties that are watched.
type abouts struct {
	mu sync.RWMutex
	of map[driver.Key]aboutOf
}

type aboutOf struct {
	About

	by *Binding
}

// Describe says what is known of a member, from now until the stream is closed.
func (a *Attachment) Describe(member int, about About) {
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
func (h *Handler) About(key driver.Key) About {
	h.abouts.mu.RLock()
	about := h.abouts.of[key].About
	h.abouts.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.bindings[key]; b != nil {
		about.Model = b.setup.meta.Model
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
