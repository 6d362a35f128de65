// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// answer is a message that was asked, and the answer to it. Whoever claims it writes the answer.
type answer struct {
	session   *session
	reply     wire.Reply
	asked     int64  // when, by the server's coarse clock
	nano      int64  // time of the reading
	timestamp string // the same as text, where the message gave it
	subject   driver.Key
	keep      bool // somebody else has it: it is not used again
	state     atomic.Uint32

	// Guarded by the session.
	previous, next *answer
	ready          bool
}

// The states of an answer. One that is late may still be known to its series.
const (
	asking  uint32 = iota // belongs to the goroutine that asks
	waiting               // for a verdict
	claimed
)

const (
	longestName = 253
	longestTime = 64
	longestText = 256 // of a reading that is no number
)

// brief is a text without what is beyond its bound: what waits must not take more memory than it is worth.
func brief(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	return strings.Clone(strings.ToValidUTF8(text[:bytes], ""))
}

// set prepares a for the answer to m.
func (a *answer) set(m *pb.DevicePropertyData, now int64) {
	a.asked, a.ready, a.keep = now, false, false
	a.subject = driver.Key{
		Namespace: brief(m.GetNamespace(), longestName), Device: brief(m.GetDeviceName(), longestName), Property: brief(m.GetPropertyName(), longestName),
	}
	a.nano, a.timestamp = m.GetTimeUnixNano(), brief(m.GetTimestamp(), longestTime)
	a.reply.Message.Sequence = m.GetSequence()
	a.state.Store(asking)
}

// claim lets one caller write the answer.
func (a *answer) claim() bool { return a.state.CompareAndSwap(waiting, claimed) }

// judged answers with a verdict, unless a was answered before. It keeps nothing of r.
func (a *answer) judged(r *driver.Result) {
	if !a.claim() {
		return
	}
	timestamp := a.timestamp
	if r.At.UnixNano() != a.nano {
		timestamp = ""
	}
	a.reply.Set(r, timestamp)
	a.session.deliver(a)
}

// fail answers that there is no verdict, unless a was answered before.
func (a *answer) fail(why string) {
	if a.claim() || a.state.CompareAndSwap(asking, claimed) {
		a.write(why)
	}
}

// write answers without a verdict. The caller has claimed a.
func (a *answer) write(why string) {
	var r driver.Result
	r.Reset(nil)
	r.Key, r.Message = a.subject, why
	if why != "" {
		r.Kind = driver.KindFailed
	}
	r.At = time.Unix(0, a.nano)
	a.reply.Set(&r, a.timestamp)
	a.reply.Message.TimeUnixNano = a.nano // 0 where the reading had no time
	a.session.deliver(a)
}
