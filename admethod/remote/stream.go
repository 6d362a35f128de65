// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Stream is one property, or one group, on a link.
type Stream struct {
	Settings admethod.StreamSettings

	link    *link
	release func()
	once    sync.Once

	// Guarded by link.mu.
	closed bool
	last   time.Time // of the newest reading submitted; zero before the first

	// Of the link's sender.
	session uint64 // in which it was announced last
	rows    uint64

	stale bool // told so; guarded by link.delivering
}

// TrySubmit queues a copy of the row.
func (s *Stream) TrySubmit(row driver.Row) bool { return s.link.submit(s, row) }

// Close ends the stream. Rows of it that wait are dropped.
func (s *Stream) Close() {
	s.once.Do(func() {
		s.link.remove(s)
		s.release()
	})
}

// item is a row that waits to be sent or answered. Its memory is used again.
type item struct {
	s        *Stream // nil once it is answered
	sequence uint64
	row      []driver.Sample
}

// ring is a queue of items that keep their memory. It grows up to limit.
type ring struct {
	items   []item
	head, n int
	limit   int
}

const firstRing = 64

func (r *ring) at(i int) *item {
	if i += r.head; i >= len(r.items) {
		i -= len(r.items)
	}
	return &r.items[i]
}

// push returns the next free place; there must be room.
func (r *ring) push() *item {
	if r.n == len(r.items) {
		next := make([]item, min(max(2*len(r.items), firstRing), r.limit))
		for i := range r.n {
			next[i] = *r.at(i)
		}
		r.items, r.head = next, 0
	}
	r.n++
	return r.at(r.n - 1)
}

// pop frees the oldest place.
func (r *ring) pop() {
	r.at(0).s = nil
	if r.head++; r.head == len(r.items) {
		r.head = 0
	}
	r.n--
}

// drain empties the ring and returns whose rows were in it, once for each row.
func (r *ring) drain() []*Stream {
	var owners []*Stream
	for ; r.n > 0; r.pop() {
		if s := r.at(0).s; s != nil {
			owners = append(owners, s)
		}
	}
	return owners
}

// find returns the item that the sequence lies in, nil where there is none.
func (r *ring) find(sequence uint64) *item {
	lo, hi := 0, r.n
	for lo < hi {
		mid := (lo + hi) / 2
		it := r.at(mid)
		switch {
		case sequence < it.sequence:
			hi = mid
		case sequence >= it.sequence+uint64(len(it.row)):
			lo = mid + 1
		default:
			return it
		}
	}
	return nil
}
