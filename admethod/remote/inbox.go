// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"sync"

	"github.com/kubeedge/edge-anomaly/driver"
)

// inbox is where rows are submitted. They leave in chunks, so that its lock is never held for longer than it takes to
// put one row down: nothing that the link does makes a caller wait.
type inbox struct {
	mu     sync.Mutex
	head   *chunk // the oldest
	tail   *chunk // takes rows
	spare  *chunk // empty ones; they keep their memory
	n      int    // rows
	limit  int
	closed bool
	asleep bool // somebody is to be woken by the next row
	owed   bool // rows were submitted after the last moment at which all were answered
}

const chunkRows = 64

type chunk struct {
	next     *chunk
	first, n int // rows are those from first up to n
	rows     [chunkRows]submitted
}

type submitted struct {
	s   *Stream
	row []driver.Sample
}

// put adds a copy of the row. Where there is no room the oldest row is dropped; loser is the stream whose row was lost.
// wake tells that somebody waits for it.
func (b *inbox) put(s *Stream, row driver.Row) (loser *Stream, wake bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || s.closed.Load() {
		return s, false
	}
	if b.n == b.limit {
		c := b.head
		loser = c.rows[c.first].s
		c.rows[c.first].s = nil
		c.first++
		b.n--
		if c.first == c.n { // it is not the last, as the limit is over 1
			b.head = c.next
			b.recycle(c)
		}
	}
	if b.tail == nil || b.tail.n == chunkRows {
		c := b.spare
		if c == nil {
			c = new(chunk)
		} else {
			b.spare, c.next = c.next, nil
		}
		if b.tail == nil {
			b.head = c
		} else {
			b.tail.next = c
		}
		b.tail = c
	}
	to := &b.tail.rows[b.tail.n]
	b.tail.n++
	b.n++
	to.s, to.row = s, append(to.row[:0], row...)
	s.last, b.owed = row[0].At, true
	wake, b.asleep = b.asleep, false
	return loser, wake
}

// sleep asks to be woken by the next row. It returns false where there are rows.
func (b *inbox) sleep() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asleep = b.n == 0
	return b.asleep
}

// take returns the oldest chunk, nil where there is none. It is to be given back.
func (b *inbox) take() *chunk {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.head
	if c == nil {
		return nil
	}
	if b.head = c.next; b.head == nil {
		b.tail = nil
	}
	c.next = nil
	b.n -= c.n - c.first
	return c
}

func (b *inbox) giveBack(c *chunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recycle(c)
}

func (b *inbox) recycle(c *chunk) {
	c.first, c.n = 0, 0
	b.spare, c.next = c, b.spare
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n
}

// settled tells that all that was taken is answered.
func (b *inbox) settled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == 0 {
		b.owed = false
	}
}

func (b *inbox) owes() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owed
}

// close takes no more rows.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
