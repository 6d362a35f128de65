// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Answer is a message that was asked, and the answer to it, which is its Reply. Whoever claims it writes the answer.
type Answer struct {
	Reply wire.Reply

	session   *Session
	asked     int64  // when, by the coarse clock
	nano      int64  // time of the reading
	timestamp string // the same as text, where the message gave it
	subject   driver.Key
	waiter    source.Answerer // of a session that tells verdicts; nil where nobody waits
	token     uint64          // for it
	keep      bool            // somebody else has it: it is not used again
	state     atomic.Uint32

	// Guarded by the session.
	previous, next *Answer
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
func (a *Answer) set(m *pb.DevicePropertyData) {
	a.subject = driver.Key{
		Namespace: brief(m.GetNamespace(), longestName), Device: brief(m.GetDeviceName(), longestName), Property: brief(m.GetPropertyName(), longestName),
	}
	a.nano, a.timestamp = m.GetTimeUnixNano(), brief(m.GetTimestamp(), longestTime)
	a.Reply.Message.Sequence = m.GetSequence()
	a.state.Store(asking)
}

// claim lets one caller write the answer.
func (a *Answer) claim() bool { return a.state.CompareAndSwap(waiting, claimed) }

// judged answers with a verdict, unless a was answered before. It keeps nothing of r.
func (a *Answer) judged(r *driver.Result) {
	if !a.claim() {
		return
	}
	if a.session.tells {
		a.tell(r)
		return
	}
	timestamp := a.timestamp
	if r.At.UnixNano() != a.nano {
		timestamp = ""
	}
	a.Reply.Set(r, timestamp)
	a.session.deliver(a)
}

// tell tells the verdict to who waits for it. The caller has claimed a.
func (a *Answer) tell(r *driver.Result) {
	if a.waiter != nil {
		a.waiter.Answer(a.token, r)
		a.waiter = nil
	}
	a.session.forget(a)
}

// fail answers that there is no verdict, unless a was answered before.
func (a *Answer) fail(why string) {
	if a.claim() || a.state.CompareAndSwap(asking, claimed) {
		a.write(why)
	}
}

// write answers without a verdict. The caller has claimed a.
func (a *Answer) write(why string) {
	if a.session.tells {
		a.tell(nil)
		return
	}
	var r driver.Result
	r.Reset(nil)
	r.Key, r.Message = a.subject, why
	if why != "" {
		r.Kind = driver.KindFailed
	}
	r.At = time.Unix(0, a.nano)
	a.Reply.Set(&r, a.timestamp)
	a.Reply.Message.TimeUnixNano = a.nano // 0 where the reading had no time
	a.session.deliver(a)
}
