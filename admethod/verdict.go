// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"

	"github.com/kubeedge/edge-anomaly/driver"
)

// verdicts combines the verdicts of the quality stage and of the detector on one stream, and decides which of them the
// sinks hear: changes at once, the rest as a slow heartbeat by the time of reading.
type verdicts struct {
	// While the time of reading lies between these two, a normal verdict says nothing new. It is the usual case, and
	// costs no lock.
	quietFrom, quietUntil atomic.Int64

	mu        sync.Mutex
	quality   driver.Severity // of the fault that stands, Normal while there is none
	detector  driver.Severity // of its last verdict
	heartbeat int64           // ns
	sent      bool
	sentAt    int64 // time of reading, Unix ns
	severity  driver.Severity
	calm      uint32 // normal verdicts in a row since the last anomalous one
	kind      driver.Kind
	blamed    uint64 // hash of the key to blame most
	dropped   uint64 // rows lost from the adapter's queue
}

var hashSeed = maphash.MakeSeed() // hashes are compared within the process only

// deliver passes a verdict on. fromQuality tells who judged. r is not kept.
func (v *verdicts) deliver(r *driver.Result, fromQuality bool, b *Binding) {
	if b.handler.watched.Load() {
		b.handler.hooks.Verdict(r)
	}
	at := r.At.UnixNano()
	if !fromQuality && r.Severity == driver.Normal && at < v.quietUntil.Load() && at >= v.quietFrom.Load() && len(r.Causes) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.quietUntil.Store(0)
	if fromQuality {
		v.quality = r.Severity
		if v.detector.Anomalous() && v.detector > r.Severity {
			return // the detector's anomaly stands; its next verdict says so
		}
	} else if v.detector = r.Severity; v.quality.Anomalous() && v.quality >= r.Severity {
		return // the fault in the readings themselves stands; the detector saw nothing worse
	}
	// An incident is over when it has been calm for a while; a flapping verdict is one incident, not many alerts.
	if r.Severity.Anomalous() {
		v.calm = 0
	} else if r.Ongoing && v.severity.Anomalous() {
		return
	} else if v.calm++; !fromQuality && v.severity.Anomalous() && r.Severity == driver.Normal && v.calm < uint32(b.config.Policy.Clear) {
		return
	}
	var blamed uint64
	if len(r.Causes) > 0 {
		blamed = maphash.Comparable(hashSeed, r.Causes[0].Key)
	}
	defer v.quieten(b)
	changed := !v.sent || r.Severity != v.severity || r.Kind != v.kind || blamed != v.blamed
	if since := at - v.sentAt; !changed && (v.heartbeat <= 0 || since < v.heartbeat && since > -v.heartbeat) {
		return
	}
	v.sent, v.sentAt, v.severity, v.kind, v.blamed = true, at, r.Severity, r.Kind, blamed
	queues := b.setup.queues
	if len(queues) == 0 {
		return
	}
	clone := r.Clone()
	for _, q := range queues {
		q.push(clone)
	}
}

// quieten says until when a normal verdict will say nothing new.
func (v *verdicts) quieten(b *Binding) {
	calm := v.sent && v.severity == driver.Normal && v.detector == driver.Normal && !v.quality.Anomalous() && v.blamed == 0
	if !calm || v.calm < uint32(b.config.Policy.Clear) {
		return
	}
	v.quietFrom.Store(v.sentAt)
	if v.heartbeat > 0 {
		v.quietUntil.Store(v.sentAt + v.heartbeat)
	} else {
		v.quietUntil.Store(math.MaxInt64)
	}
}

// qualityResult is the verdict of the quality stage: strength 1 is just over the threshold, 5 is critical.
func qualityResult(s *driver.Sample, threshold float64, kind driver.Kind, strength float64, message string) driver.Result {
	r := driver.Result{Threshold: threshold}
	nan := math.NaN()
	r.Key, r.At, r.Value, r.Confidence, r.Detector, r.Message = s.Key, s.At, s.Value, 1, "quality", message
	r.Expected, r.Lower, r.Upper = nan, nan, nan
	if kind == driver.KindNone {
		r.Judge(0, kind)
	} else {
		r.Judge(1-(1-threshold)/max(strength, 1), kind)
	}
	return r
}
