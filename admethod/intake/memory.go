// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// A client that lost its connection sends again what was not answered. What was judged already gets the verdict that it
// got then, and is not learned twice; what was lost before it was judged is judged now.

const (
	remembered    = 4096 // readings of a stream that can be told to be repeats
	streamsOfOne  = 16   // of one client that are remembered
	longestStream = 128  // bytes of a stream_id
)

// memory is what was asked on one stream_id of a client, over its connections.
type memory struct {
	sessions int       // guarded by the server
	used     time.Time // guarded by the server

	mu      sync.Mutex
	high    uint64   // highest sequence so far
	records []record // by sequence modulo length, a power of two
}

type record struct {
	sequence uint64
	number   uint64 // of the row in its series
	series   *series
	judged   bool
	verdict  driver.Result
}

// remember returns the memory of a stream of the client; the one that was idle for longest makes room.
func (in *Intake) remember(c *Client, id string) *memory {
	in.mu.Lock()
	defer in.mu.Unlock()
	m := c.streams[id]
	if m == nil {
		if len(c.streams) >= streamsOfOne {
			oldest := ""
			for name, candidate := range c.streams {
				if candidate.sessions == 0 && (oldest == "" || candidate.used.Before(c.streams[oldest].used)) {
					oldest = name
				}
			}
			delete(c.streams, oldest) // where all are in use there are as many as the client may have streams
		}
		m = new(memory)
		c.streams[id] = m
	}
	m.sessions++
	m.used = time.Now()
	return m
}

// forgetStreams forgets those that nobody has used since limit. The caller holds the server's lock.
func (c *Client) forgetStreams(limit time.Time) {
	for id, m := range c.streams {
		if m.sessions == 0 && m.used.Before(limit) {
			delete(c.streams, id)
		}
	}
}

// find returns what is known of a request that may be a repeat.
func (m *memory) find(sequence uint64, attempt uint32) (r record, known, tooOld bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if sequence > m.high || len(m.records) == 0 {
		return r, false, false
	}
	r = m.records[sequence&uint64(len(m.records)-1)]
	if r.sequence == sequence {
		r.verdict.Causes = slices.Clone(r.verdict.Causes)
		return r, true, false
	}
	return r, false, attempt > 0 && sequence+remembered <= m.high
}

// add notes that a request is being judged.
func (m *memory) add(sequence uint64, n *series, number uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if sequence > m.high {
		m.high = sequence
	}
	r := m.place(sequence)
	if r == nil {
		return
	}
	causes := r.verdict.Causes[:0]
	*r = record{sequence: sequence, number: number, series: n}
	r.verdict.Causes = causes
}

// place is where a sequence is noted; nil where a newer one is.
func (m *memory) place(sequence uint64) *record {
	for {
		if len(m.records) > 0 {
			r := &m.records[sequence&uint64(len(m.records)-1)]
			if r.sequence == 0 || r.sequence == sequence || len(m.records) == remembered {
				if r.sequence > sequence {
					return nil
				}
				return r
			}
		}
		old := m.records
		m.records = make([]record, max(64, 2*len(old)))
		for i := range old {
			if old[i].sequence != 0 {
				m.records[old[i].sequence&uint64(len(m.records)-1)] = old[i]
			}
		}
	}
}

// settle notes what became of a request: a verdict, or nil where it was lost.
func (m *memory) settle(sequence uint64, r *driver.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.records) == 0 {
		return
	}
	kept := &m.records[sequence&uint64(len(m.records)-1)]
	if kept.sequence != sequence {
		return
	}
	if r == nil {
		*kept = record{}
		return
	}
	causes := append(kept.verdict.Causes[:0], r.Causes...)
	kept.judged, kept.series, kept.verdict = true, nil, *r
	kept.verdict.Causes = causes
}

// repeat answers a request that was asked before. It reports false for one that is to be judged.
func (s *Session) repeat(m *pb.DevicePropertyData, a *Answer) bool {
	for {
		r, known, tooOld := s.memory.find(m.GetSequence(), m.GetAttempt())
		switch {
		case tooOld:
			a.fail("judged before; the verdict is not kept any more")
			return true
		case !known:
			return false
		case r.judged:
			a.state.Store(waiting)
			a.judged(&r.verdict)
			return true
		case r.series.takeOver(r.number, a):
			return true
		}
		// Answered in between: look again.
	}
}
