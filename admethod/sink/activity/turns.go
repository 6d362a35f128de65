// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import "slices"

// enqueue adds a run to those of its namespace that wait. The caller holds mu.
func (s *sink) enqueue(j job) {
	namespace := j.result.Key.Namespace
	if len(s.lined[namespace]) == 0 {
		s.turns = append(s.turns, namespace)
	}
	s.lined[namespace] = append(s.lined[namespace], j)
	s.changed.Signal()
}

// next waits for a run whose turn it is, and takes it; ok is false when there will be none. Namespaces take turns, and
// where scripts hang others begin all the same: half of the workers take runs of namespaces only of which none runs. So one
// with many slow scripts delays no other's. What has begun ends, see [sink.ended].
func (s *sink) next() (j job, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		i := slices.IndexFunc(s.turns, func(namespace string) bool {
			return s.busy < s.config.Concurrency || s.running[namespace] == 0
		})
		switch {
		case i >= 0:
			return s.begins(i), true
		case s.closed && len(s.turns) == 0:
			return job{}, false
		}
		s.changed.Wait()
	}
}

// begins takes a run of the namespace at a place in the order of turns. The caller holds mu.
func (s *sink) begins(i int) job {
	namespace := s.turns[i]
	s.turns = slices.Delete(s.turns, i, i+1)
	j := s.lined[namespace][0]
	if s.lined[namespace] = slices.Delete(s.lined[namespace], 0, 1); len(s.lined[namespace]) > 0 {
		s.turns = append(s.turns, namespace)
	} else {
		delete(s.lined, namespace)
	}
	s.running[namespace]++
	s.busy++
	return j
}

// ended notes that a run is over, however it ended.
func (s *sink) ended(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace := j.result.Key.Namespace
	if s.running[namespace]--; s.running[namespace] <= 0 {
		delete(s.running, namespace)
	}
	s.busy--
	s.changed.Broadcast()
}

// room reports whether a run of a namespace may wait: each has its own places, and beyond what all have together one.
// The caller holds mu.
func (s *sink) room(namespace string) bool {
	n := s.waiting[namespace]
	return n < s.config.Queue && (n == 0 || s.queued < namespaces*s.config.Queue)
}

// namespaces is for how many there is room in the queue.
const namespaces = 64

// taken notes that a run waits no more. The caller holds mu.
func (s *sink) taken(j *job) {
	namespace := j.result.Key.Namespace
	s.queued--
	if s.waiting[namespace]--; s.waiting[namespace] <= 0 {
		delete(s.waiting, namespace)
	}
}
