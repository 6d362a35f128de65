// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Coalescer combines the verdicts of the quality stage and of the detector on one stream, and decides which of them the
// sinks hear: changes at once, the rest as a slow heartbeat by the time of reading. [Coalescer.Quiet] may be called
// concurrently with everything, the rest not.
type Coalescer struct {
	// While the time of reading lies between these two, a normal verdict says nothing new. It is the usual case, and
	// costs no lock.
	quietFrom, quietUntil atomic.Int64

	heartbeat int64 // ns
	clear     uint32
	quality   driver.Severity // of the fault that stands, Normal while there is none
	detector  driver.Severity // of its last verdict
	sent      bool
	sentAt    int64 // time of reading, Unix ns
	severity  driver.Severity
	calm      uint32 // normal verdicts in a row since the last anomalous one
	kind      driver.Kind
	blamed    uint64 // hash of the key to blame most
}

var hashSeed = maphash.MakeSeed() // hashes are compared within the process only

// Init makes a coalescer ready: heartbeat is the time after which a verdict that does not change is told again, 0 for
// never; calm the number of normal verdicts in a row after which an anomaly is over.
func (v *Coalescer) Init(heartbeat time.Duration, calm int) {
	v.quality, v.heartbeat, v.clear = driver.Normal, int64(heartbeat), uint32(calm)
}

// Quiet reports whether a verdict of the detector says nothing new, and need not be passed on.
func (v *Coalescer) Quiet(r *driver.Result) bool {
	at := r.At.UnixNano()
	return r.Severity == driver.Normal && at < v.quietUntil.Load() && at >= v.quietFrom.Load() && len(r.Causes) == 0
}

// Pass reports whether the sinks hear a verdict. fromQuality tells who judged. r is not kept.
func (v *Coalescer) Pass(r *driver.Result, fromQuality bool) bool {
	v.quietUntil.Store(0)
	if fromQuality {
		v.quality = r.Severity
		if v.detector.Anomalous() && v.detector > r.Severity {
			return false // the detector's anomaly stands; its next verdict says so
		}
	} else if v.detector = r.Severity; v.quality.Anomalous() && v.quality >= r.Severity {
		return false // the fault in the readings themselves stands; the detector saw nothing worse
	}
	// An incident is over when it has been calm for a while; a flapping verdict is one incident, not many alerts.
	if r.Severity.Anomalous() {
		v.calm = 0
	} else if r.Ongoing && v.severity.Anomalous() {
		return false
	} else if v.calm++; !fromQuality && v.severity.Anomalous() && r.Severity == driver.Normal && v.calm < v.clear {
		return false
	}
	var blamed uint64
	if len(r.Causes) > 0 {
		blamed = maphash.Comparable(hashSeed, r.Causes[0].Key)
	}
	at := r.At.UnixNano()
	changed := !v.sent || r.Severity != v.severity || r.Kind != v.kind || blamed != v.blamed
	if since := at - v.sentAt; !changed && (v.heartbeat <= 0 || since < v.heartbeat && since > -v.heartbeat) {
		v.quieten()
		return false
	}
	v.sent, v.sentAt, v.severity, v.kind, v.blamed = true, at, r.Severity, r.Kind, blamed
	v.quieten()
	return true
}

// quieten says until when a normal verdict will say nothing new.
func (v *Coalescer) quieten() {
	calm := v.sent && v.severity == driver.Normal && v.detector == driver.Normal && !v.quality.Anomalous() && v.blamed == 0
	if !calm || v.calm < v.clear {
		return
	}
	v.quietFrom.Store(v.sentAt)
	if v.heartbeat > 0 {
		v.quietUntil.Store(v.sentAt + v.heartbeat)
	} else {
		v.quietUntil.Store(math.MaxInt64)
	}
}
