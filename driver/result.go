// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Severity says how bad a verdict is. The zero value is Unknown: no verdict.
type Severity uint8

// The severities, in order.
const (
	Unknown  Severity = iota // warming up, stale, or the detector failed
	Normal                   // nothing unusual
	Warning                  // score at or over the threshold
	Critical                 // score at or over [CriticalScore] of the threshold
)

var severityNames = [...]string{"unknown", "normal", "warning", "critical"}

// String is the severity in lower case.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText is String, for JSON and the like.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severityNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("one of unknown, normal, warning, critical, not %q", text)
	}
	*s = Severity(i)
	return nil
}

// Anomalous reports whether the severity is Warning or worse.
func (s Severity) Anomalous() bool { return s >= Warning }

// Kind names what is unusual. Drivers may define kinds of their own.
type Kind string

// The kinds of the drivers and stages in this module.
const (
	KindNone        Kind = ""
	KindRange       Kind = "range"       // outside fixed limits
	KindSpike       Kind = "spike"       // far from what was expected
	KindJump        Kind = "jump"        // a step from one reading to the next
	KindLevel       Kind = "level"       // a new level that stays
	KindDrift       Kind = "drift"       // a slow departure
	KindFreeze      Kind = "freeze"      // stands still although it should move
	KindNoise       Kind = "noise"       // scatters more than it should
	KindPattern     Kind = "pattern"     // a shape or rhythm not met before
	KindState       Kind = "state"       // an improbable category, transition or dwell time
	KindCorrelation Kind = "correlation" // members of a group contradict each other
	KindCausal      Kind = "causal"      // a member contradicts its causes and effects
	KindMissing     Kind = "missing"     // readings do not arrive
	KindLate        Kind = "late"        // readings arrive late
	KindDuplicate   Kind = "duplicate"   // readings repeat
	KindOutOfOrder  Kind = "outOfOrder"  // readings arrive in the wrong order
	KindInvalid     Kind = "invalid"     // readings are not numbers or do not parse
	KindStuckClock  Kind = "stuckClock"  // the time of reading stands still
	KindDesired     Kind = "desired"     // what the device was told to be is not what it reports
	KindFailed      Kind = "failed"      // the detector failed; severity is Unknown
)

// Cause is one candidate for the blame.
type Cause struct {
	Key    Key
	Weight float64 // 0..1; the weights of a result sum to at most 1
}

// QualityStage is the detector in verdicts of the stage before it, which judges when readings come, and whether they are
// readings at all.
const QualityStage = "quality"

// Result is a verdict on one stream at one time.
type Result struct {
	Key        Key       // Property "" is the device, or the group, as a whole
	At         time.Time // of the reading that was judged
	Severity   Severity
	Score      float64  // 0..1 on the scale of [TailScore]; NaN where Unknown
	Threshold  float64  // anomalous when Score >= Threshold
	Confidence float64  // 0..1: how far the detector trusts this verdict; low while warming up
	Kind       Kind     // KindNone while Normal
	Onset      float64  // 0..1, the score as news: what may begin an incident, 0 while one lasts; NaN where the detector tells no difference from Score
	Ongoing    bool     // the stream is still away from what was normal, whatever this reading scores: the incident lasts
	Accepted   bool     // what the incident was about has lasted so long, uncontradicted, that it is the new normal
	Incident   Incident // that the reading is part of; set by the incident stage, not by drivers
	Value      float64  // the reading
	Expected   float64  // NaN where the driver makes no forecast
	Lower      float64  // bounds of what is normal; NaN where the driver has none
	Upper      float64
	Causes     []Cause // ranked: which property or device is to blame
	Detector   string  // name of the driver, for example "auto"; [QualityStage] of verdicts on when readings come
	Model      string  // trained model that judged, for example "room@3f2a"; "" where none
	Config     string  // fingerprint of the configuration that it was judged under; set by the handler, not by drivers
	Message    string  // why, in a sentence; "" where there is nothing to add
	Translated string  // Message in the other one of the languages; "" where it is not known in that
}

// Reset prepares r for the verdict on row: Key, At and Value from its first sample, everything else unknown. The
// capacity of Causes is kept.
func (r *Result) Reset(row Row) {
	nan := math.NaN()
	// Field by field, as this is on the path of every reading: a literal would be built first and copied then.
	r.Key, r.At = Key{}, time.Time{}
	r.Severity, r.Score, r.Threshold, r.Confidence, r.Kind = Unknown, nan, 0, 0, KindNone
	r.Onset, r.Ongoing, r.Accepted, r.Incident = nan, false, false, Incident{}
	r.Value, r.Expected, r.Lower, r.Upper = nan, nan, nan, nan
	r.Causes = r.Causes[:0]
	r.Detector, r.Model, r.Config, r.Message, r.Translated = "", "", "", "", ""
	if len(row) > 0 {
		r.Key, r.At, r.Value = row[0].Key, row[0].At, row[0].Value
	}
}

// Judge sets Score and, from Threshold, Severity. The kind is kept only if the result is anomalous; a NaN score leaves
// the severity Unknown.
func (r *Result) Judge(score float64, kind Kind) {
	r.Score = score
	switch {
	case math.IsNaN(score):
		r.Severity, r.Kind = Unknown, KindNone
	case score >= CriticalScore(r.Threshold):
		r.Severity, r.Kind = Critical, kind
	case score >= r.Threshold:
		r.Severity, r.Kind = Warning, kind
	default:
		r.Severity, r.Kind = Normal, KindNone
	}
}

// Clone is a copy that shares no memory with r.
func (r *Result) Clone() Result {
	c := *r
	c.Causes = slices.Clone(r.Causes)
	return c
}
