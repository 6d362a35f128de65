// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/kept"
)

const (
	mostMutes   = 10_000
	longestMute = 366 * 24 * time.Hour
	mutesFile   = "mutes.json" // in the state directory
)

// mutes are those in force.
type mutes struct {
	file *kept.File                                    // over a restart
	now  atomic.Pointer[map[driver.Key]*admethod.Mute] // never changed; nil is none

	mu sync.Mutex // of those who change it
}

// Mute mutes, and remembers it over a restart where there is a state directory. Alerts that stand are taken back.
func (h *Handler) Mute(m admethod.Mute) error {
	now := time.Now()
	switch {
	case m.Device == "":
		return errors.New("mute: device: want the name of one")
	case m.Until.Sub(now) > longestMute:
		return fmt.Errorf("mute: until: got %s, want a year from now at most", m.Until.Format(time.RFC3339))
	}
	m.Since, m.Until = now.UTC(), m.Until.UTC()
	if err := h.mutes.set(m, now); err != nil {
		return err
	}
	if !m.Until.After(now) {
		return nil
	}
	for _, b := range h.served(h.bound()) {
		if !m.Of(b.Key()) {
			continue
		}
		for _, q := range b.setup.queues {
			if q.alerts {
				q.forget(b.Key())
			}
		}
	}
	return nil
}

// Mutes lists those in force, in order of their names.
func (h *Handler) Mutes() []admethod.Mute {
	now, list := time.Now(), []admethod.Mute{}
	if all := h.mutes.now.Load(); all != nil {
		for _, m := range *all {
			if m.Until.After(now) {
				list = append(list, *m)
			}
		}
	}
	slices.SortFunc(list, func(a, b admethod.Mute) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Device, b.Device), strings.Compare(a.Property, b.Property))
	})
	return list
}

// hide reports whether sinks that alert are to hear nothing of a property.
func (s *mutes) hide(key driver.Key) bool {
	all := s.now.Load()
	if all == nil {
		return false
	}
	now := time.Now()
	for _, k := range [...]driver.Key{key, {Namespace: key.Namespace, Device: key.Device}} {
		if m := (*all)[k]; m != nil && m.Until.After(now) {
			return true
		}
	}
	return false
}

// set puts one in force, or lifts it.
func (s *mutes) set(m admethod.Mute, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[driver.Key]*admethod.Mute)
	if all := s.now.Load(); all != nil {
		maps.Copy(next, *all)
	}
	maps.DeleteFunc(next, func(_ driver.Key, m *admethod.Mute) bool { return !m.Until.After(now) })
	key := driver.Key{Namespace: m.Namespace, Device: m.Device, Property: m.Property}
	if delete(next, key); m.Until.After(now) {
		if next[key] = &m; len(next) > mostMutes {
			return fmt.Errorf("mute: %d are in force, want no more", mostMutes)
		}
	}
	if err := s.file.Save(slices.Collect(maps.Values(next)), true); err != nil {
		return fmt.Errorf("mute: it would be forgotten over a restart: %w", err)
	}
	s.now.Store(&next)
	return nil
}

// load reads what was in force before a restart. A file that cannot be read mutes nothing: alerts too many are better
// than none.
func (s *mutes) load() error {
	var list []*admethod.Mute
	if found, err := s.file.Load(&list); err != nil || !found {
		return err
	}
	all := make(map[driver.Key]*admethod.Mute)
	for _, m := range list[:min(len(list), mostMutes)] {
		if m != nil {
			all[driver.Key{Namespace: m.Namespace, Device: m.Device, Property: m.Property}] = m
		}
	}
	s.now.Store(&all)
	return nil
}
