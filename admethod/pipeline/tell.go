// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
)

// deliver passes a verdict on to the sinks; fromQuality tells that the quality stage judged, not the detector. r is not
// kept.
func (b *Binding) deliver(r *driver.Result, fromQuality bool) {
	r.Config = b.setup.hash
	if !fromQuality && b.coalesce.Quiet(r) {
		if math.IsNaN(r.Onset) {
			r.Onset = r.Score
		}
		if b.handler.watched.Load() {
			b.handler.hooks.Verdict(r)
		}
		return
	}
	b.telling.Lock()
	defer b.telling.Unlock()
	if b.gone {
		return
	}
	b.incident.Least = math.Float64frombits(b.least.Load())
	b.incident.Judge(r, fromQuality, b.setup.policy)
	b.tell(r)
}

// tell passes a verdict that has been through the incident stage on. The caller holds b.telling.
func (b *Binding) tell(r *driver.Result) {
	if b.handler.watched.Load() {
		b.handler.hooks.Verdict(r)
	}
	if !b.coalesce.Pass(r, b.incident.Calm()) {
		return
	}
	if told := b.handler.opts.Told; told != nil {
		told(r)
	}
	if len(b.setup.queues) == 0 {
		return
	}
	clone, muted := r.Clone(), b.handler.mutes.hide(r.Key)
	for _, q := range b.setup.queues {
		if !muted || !q.alerts {
			q.push(clone)
		}
	}
}

// open is the incident that is open; the zero value is none.
func (b *Binding) open() driver.Incident {
	b.telling.Lock()
	defer b.telling.Unlock()
	return b.incident.Open()
}

// checked reports whether the quality stage holds an incident open.
func (b *Binding) checked() bool {
	b.telling.Lock()
	defer b.telling.Unlock()
	return b.incident.OfQuality()
}

// finish ends the incident that is open, if there is one, and tells of it; after the last time nothing is told any more.
func (b *Binding) finish(phase driver.Phase, severity driver.Severity, message string, last bool) {
	var r driver.Result
	r.Reset(nil)
	r.Key, r.Config, r.Threshold, r.Detector = b.Key(), b.setup.hash, b.config.Threshold, b.config.Detector
	r.Severity, r.Message = severity, message
	if severity != driver.Unknown {
		r.Score, r.Onset = 0, 0
	}
	b.telling.Lock()
	defer b.telling.Unlock()
	if !b.gone && b.incident.End(&r, phase) {
		b.tell(&r)
	}
	b.gone = b.gone || last
}
