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
)

// sendsWhenFresh is how often the first value of a twin is sent: EdgeCore loses the first.
const sendsWhenFresh = 2

// value is what is compared: of a twin both sides, of a state the first.
type value struct{ reported, desired string }

// report is one value on its way to EdgeCore: that of a twin, or the state of a device.
type report struct {
	value    value // the latest
	pending  bool  // value has to be sent
	accepted int   // how often EdgeCore accepted any value
	known    value // the value that EdgeCore accepted last
	knownAt  time.Time
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
	stateSent       bool // the last turn was the state's: twins come next

	queued bool
	urgent bool      // queued among the urgent ones
	ready  time.Time // end of lingering
	gone   bool      // forgotten
}

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

// device finds or adds a device. The caller holds mu.
func (r *Reporter) device(namespace, name string) *deviceReports {
	id := ResourceID(namespace, name)
	d := r.devices[id]
	if d == nil {
		d = &deviceReports{namespace: namespace, name: name, twins: make(map[string]*twinReport)}
		r.devices[id] = d
	}
	return d
}

// submit takes a new value for a report and queues its device when there is something to send. The caller holds mu.
func (r *Reporter) submit(d *deviceReports, rep *report, v value, now time.Time) {
	if rep.pending {
		if rep.value != v {
			r.stats.Coalesced++
		}
	} else if rep.accepted > 0 && rep.known == v && r.opts.Heartbeat > 0 && now.Sub(rep.knownAt) < r.opts.Heartbeat {
		r.stats.Unchanged++
		return
	}
	rep.value, rep.pending = v, true
	r.enqueue(d, now)
}

// enqueue gives a device a turn, if it has none. The caller holds mu.
func (r *Reporter) enqueue(d *deviceReports, now time.Time) {
	if d.queued || d.gone {
		return
	}
	d.queued, d.urgent, d.ready = true, false, now.Add(r.opts.Linger)
	r.queue = append(r.queue, d)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// hurryEvery is how often a state that changes lets its device go before the others: one that keeps changing does not.
const hurryEvery = 30 * time.Second

// hurry moves a device that is queued to the urgent ones, to report its state. The caller holds mu.
func (r *Reporter) hurry(d *deviceReports) {
	if !d.queued || d.urgent {
		return
	}
	if i := slices.Index(r.queue, d); i >= 0 {
		r.queue = slices.Delete(r.queue, i, i+1)
		r.urgent = append(r.urgent, d)
		d.urgent, d.stateSent = true, false
	}
}

// turn is the queue whose head is next; nil when nothing waits. The caller holds mu.
func (r *Reporter) turn() *[]*deviceReports {
	for _, q := range []*[]*deviceReports{&r.queue, &r.urgent} {
		for len(*q) > 0 && (*q)[0].gone {
			*q = (*q)[1:]
		}
	}
	switch {
	case len(r.urgent) > 0 && (!r.wasUrgent || len(r.queue) == 0):
		return &r.urgent
	case len(r.queue) > 0:
		return &r.queue
	}
	return nil
}

// run sends until Shutdown has flushed or ctx ends.
func (r *Reporter) run(ctx context.Context) {
	defer close(r.done)
	retry := backoff{shortest: r.opts.RetryMin, longest: r.opts.RetryMax}
	for {
		linger, ok := r.next()
		if !ok {
			select {
			case <-r.wake:
				continue
			case <-r.drain:
				if _, more := r.next(); more {
					continue // came between the look and the drain
				}
				return
			case <-ctx.Done():
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
			retry.reset()
			continue
		}
		if ctx.Err() == nil {
			logs.V(2).InfoS("Report is tried again", "err", err)
		}
		if sleep(ctx, retry.pause()) != nil {
			return
		}
	}
}

// next tells how long the head of the queue lingers yet; ok is false when nothing waits.
func (r *Reporter) next() (linger time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.turn()
	if q == nil {
		return 0, false
	}
	return time.Until((*q)[0].ready), true
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

// take takes the head of the queue and all that waits of it. State and twins alternate when both wait.
func (r *Reporter) take() (*batch, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.turn()
	if q == nil {
		return nil, false
	}
	d := (*q)[0]
	(*q)[0] = nil
	*q = (*q)[1:]
	r.wasUrgent = d.urgent
	d.queued, d.urgent = false, false
	b := &batch{device: d}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(d.twins)), func(name string) bool { return !d.twins[name].pending })
	if d.state.pending && (!d.stateSent || len(names) == 0) {
		d.stateSent = true
		b.state = d.state.value.reported
		b.values = []sentValue{{&d.state, d.state.value}}
		return b, true
	}
	d.stateSent = false
	for _, name := range names {
		t := d.twins[name]
		b.twins = append(b.twins, &dmiapi.Twin{
			PropertyName:    name,
			ObservedDesired: twinProperty(t.message.ObservedDesired),
			Reported:        twinProperty(t.message.Reported),
		})
		b.values = append(b.values, sentValue{&t.report, t.value})
	}
	return b, len(b.values) > 0
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
			r.lapse()
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
			r.complain(now, "EdgeCore refuses a report: "+err.Error(), b.device.namespace, b.device.name, b.state)
			break
		}
		r.stats.Retried++
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
			if rep.value == v.value && rep.accepted >= sends {
				rep.pending = false
			}
		case class == CallPermanent && rep.value == v.value:
			rep.pending = false
		}
	}
	if b.device.waiting() > 0 {
		r.enqueue(b.device, now)
	}
}

// lapse makes every value due with its next report: an EdgeCore that was away may not have passed on what it accepted
// right before. The caller holds mu.
func (r *Reporter) lapse() {
	for _, d := range r.devices {
		d.state.knownAt = time.Time{}
		for _, t := range d.twins {
			t.knownAt = time.Time{}
		}
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
