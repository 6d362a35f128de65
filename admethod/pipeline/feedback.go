// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Accept tells the detector that watches a property that what happened in the span was normal, and waits until it has
// learned that: the same begins no incident any more, a different one does. For a property of a group this is said of the
// group. An incident that is open since before the end of the span ends as the new normal. It fails where the property is
// not watched, its detector learns nothing from feedback, or it runs where it cannot be told from here.
func (h *Handler) Accept(ctx context.Context, key driver.Key, span driver.Span) error {
	members, stream := h.streamOf(key)
	if members == nil {
		return fmt.Errorf("%v: is not watched", key)
	}
	if span.To.Before(span.From) {
		return fmt.Errorf("%v: the span ends at %v before it begins at %v", key, span.To, span.From)
	}
	learner, ok := stream.(admethod.Learner)
	if !ok {
		return fmt.Errorf("%v: adMethodName %q takes no feedback: give it where the detector runs", key, members[0].config.ADMethodName)
	}
	if err := learner.Accept(ctx, span); err != nil {
		return fmt.Errorf("%v: %w", key, err)
	}
	for _, m := range members {
		if i := m.open(); i.ID != 0 && !i.Start.After(span.To) {
			m.finish(driver.NewNormal, driver.Normal, "", false)
		}
	}
	return nil
}

// Describe says what the detector that watches a property has found it to be like, see [driver.Describer]; "" where that is
// not known.
func (h *Handler) Describe(ctx context.Context, key driver.Key, in driver.Language) (string, error) {
	if _, stream := h.streamOf(key); stream != nil {
		if d, ok := stream.(admethod.Describer); ok {
			return d.Describe(ctx, in)
		}
	}
	return "", nil
}

// streamOf returns the stream that a property is judged by, and all that are judged by it; nil where it is not watched.
func (h *Handler) streamOf(key driver.Key) ([]*Binding, admethod.Stream) {
	h.mu.Lock()
	b := h.bindings[key]
	if b == nil {
		defer h.mu.Unlock()
		for a := range h.attached {
			for _, m := range a.members {
				if m.Key() == key {
					return a.members, a.stream
				}
			}
		}
		return nil, nil
	}
	h.mu.Unlock()
	if b.group == nil {
		return []*Binding{b}, b.stream
	}
	b.group.mu.Lock()
	defer b.group.mu.Unlock()
	return b.group.members, b.group.stream
}
