// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqttclient

import (
	"bufio"
	"net"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// longestCork is how much a connection holds back, in bytes.
const longestCork = 16 << 10

// buffered is a connection that reads ahead, as the client reads byte by byte, and can hold back what is written.
type buffered struct {
	net.Conn
	ahead   *bufio.Reader // of who reads, which is one goroutine
	timeout time.Duration // of a write; 0 leaves it to the client

	mu     sync.Mutex
	corked bool
	over   bool
	wake   chan struct{} // of who writes what is held; nil: nobody does
	held   []byte
	err    error // of a write that was told to have succeeded
}

func newBuffered(c net.Conn) *buffered {
	return &buffered{Conn: c, ahead: bufio.NewReaderSize(c, 16<<10)}
}

func (b *buffered) Read(p []byte) (int, error) { return b.ahead.Read(p) }

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if b.wake == nil && !b.corked && len(b.held) == 0 {
		b.limit()
		return b.Conn.Write(p)
	}
	if b.held = append(b.held, p...); len(b.held) < longestCork && (b.corked || b.wake != nil) {
		if b.wake != nil {
			wait.Wake(b.wake)
		}
		return len(p), nil
	}
	if err := b.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// gather has what is written wait for a goroutine that writes all that there is by then, as clients write packets in
// small pieces. It ends with the connection.
func (b *buffered) gather() (run func()) {
	b.wake = make(chan struct{}, 1)
	return func() {
		for range b.wake {
			b.mu.Lock()
			if b.flush() != nil {
				_ = b.Conn.Close() // the client reads, and so finds out
			}
			b.mu.Unlock()
		}
	}
}

// lastWords is how long the end of a connection waits for what is not written yet.
const lastWords = 100 * time.Millisecond

// Close writes what is left, and closes the connection.
func (b *buffered) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake != nil && !b.over {
		b.over = true
		close(b.wake)
		_ = b.SetWriteDeadline(time.Now().Add(lastWords))
		if len(b.held) > 0 && b.err == nil {
			_, b.err = b.Conn.Write(b.held)
			b.held = nil
		}
		if b.err == nil {
			b.err = net.ErrClosed
		}
	}
	return b.Conn.Close()
}

// flush writes what was held back. The caller holds the lock.
func (b *buffered) flush() error {
	if len(b.held) == 0 {
		return b.err
	}
	b.limit()
	_, b.err = b.Conn.Write(b.held)
	b.held = b.held[:0]
	return b.err
}

// limit has a write that does not get on fail.
func (b *buffered) limit() {
	if b.timeout > 0 {
		_ = b.SetWriteDeadline(time.Now().Add(b.timeout)) // where it fails, the write does
	}
}

// Cork holds back what the client writes, up to some kilobytes, until release is called: many small packets, such as
// acknowledgements, go out as one. Where writing fails then, the next write or read of the client does.
func (s *Session) Cork() (release func()) {
	b := s.conn.Load()
	if b == nil {
		return func() {}
	}
	return b.cork()
}

func (b *buffered) cork() (release func()) {
	b.mu.Lock()
	b.corked = true
	b.mu.Unlock()
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.corked = false
		if b.flush() != nil {
			_ = b.Conn.Close() // the client reads, and so finds out
		}
	}
}
