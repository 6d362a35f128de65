// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"sort"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/spool"
)

// item is a row that waits to be sent or answered. Its memory is used again.
type item struct {
	s        *Stream // nil once it is answered
	sequence uint64  // of its first sample; 0 before it has one
	position uint64  // of its first sample among those sent in the session
	attempt  uint32
	sent     bool      // at least once, perhaps by an earlier process
	judged   bool      // its verdict was delivered, by the fallback
	onDisk   bool      // at place
	since    time.Time // when it came; with a spool only
	place    spool.Pos
	row      []driver.Sample
}

// The flags of a row on disk.
const (
	stateSent   spool.State = 1 << iota // it may have been sent: if it is again, it is a repeat
	stateJudged                         // its verdict was delivered
)

// state is what is to be known of the row on disk.
func (it *item) state() (s spool.State) {
	if it.sent {
		s |= stateSent
	}
	if it.judged {
		s |= stateJudged
	}
	return s
}

// give moves an item; both keep memory for a row.
func (it *item) give(to *item) {
	spare := to.row[:0]
	*to = *it
	it.row = spare
}

// ring is a queue of items that keep their memory. It grows up to limit.
type ring struct {
	items    []item
	head, n  int
	limit    int
	unsorted bool // the sequences are not ascending
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

// move appends an item of another ring.
func (r *ring) move(it *item) *item {
	to := r.push()
	it.give(to)
	if r.n > 1 && r.at(r.n-2).sequence > to.sequence {
		r.unsorted = true
	}
	return to
}

// pop frees the oldest place.
func (r *ring) pop() {
	r.at(0).s = nil
	if r.head++; r.head == len(r.items) {
		r.head = 0
	}
	if r.n--; r.n == 0 {
		r.unsorted = false
	}
}

// drain empties the ring and returns whose rows are lost with it, once for each.
func (r *ring) drain() []*Stream {
	var owners []*Stream
	for ; r.n > 0; r.pop() {
		if it := r.at(0); it.s != nil && !it.judged && !it.onDisk {
			owners = append(owners, it.s)
		}
	}
	return owners
}

// find returns the item that the sequence lies in, nil where there is none.
func (r *ring) find(sequence uint64) *item {
	if r.unsorted {
		for i := range r.n {
			if it := r.at(i); sequence >= it.sequence && sequence < it.sequence+uint64(len(it.row)) {
				return it
			}
		}
		return nil
	}
	return r.covering(sequence, func(it *item) uint64 { return it.sequence })
}

// findSent returns the item that was sent at that position, nil where there is none.
func (r *ring) findSent(position uint64) *item {
	return r.covering(position, func(it *item) uint64 { return it.position })
}

// covering is the item whose samples, counted from first on, contain n; first is ascending.
func (r *ring) covering(n uint64, first func(*item) uint64) *item {
	i := sort.Search(r.n, func(i int) bool { return first(r.at(i)) > n }) - 1
	if i < 0 {
		return nil
	}
	if it := r.at(i); n < first(it)+uint64(len(it.row)) {
		return it
	}
	return nil
}

// after is the index of the first item with a sequence over the given one. The ring is sorted.
func (r *ring) after(sequence uint64) int {
	return sort.Search(r.n, func(i int) bool { return r.at(i).sequence > sequence })
}
