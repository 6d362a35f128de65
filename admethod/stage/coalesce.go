// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Coalescer decides which verdicts on one stream the sinks hear: those that begin, change or end something at once, the
// rest as a slow heartbeat by the time of reading. [Coalescer.Quiet] may be called concurrently with everything, the rest
// not.
type Coalescer struct {
	// While the time of reading lies between these two, a normal verdict says nothing new. It is the usual case, and
	// costs no lock.
	quietFrom, quietUntil atomic.Int64

	heartbeat int64 // ns
	sent      bool
	sentAt    int64 // time of reading, Unix ns
	severity  driver.Severity
	incident  uint64 // that was told last as open; 0 for none
	kind      driver.Kind
	blamed    uint64 // hash of the key to blame most
}

// Init sets the time after which a verdict that does not change is told again, 0 for never.
func (v *Coalescer) Init(heartbeat time.Duration) { v.heartbeat = int64(heartbeat) }

// Quiet reports whether a verdict of the detector says nothing new, and need not be passed on.
func (v *Coalescer) Quiet(r *driver.Result) bool {
	at := r.At.UnixNano()
	return r.Severity == driver.Normal && at < v.quietUntil.Load() && at >= v.quietFrom.Load() && len(r.Causes) == 0
}

// Pass reports whether the sinks hear a verdict that has been through the incident stage; calm tells that this has
// nothing open. r is not kept.
func (v *Coalescer) Pass(r *driver.Result, calm bool) bool {
	v.quietUntil.Store(0)
	at := r.At.UnixNano()
	blamed := blame(r)
	open := uint64(0)
	if r.Incident.Phase.Open() {
		open = r.Incident.ID
	}
	since := at - v.sentAt
	pass := !v.sent || open != v.incident || r.Severity != v.severity || r.Kind != v.kind || blamed != v.blamed ||
		r.Incident.ID != 0 && open == 0 || // one that began and ended
		v.heartbeat > 0 && (since >= v.heartbeat || since <= -v.heartbeat)
	if pass {
		v.sent, v.sentAt, v.severity, v.kind, v.blamed, v.incident = true, at, r.Severity, r.Kind, blamed, open
	}
	if !calm || r.Severity != driver.Normal || v.severity != driver.Normal || v.blamed != 0 {
		return pass
	}
	v.quietFrom.Store(v.sentAt)
	until := v.sentAt + v.heartbeat
	if v.heartbeat <= 0 || until < v.sentAt { // never, or beyond the end of time
		until = math.MaxInt64
	}
	v.quietUntil.Store(until)
	return pass
}

// blame is a hash of the key to blame most: for the incident, where there is one.
func blame(r *driver.Result) uint64 {
	key := driver.Key{}
	if r.Incident.Phase.Open() {
		key = r.Incident.Cause
	} else if len(r.Causes) > 0 {
		key = r.Causes[0].Key
	}
	if key == (driver.Key{}) {
		return 0
	}
	// FNV-1a, which is the same in each process, as one may go on where another stopped.
	h := uint64(14695981039346656037)
	for _, part := range [...]string{key.Namespace, key.Device, key.Property} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * 1099511628211
		}
		h = (h ^ '/') * 1099511628211
	}
	return max(h, 1)
}
