// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Stream is one property, or one group, on a link.
type Stream struct {
	link   *link
	closed atomic.Bool
	last   time.Time // of the newest reading submitted; zero before the first; guarded by the lock of the inbox
	lost   int       // rows that were dropped from the inbox and not told; guarded by its lock

	Settings admethod.StreamSettings

	release func()
	once    sync.Once
	id      string // on disk; "" where nothing is kept there
	local   *local // nil without a fallback

	// Of the link's sender.
	session uint64 // in which it was announced last
	rows    uint64

	stale string // the cause that was told; "" while the detector answers; guarded by link.delivering
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
