// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"maps"
	"slices"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// sendsWhenFresh is how often the first value of a twin is sent: EdgeCore loses the first.
const sendsWhenFresh = 2

// value is what is compared: of a twin both sides, of a state the first.
type value struct{ reported, desired string }

// report is one value on its way to EdgeCore: that of a twin, or the state of a device.
type report struct {
	value    value // the latest
	pending  bool  // value has to be sent
	worse    bool  // it says that something got worse, which goes first
	accepted int   // how often EdgeCore accepted any value
	known    value // the value that EdgeCore accepted last
	knownAt  time.Time
	hurried  time.Time       // when it last went before others
	rank     func(value) int // how bad a value is; nil: none is
}

type twinReport struct {
	report
	message common.Twin // that carries value
}

// deviceReports is what is kept of one device.
type deviceReports struct {
	namespace, name string
	twins           map[string]*twinReport
	state           report

	lane    int       // that it waits in, or noLane
	ready   time.Time // end of lingering
	refresh time.Time // when all is to be reported again
	gone    bool      // forgotten
}

// The lanes in which devices wait for a turn, each in the order in which they came. What got worse goes first, but while
// others wait they have one turn of eight, so that nothing starves.
const (
	laneWorse = iota // the state or a verdict got worse
	laneOther        // all else
	lanes
	noLane = -1

	headStart = 7
)

func (d *deviceReports) waiting() int {
	n := 0
	for _, t := range d.twins {
		if t.pending {
			n++
		}
	}
	if d.state.pending {
		n++
	}
	return n
}

func (d *deviceReports) hasTwins() bool {
	for _, t := range d.twins {
		if t.pending {
			return true
		}
	}
	return false
}

// device finds or adds a device. The caller holds mu.
func (r *Reporter) device(namespace, name string) *deviceReports {
	id := ResourceID(namespace, name)
	d := r.devices[id]
	if d == nil {
		d = &deviceReports{namespace: namespace, name: name, twins: make(map[string]*twinReport), state: report{rank: rankState}, lane: noLane}
		d.refresh = time.Now().Add(r.opts.Heartbeat/2 + r.spread(id, r.opts.Heartbeat/2))
		r.devices[id] = d
	}
	return d
}

// judge finds out whether what waits is worse than what is known. The caller holds mu.
func (rep *report) judge(now time.Time) {
	rep.worse = rep.rank != nil && rep.rank(rep.value) > rep.rank(rep.known) &&
		(rep.hurried.IsZero() || now.Sub(rep.hurried) >= hurryEvery)
}

// submit takes a new value for a report and queues its device when there is something to send. The caller holds mu.
func (r *Reporter) submit(d *deviceReports, rep *report, v value, now time.Time) {
	if rep.pending {
		if rep.value != v {
			r.stats.Coalesced++
		}
	} else if rep.accepted > 0 && rep.known == v && r.opts.Heartbeat > 0 {
		r.stats.Unchanged++
		return
	}
	rep.value, rep.pending = v, true
	rep.judge(now)
	r.enqueue(d, now)
}

// hurryEvery is how often a value that gets worse lets its device go before the others: one that keeps changing does not.
const hurryEvery = 30 * time.Second

// rankState tells how bad a state is.
func rankState(v value) int {
	switch v.reported {
	case common.DeviceStatusOffline:
		return 3
	case common.DeviceStatusUnhealthy:
		return 2
	case common.DeviceStatusUnknown:
		return 1
	}
	return 0
}

// enqueue gives a device a turn, or moves it to the lane that it has come to belong to. The caller holds mu.
func (r *Reporter) enqueue(d *deviceReports, now time.Time) {
	if d.gone || d == r.half { // whose turn goes on
		return
	}
	lane := d.belongs()
	switch {
	case d.lane == noLane:
		d.ready = now.Add(r.opts.Linger)
	case lane < d.lane:
		q := r.lanes[d.lane]
		if i := slices.Index(q, d); i >= 0 {
			r.lanes[d.lane] = slices.Delete(q, i, i+1)
		}
	default:
		return
	}
	d.lane = lane
	r.lanes[lane] = append(r.lanes[lane], d)
	wait.Wake(r.wake)
}

// belongs is the lane for what waits of a device.
func (d *deviceReports) belongs() int {
	if d.state.pending && d.state.worse {
		return laneWorse
	}
	for _, t := range d.twins {
		if t.pending && t.worse {
			return laneWorse
		}
	}
	return laneOther
}

// turn is the lane whose head is next; noLane when nothing waits. The caller holds mu.
func (r *Reporter) turn() int {
	waits := func(lane int) bool {
		for q := r.lanes[lane]; len(q) > 0 && (q[0].gone || q[0].waiting() == 0); q = r.lanes[lane] {
			q[0].lane = noLane
			q[0], r.lanes[lane] = nil, q[1:]
		}
		return len(r.lanes[lane]) > 0
	}
	worse, other := waits(laneWorse), waits(laneOther)
	switch {
	case worse && (r.inARow < headStart || !other):
		return laneWorse
	case other:
		return laneOther
	}
	return noLane
}

// run sends until Shutdown has flushed or ctx ends.
func (r *Reporter) run(ctx context.Context) {
	defer close(r.done)
	retry := wait.Backoff{First: r.opts.RetryMin, Longest: r.opts.RetryMax}
	for {
		linger, ok := r.next()
		if !ok {
			idle := time.NewTimer(linger)
			select {
			case <-idle.C:
				continue
			case <-r.wake:
				idle.Stop()
				continue
			case <-r.drain:
				idle.Stop()
				if _, more := r.next(); more {
					continue // came between the look and the drain
				}
				return
			case <-ctx.Done():
				idle.Stop()
				return
			}
		}
		if linger > 0 && !r.lingered(ctx, linger) {
			return
		}
		if r.limiter.Wait(ctx) != nil {
			return
		}
		batch, ok := r.take()
		if !ok {
			continue
		}
		err := guard.Call("a report to EdgeCore", func() error { return batch.send(ctx, r.opts.Client) })
		r.settle(batch, err)
		if err == nil || classOf(err) == CallPermanent {
			retry.Reset()
			continue
		}
		if ctx.Err() == nil {
			logs.V(2).InfoS("Report is tried again", "err", err)
		}
		if wait.Sleep(ctx, retry.Next()) != nil {
			return
		}
	}
}

// next tells how long the next device lingers yet; when nothing waits ok is false, and the time that until something is
// to be reported again.
func (r *Reporter) next() (wait time.Duration, ok bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = r.refresh(now)
	if r.half != nil && !r.half.gone {
		return 0, true
	}
	lane := r.turn()
	if lane == noLane {
		return wait, false
	}
	return r.lanes[lane][0].ready.Sub(now), true
}

// lingered waits, but not while draining. It returns false when ctx ends.
func (r *Reporter) lingered(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.drain:
	case <-ctx.Done():
		return false
	}
	return true
}

// batch is one call: the twins of a device, or its state.
type batch struct {
	device *deviceReports
	state  string
	twins  []*dmiapi.Twin
	values []sentValue
}

// sentValue remembers what was sent, since a later value can be submitted during the call.
type sentValue struct {
	report *report
	value  value
}

func (b *batch) send(ctx context.Context, c ReportClient) error {
	if b.state != "" {
		return c.ReportState(ctx, b.device.namespace, b.device.name, b.state)
	}
	return c.ReportTwins(ctx, b.device.namespace, b.device.name, b.twins)
}

// take takes what the next call carries: the device at the head of the queue has its turn, in which its state goes first
// and its twins right after it.
func (r *Reporter) take() (*batch, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.half
	r.half = nil
	if d == nil || d.gone {
		if d = r.head(); d == nil {
			return nil, false
		}
		if d.state.pending {
			r.half = d
			return d.stateBatch(), true
		}
	}
	b := &batch{device: d}
	for _, name := range slices.Sorted(maps.Keys(d.twins)) {
		t := d.twins[name]
		if !t.pending {
			continue
		}
		b.twins = append(b.twins, &dmiapi.Twin{
			PropertyName:    name,
			ObservedDesired: twinProperty(t.message.ObservedDesired),
			Reported:        twinProperty(t.message.Reported),
		})
		b.values = append(b.values, sentValue{&t.report, t.value})
	}
	return b, len(b.values) > 0
}

// head takes the device whose turn it is off the queue; nil when nothing waits. The caller holds mu.
func (r *Reporter) head() *deviceReports {
	lane := r.turn()
	if lane == noLane {
		return nil
	}
	q := r.lanes[lane]
	d := q[0]
	q[0], r.lanes[lane] = nil, q[1:]
	d.lane = noLane
	if lane == laneWorse {
		r.inARow++
		d.hurried(time.Now())
	} else {
		r.inARow = 0
	}
	r.late(d)
	return d
}

// hurried notes that a device went before others, whatever its values have become since it was queued.
func (d *deviceReports) hurried(now time.Time) {
	if d.state.pending {
		d.state.hurried = now
	}
	for _, t := range d.twins {
		if t.pending {
			t.hurried = now
		}
	}
}

func (d *deviceReports) stateBatch() *batch {
	return &batch{device: d, state: d.state.value.reported, values: []sentValue{{&d.state, d.state.value}}}
}

// settle records how a call ended, and gives the device another turn when something still waits.
func (r *Reporter) settle(b *batch, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	class := CallRetryable
	switch err {
	case nil:
		if r.away {
			r.away = false
			r.lapse(now)
		}
		r.stats.Calls++
		if b.state != "" {
			r.stats.States++
		} else {
			r.stats.Twins += uint64(len(b.twins))
		}
	default:
		if class = classOf(err); class == CallPermanent {
			r.stats.Dropped += uint64(len(b.values))
			r.complain("EdgeCore refuses a report: "+err.Error(), b.device.namespace, b.device.name, b.state)
			break
		}
		r.stats.Retried++
		r.failed = now
		if class == CallThrottled {
			r.stats.Throttled++
			r.emptyLimiter(now)
		} else {
			r.away = true
		}
	}
	for _, v := range b.values {
		rep := v.report
		sends := 1
		if b.state == "" {
			sends = sendsWhenFresh
		}
		switch {
		case err == nil:
			rep.accepted++
			rep.known, rep.knownAt = v.value, now
			switch {
			case rep.value != v.value:
				rep.judge(now)
			case rep.accepted >= sends:
				rep.pending, rep.worse = false, false
			}
		case class == CallPermanent && rep.value == v.value:
			rep.pending, rep.worse = false, false
		}
	}
	if r.half == b.device && (err != nil && class != CallPermanent || !b.device.hasTwins()) {
		r.half = nil // EdgeCore is not to be asked twice at once, or nothing is left
	}
	if r.half == nil && b.device.waiting() > 0 {
		r.enqueue(b.device, now)
	}
}

// emptyLimiter brings the own limiter in line with the node's, which has just refused a call. The caller holds mu.
func (r *Reporter) emptyLimiter(now time.Time) {
	if r.limiter.Limit() == rate.Inf {
		return
	}
	if n := int(r.limiter.TokensAt(now)); n > 0 {
		r.limiter.AllowN(now, n)
	}
}
