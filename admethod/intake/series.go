// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

const notJudged = "the reading was lost before it was judged: the server is overloaded, or the series was configured anew"

// series is what is scored as one. It outlives the sessions of its client.
type series struct {
	id, group string
	owner     *Client
	members   []driver.Member
	identity  string                // of its configuration
	lasting   bool                  // it is closed when its source says so, and not for want of readings
	holders   map[*Session]struct{} // guarded by the server
	used      atomic.Int64          // coarse clock
	rows      *rows                 // of a group whose rows the server puts together

	submitting sync.Mutex // around TrySubmit, which is not concurrent; taken before mu
	attached   *pipeline.Attachment
	closed     bool
	number     uint64 // of the last row

	mu      sync.Mutex
	head    uint64 // number of the first place in pending
	pending ring
	failed  string // why the detector is cut off; "" while it works
	since   int64  // of failed, by the coarse clock
}

// waits is an answer that waits for the verdict on a row.
type waits struct {
	answer   *Answer
	memory   *memory
	sequence uint64
}

// ring is a queue that uses its memory again.
type ring struct {
	places  []waits // its length is a power of two
	first   int
	waiting int
}

func (r *ring) at(i uint64) *waits { return &r.places[(r.first+int(i))&(len(r.places)-1)] }

func (r *ring) push(w waits) {
	if r.waiting == len(r.places) {
		grown := make([]waits, max(8, 2*len(r.places)))
		for i := range r.waiting {
			grown[i] = *r.at(uint64(i))
		}
		r.places, r.first = grown, 0
	}
	r.waiting++
	*r.at(uint64(r.waiting - 1)) = w
}

func (r *ring) pop() {
	*r.at(0) = waits{}
	r.first = (r.first + 1) & (len(r.places) - 1)
	r.waiting--
}

// submit has a row judged. It reports false where the series is closed, or its detector is worth another try; open it
// again then. While the detector is cut off, the answer says why.
func (n *series) submit(a *Answer, m *memory, row driver.Row, now int64) bool {
	n.submitting.Lock()
	defer n.submitting.Unlock()
	if n.closed {
		return false
	}
	n.used.Store(now)
	if why, again := n.broken(now); again {
		return false
	} else if why != "" {
		a.fail(why)
		return true
	}
	n.number++
	w := waits{answer: a, sequence: a.Reply.Message.GetSequence()}
	a.state.Store(waiting)
	if m != nil && w.sequence != 0 {
		w.memory = m
		m.add(w.sequence, n, n.number)
	}
	n.mu.Lock()
	if n.pending.waiting == 0 {
		n.head = n.number
	}
	n.pending.push(w)
	n.mu.Unlock()
	n.attached.TrySubmit(row, n.number) // a row that is lost is told to settled
	return true
}

// check takes a reading through the stages that its client has not. It reports false where verdict is the answer.
func (n *series) check(member int, text string, how look, s *driver.Sample) (verdict driver.Result, pass bool) {
	n.submitting.Lock()
	defer n.submitting.Unlock()
	switch {
	case n.closed: // submit tells
		return verdict, true
	case how == checked:
		return n.attached.Check(member, text, s)
	}
	return n.attached.Observe(member, text, how == past, s)
}

// found tells what the source found of a member. It reports false where the series is closed.
func (n *series) found(member int, now int64, at time.Time, f *source.Finding) bool {
	n.submitting.Lock()
	defer n.submitting.Unlock()
	if n.closed {
		return false
	}
	n.used.Store(now)
	n.attached.Found(member, at, f.Kind, f.Strength, f.Message)
	return true
}

// describe tells sinks what the source knows of a member.
func (n *series) describe(of *member) {
	if of.about == nil {
		return
	}
	about := admethod.About{Labels: of.about.Labels, Predicted: of.about.Predicted, Model: of.about.Model, Node: of.about.Node}
	if about.Labels == nil && about.Predicted == "" && about.Model == "" && about.Node == "" {
		return
	}
	n.submitting.Lock()
	defer n.submitting.Unlock()
	if i := slices.IndexFunc(n.members, func(m driver.Member) bool { return m.Key == of.key }); i >= 0 && n.attached != nil && !n.closed {
		n.attached.Describe(i, about)
	}
}

// over reports whether the series is closed.
func (n *series) over() bool {
	n.submitting.Lock()
	defer n.submitting.Unlock()
	return n.closed
}

// takeOver lets another answer wait for the verdict on a row. It reports false where nobody waits any more.
func (n *series) takeOver(number uint64, a *Answer) bool {
	n.mu.Lock()
	if number < n.head || number >= n.head+uint64(n.pending.waiting) {
		n.mu.Unlock()
		return false
	}
	w := n.pending.at(number - n.head)
	old := w.answer
	if old == nothing {
		n.mu.Unlock()
		return false
	}
	a.state.Store(waiting)
	w.answer = a
	n.mu.Unlock()
	old.fail("sent again")
	return true
}

// settled takes what became of a row.
func (n *series) settled(number uint64, r *driver.Result, row driver.Row) {
	n.mu.Lock()
	var w waits
	if number >= n.head && number < n.head+uint64(n.pending.waiting) {
		place := n.pending.at(number - n.head)
		w, *place = *place, waits{answer: nothing}
		for n.pending.waiting > 0 && n.pending.at(0).answer == nothing {
			n.pending.pop()
			n.head++
		}
	}
	if w.answer == nothing { // told before
		w = waits{}
	}
	failed := r != nil && row == nil
	if failed {
		n.failed, n.since = r.Message, n.used.Load()
	}
	if w.memory != nil {
		if failed {
			w.memory.settle(w.sequence, nil)
		} else {
			w.memory.settle(w.sequence, r)
		}
	}
	why := n.failed
	n.mu.Unlock()
	switch {
	case w.answer == nil:
	case r != nil:
		w.answer.judged(r)
	case why != "":
		w.answer.fail(why)
	default:
		w.answer.fail(notJudged)
	}
}

// nothing marks a place whose row is settled.
var nothing = new(Answer)

// close cuts the series off. What waits is answered without a verdict.
func (n *series) close() {
	n.submitting.Lock()
	n.closed = true
	last := n.number
	if n.attached != nil {
		n.attached.Close()
	}
	n.submitting.Unlock()
	n.mu.Lock()
	number := n.head
	n.mu.Unlock()
	for ; number <= last; number++ {
		n.settled(number, nil, nil)
	}
}

// broken says why the detector is cut off, "" while it works. It is given another try after a while.
func (n *series) broken(now int64) (why string, again bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed == "" {
		return "", false
	}
	return n.failed, now-n.since >= int64(failedFor)
}

// failedFor is how long a detector that panicked or hung is left alone.
const failedFor = time.Minute

// inUse says whether somebody else than asker uses the series. The caller holds the server's lock.
func (n *series) inUse(asker *Session, now int64, handover time.Duration) bool {
	if now-n.used.Load() >= int64(handover) {
		return false
	}
	for holder := range n.holders {
		if holder != asker {
			return true
		}
	}
	return false
}
