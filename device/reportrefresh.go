// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"hash/fnv"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// EdgeCore says yes to reports while its own way to the cloud is broken, and loses them. So all that was reported is
// reported again, slowly, whether it changed or not.

// idleFor is how long the sender sleeps at most when there is nothing to do.
const idleFor = time.Hour

// callsOfRefresh is what reporting a device again costs: its twins and its state.
const callsOfRefresh = 2

// spread gives a device its own place in a period, always the same one.
func (r *Reporter) spread(id string, period time.Duration) time.Duration {
	if period <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return time.Duration(h.Sum64() % uint64(period))
}

// refreshLimiter is half of a limiter.
func refreshLimiter(of *rate.Limiter) *rate.Limiter {
	limit := of.Limit()
	if limit != rate.Inf {
		limit /= 2
	}
	return rate.NewLimiter(limit, max(callsOfRefresh, of.Burst()/2))
}

// refresh gives the devices whose time has come a turn for all that EdgeCore has not been told for a while, as far as
// half of the limiter allows, and returns how long it is until the next one's. The caller holds mu.
func (r *Reporter) refresh(now time.Time) time.Duration {
	if r.opts.Heartbeat <= 0 || r.draining {
		return idleFor
	}
	for {
		wait := idleFor
		var due *deviceReports
		for _, d := range r.devices {
			if d.refresh.After(now) {
				wait = min(wait, d.refresh.Sub(now))
			} else if due == nil || d.refresh.Before(due.refresh) {
				due = d
			}
		}
		if due == nil {
			return wait
		}
		if limit := r.again.Limit(); limit != rate.Inf {
			if short := callsOfRefresh - r.again.TokensAt(now); short > 0 {
				return min(wait, time.Duration(short/float64(limit)*float64(time.Second))+time.Millisecond)
			}
		}
		due.refresh = now.Add(r.opts.Heartbeat)
		r.again.AllowN(now, r.renew(due, now))
	}
}

// renew has what was reported of a device reported again, if it was not lately, and returns how many calls that takes.
// The caller holds mu.
func (r *Reporter) renew(d *deviceReports, now time.Time) (calls int) {
	stale := func(rep *report) bool {
		return !rep.pending && rep.accepted > 0 && now.Sub(rep.knownAt) >= r.opts.Heartbeat/2
	}
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	for _, t := range d.twins {
		if stale(&t.report) {
			t.message.Reported.Metadata.Timestamp, t.message.ObservedDesired.Metadata.Timestamp = timestamp, timestamp
			t.pending, calls = true, 1
		}
	}
	if stale(&d.state) {
		d.state.pending = true
		calls++
	}
	if calls > 0 {
		r.enqueue(d, now)
	}
	return calls
}

// lapseEvery is how often all is reported again at most, however often EdgeCore is away.
const lapseEvery = time.Minute

// lapse has everything reported again, as far as the limiter allows: an EdgeCore that was away may not have passed on
// what it accepted right before. The caller holds mu.
func (r *Reporter) lapse(now time.Time) {
	at := now
	if earliest := r.lapsed.Add(lapseEvery); earliest.After(now) {
		at = earliest
	}
	r.lapsed = at
	for _, d := range r.devices {
		if d.refresh.After(at) {
			d.refresh = at
		}
		d.state.knownAt = time.Time{}
		for _, t := range d.twins {
			t.knownAt = time.Time{}
		}
	}
}

// lateAfter is how long a device may wait for its turn before the log says that the limiter does not do.
const lateAfter = time.Minute

// late notes how long a device has waited for its turn, and says once when that is too long while EdgeCore takes what
// it is given. The caller holds mu.
func (r *Reporter) late(d *deviceReports) {
	from := d.ready
	if r.failed.After(from) {
		from = r.failed
	}
	waited := time.Since(from)
	r.stats.Longest = max(r.stats.Longest, waited)
	if waited < lateAfter || r.toldLate || r.draining {
		return
	}
	r.toldLate = true
	logs.ErrorS(nil, "More is reported than the node's limiter lets through: changes reach the cloud late. "+
		"Report less often, or fewer properties; the sink devicestatus takes verdicts past the limiter",
		"device", ResourceID(d.namespace, d.name), "waited", waited.Round(time.Second), "devices", len(r.devices),
		"callsPerSecond", float64(r.limiter.Limit()))
}
