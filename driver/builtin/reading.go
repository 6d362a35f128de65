// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// noReading marks samples that must not be learned from.
const noReading = driver.Duplicate | driver.OutOfOrder | driver.NotANumber | driver.Unparsable | driver.Held | driver.Stale

// winsor2 is the squared normal deviate beyond which a reading counts no more when it is learned.
const winsor2 = 3 * 3

// levelAfter is how many anomalous readings in succession on one side make a level of what looked like spikes.
const levelAfter = 5

// reading is the number in a row of one, bounded so that its square is finite.
func reading(row driver.Row) (float64, bool) {
	if len(row) == 0 || row[0].Flags&noReading != 0 {
		return 0, false
	}
	x := row[0].Value
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, false
	}
	return moments.Clamp(x), true
}

// assessment is what a detector of this package makes of one reading.
type assessment struct {
	score                  float64 // NaN while warming up
	kind                   driver.Kind
	confidence             float64
	expected, lower, upper float64
}

// unknown is the assessment while n of the readings needed are in.
func unknown(n, needed uint64) assessment {
	nan := math.NaN()
	return assessment{score: nan, confidence: confidence(n, needed), expected: nan, lower: nan, upper: nan}
}

// confidence grows with the number of readings: one half at the end of the warm-up, towards 1 from there.
func confidence(n, needed uint64) float64 {
	if n == 0 {
		return 0
	}
	return float64(n) / (float64(n) + float64(needed))
}

// deliver writes the assessment to the verdict.
func (a *assessment) deliver(out *driver.Result) {
	out.Confidence, out.Expected, out.Lower, out.Upper = a.confidence, a.expected, a.lower, a.upper
	out.Judge(a.score, a.kind)
}

// judgeForecast scores a reading by its squared deviate from a forecast.
func judgeForecast(f moments.Prediction, x, z2, limit2, threshold float64, run *excursion, conf float64) assessment {
	score := normalScore(math.Sqrt(z2))
	a := assessment{
		score: score, kind: run.kind(score >= threshold, x > f.Mean), confidence: conf, expected: f.Mean,
	}
	a.lower, a.upper = bounds(f, limit2)
	return a
}

// bounds are where the squared deviate reaches limit2; NaN where no reading would be anomalous.
func bounds(f moments.Prediction, limit2 float64) (lower, upper float64) {
	half := f.HalfWidth(limit2)
	if math.IsInf(half, 1) {
		return math.NaN(), math.NaN()
	}
	return f.Mean - half, f.Mean + half
}

// excursion counts anomalous readings in succession on one side of what was expected: positive above, negative below.
type excursion int8

// kind tells a spike from a level that stays.
func (e *excursion) kind(anomalous, above bool) driver.Kind {
	switch {
	case !anomalous:
		*e = 0
	case above:
		*e = min(max(*e, 0)+1, levelAfter)
	default:
		*e = max(min(*e, 0)-1, -levelAfter)
	}
	if *e == levelAfter || *e == -levelAfter {
		return driver.KindLevel
	}
	return driver.KindSpike
}

// EncodeState implements state.Part.
func (e *excursion) EncodeState(w *state.Writer) { w.Int(int64(*e) + levelAfter) }

// DecodeState implements state.Part.
func (e *excursion) DecodeState(r *state.Reader) {
	*e = excursion(r.Count("excursion", 2*levelAfter) - levelAfter)
}

// glitches keeps readings that no sensor means, ten thousand times as large as any before, from being learned: in the
// arithmetic of one of 1e30 all others are the same. What stays is learned after all.
type glitches struct {
	largest float64 // |reading| that was learned
	n       int32   // readings learned, up to glitchAfter
	run     int32   // glitches in succession
}

const (
	glitchTimes = 1e4
	glitchAfter = 32
	glitchStays = 5
)

// is reports whether x is a glitch.
func (g *glitches) is(x float64) bool {
	size := math.Abs(x)
	if g.n >= glitchAfter && g.largest > 0 && size > glitchTimes*g.largest {
		if g.run++; g.run < glitchStays {
			return true
		}
	}
	g.run = 0
	g.n = min(g.n+1, glitchAfter)
	g.largest = max(g.largest, size)
	return false
}

// EncodeState implements state.Part.
func (g *glitches) EncodeState(w *state.Writer) {
	w.Float(g.largest)
	w.Int(int64(g.n))
	w.Int(int64(g.run))
}

// DecodeState implements state.Part.
func (g *glitches) DecodeState(r *state.Reader) {
	g.largest = r.Min("largest reading", 0)
	g.n, g.run = int32(r.Count("readings", glitchAfter)), int32(r.Count("glitches", glitchStays))
}

// glitch is the assessment of one after n readings of those needed.
func glitch(kind driver.Kind, n, needed uint64) assessment {
	a := unknown(n, needed)
	if n > needed {
		a.score, a.kind = 1, kind
	}
	return a
}
