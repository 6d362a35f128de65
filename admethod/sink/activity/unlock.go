// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// unlock releases a lock that a verdict, or the time, ends.
func (s *sink) unlock(a *Activity, id lockID, r *driver.Result) {
	l, held := s.locks.held[id]
	if !held {
		return
	}
	own := !l.shared() || l.Ran == r.Key.String()
	back := !l.shared() && over(&l, r) || l.shared() && s.locks.left(&l, r)
	if back && slices.Contains(a.Unlock, OnStatusChange) ||
		own && r.Model != l.Model && r.Model != "" && slices.Contains(a.Unlock, OnRetraining) || s.expired(a, &l) {
		s.locks.drop(id)
	}
}

// sharedLocks are the locks that are for several properties.
func (s *sink) sharedLocks() iter.Seq2[lockID, Lock] {
	return func(yield func(lockID, Lock) bool) {
		if !slices.ContainsFunc(s.activities, func(a Activity) bool { return a.Lock != LockProperty }) {
			return // no need to look at all
		}
		for id, l := range s.locks.held {
			if l.shared() && !yield(id, l) {
				return
			}
		}
	}
}

// over reports whether the incident of a lock has ended: with this verdict, or before it.
func over(l *Lock, r *driver.Result) bool {
	switch i := &r.Incident; {
	case i.Phase.Open():
		return l.Incident != "" && l.Incident != name(i.ID)
	case i.ID != 0:
		return true
	}
	return r.Severity == driver.Normal
}

func (s *sink) expired(a *Activity, l *Lock) bool {
	return a.After > 0 && s.now().Sub(l.began) >= a.After
}

// keepGone is how long locks are kept of properties that nobody watches.
const keepGone = 24 * time.Hour

// release drops the locks that time or a reloaded model ends, and those of activities and properties that are no more.
func (s *sink) release() {
	s.reloaded.Lock()
	reloaded := s.reloaded.keys
	s.reloaded.keys = make(map[driver.Key]struct{})
	s.reloaded.Unlock()
	for id, l := range s.locks.held {
		i := slices.IndexFunc(s.activities, func(a Activity) bool { return a.Name == id.activity })
		if i < 0 || s.expired(&s.activities[i], &l) || l.Gone != nil && s.now().Sub(l.left) >= keepGone {
			s.locks.drop(id)
			continue
		}
		_, ok := reloaded[id.key]
		if l.shared() {
			ok = slices.ContainsFunc(slices.Collect(maps.Keys(reloaded)), func(k driver.Key) bool {
				_, holds := l.Holds[k.String()]
				return holds || l.Ran == k.String()
			})
		}
		if ok && slices.Contains(s.activities[i].Unlock, OnRetraining) {
			s.locks.drop(id)
		}
	}
}
