// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"sync"

	"github.com/kubeedge/edge-anomaly/driver"
)

// inbox is where rows are submitted. They leave in chunks, so that its lock is never held for longer than it takes to
// put one row down: nothing that the link does makes a caller wait. Who observes comes seldom and finds little of this in
// the processor's caches, so it touches as little memory as possible: rows lie one after the other, and those that are
// lost are told by somebody else.
type inbox struct {
	mu     sync.Mutex
	tail   *chunk // takes rows
	head   *chunk // the oldest
	n      int    // rows
	limit  int
	spare  *chunk // empty ones; they keep their memory
	closed bool
	asleep bool      // somebody is to be woken by the next row
	owed   bool      // rows were submitted after the last moment at which all were answered
	chunks int       // in all
	spares int       // of spare
	losers []*Stream // with rows that were dropped and not told
}

const (
	chunkRows = 64
	// Chunks that are ready beforehand where the limit allows them, so that those who observe need not make any.
	readyChunks = 16
)

// chunk is rows that were submitted together; their samples are one after the other.
type chunk struct {
	next     *chunk
	first, n int // rows are those from first up to n
	samples  []driver.Sample
	rows     [chunkRows]submitted
}

type submitted struct {
	s   *Stream
	end int // of its samples
}

// row is the i-th row.
func (c *chunk) row(i int) driver.Row {
	from := 0
	if i > 0 {
		from = c.rows[i-1].end
	}
	return c.samples[from:c.rows[i].end]
}

func newChunk() *chunk { return &chunk{samples: make([]driver.Sample, 0, chunkRows)} }

// open makes the inbox ready for at most so many rows.
func (b *inbox) open(limit int) {
	b.limit, b.losers = limit, make([]*Stream, 0, chunkRows)
	b.prepare()
}

// prepare makes chunks for what may come.
func (b *inbox) prepare() {
	for {
		b.mu.Lock()
		enough := b.spares >= readyChunks || b.chunks > b.limit/chunkRows+1
		b.mu.Unlock()
		if enough {
			return
		}
		c := newChunk()
		b.mu.Lock()
		b.chunks++
		b.recycle(c)
		b.mu.Unlock()
	}
}

// put adds a copy of the row. Where there is no room the oldest row is dropped, for its stream to be told by dropped.
// lost tells that a row was; wake that somebody waits for this one. closed rows are those of nobody: the caller tells.
func (b *inbox) put(s *Stream, row driver.Row) (lost, wake, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || s.closed.Load() {
		return true, false, true
	}
	if lost = b.n == b.limit; lost {
		b.drop()
	}
	c := b.tail
	if c == nil || c.n == chunkRows {
		c = b.extend()
	}
	c.samples = append(c.samples, row...)
	c.rows[c.n] = submitted{s, len(c.samples)}
	c.n++
	b.n++
	s.last, b.owed = row[0].At, true
	wake, b.asleep = b.asleep, false
	return lost, wake, false
}

// drop drops the oldest row. The caller holds the lock.
func (b *inbox) drop() {
	c := b.head
	if s := c.rows[c.first].s; s != nil {
		if s.lost++; s.lost == 1 {
			b.losers = append(b.losers, s)
		}
	}
	c.first++
	b.n--
	if c.first == c.n { // it is not the last, as the limit is over 1
		b.head = c.next
		b.recycle(c)
	}
}

// extend makes room for rows. The caller holds the lock.
func (b *inbox) extend() *chunk {
	c := b.spare
	if c == nil {
		c = newChunk()
		b.chunks++
	} else {
		b.spare, c.next = c.next, nil
		b.spares--
	}
	if b.tail == nil {
		b.head = c
	} else {
		b.tail.next = c
	}
	b.tail = c
	return c
}

// loss is rows that were dropped.
type loss struct {
	s *Stream
	n int
}

// dropped returns whose rows were dropped since it was called last.
func (b *inbox) dropped() []loss {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.losers) == 0 {
		return nil
	}
	losses := make([]loss, len(b.losers))
	for i, s := range b.losers {
		losses[i] = loss{s, s.lost}
		s.lost = 0
	}
	clear(b.losers)
	b.losers = b.losers[:0]
	return losses
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
	clear(c.rows[:c.n])
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recycle(c)
}

func (b *inbox) recycle(c *chunk) {
	c.first, c.n, c.samples = 0, 0, c.samples[:0]
	b.spare, c.next = c, b.spare
	b.spares++
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
