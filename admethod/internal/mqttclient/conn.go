// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqttclient

import (
	"bufio"
	"net"
	"sync"
)

// longestCork is how much a connection holds back, in bytes.
const longestCork = 16 << 10

// buffered is a connection that reads ahead, as the client reads byte by byte, and can hold back what is written.
type buffered struct {
	net.Conn
	ahead *bufio.Reader // of who reads, which is one goroutine

	mu     sync.Mutex
	corked bool
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
	if !b.corked && len(b.held) == 0 {
		return b.Conn.Write(p)
	}
	if b.held = append(b.held, p...); b.corked && len(b.held) < longestCork {
		return len(p), nil
	}
	if err := b.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes what was held back. The caller holds the lock.
func (b *buffered) flush() error {
	if len(b.held) == 0 {
		return b.err
	}
	_, b.err = b.Conn.Write(b.held)
	b.held = b.held[:0]
	return b.err
}

// Cork holds back what the client writes, up to some kilobytes, until release is called: many small packets, such as
// acknowledgements, go out as one. Where writing fails then, the next write or read of the client does.
func (s *Session) Cork() (release func()) {
	b := s.conn.Load()
	if b == nil {
		return func() {}
	}
	b.mu.Lock()
	b.corked = true
	b.mu.Unlock()
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.corked = false
		if b.flush() != nil {
			_ = b.Close() // the client reads, and so finds out
		}
	}
}
