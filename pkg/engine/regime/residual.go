// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	fastGain   = 0.1        // of the level now
	slowGain   = 1.0 / 1000 // of the level that it is compared with
	noiseGain  = 1.0 / 16   // of the scatter now
	scaleGain  = 1.0 / 512  // of the usual scatter
	mostMove   = 4          // usual moves that one move counts for in the scatter
	backWithin = 1.5        // usual deviations that a reading is off which is back
	mostPull   = 6          // usual deviations that one reading counts for in the level now
)

// alphas are the gains of the forecasts that compete: of a noisy level, something between, and a random walk.
var alphas = [...]float64{0.05, 0.3, 0.95}

// residual is what is known of a stream without structure.
type residual struct {
	n        float64
	last     float64
	forecast [len(alphas)]float64
	errors   [len(alphas)]float64 // mean absolute error of each
	move     float64              // usual |step| from one reading to the next
	scatter  float64              // the same now, in units of the usual
	fast     float64              // level now
	slow     float64              // usual level
	away     float64              // usual |reading − slow|
}

// statistics of one reading, all positive.
type statistics struct {
	expected float64
	sigma    float64 // usual error of expected
	leap     float64 // how far from expected
	level    float64 // how far the level now is from the usual one; the sign is shift's
	scatter  float64 // how many times the usual scatter
	shift    float64 // level now − usual level
}

// judge computes the statistics of y before it is learned.
func (v *residual) judge(y float64) (s statistics) {
	if v.n == 0 {
		return statistics{expected: y}
	}
	b := 0
	for i := range v.errors {
		if v.errors[i] < v.errors[b] {
			b = i
		}
	}
	s.expected, s.sigma = v.forecast[b], v.errors[b]
	loud := max(v.scatter, 1)
	if s.sigma > 0 {
		s.leap = math.Abs(y-s.expected) / (s.sigma * loud)
	}
	if v.move > 0 {
		s.scatter = v.scatter + noiseGain*(min(math.Abs(y-v.last)/v.move, mostMove)-v.scatter)
		s.shift = v.fast + fastGain*v.pull(y) - v.slow
		s.level = math.Abs(s.shift) / (v.move * max(s.scatter, 1))
	}
	return s
}

func (v *residual) pull(y float64) float64 {
	if bound := mostPull * max(v.away, v.move); bound > 0 {
		return max(-bound, min(bound, y-v.fast))
	}
	return y - v.fast
}

// learn takes y in. What is held stays as it was: the usual level while an incident lasts.
func (v *residual) learn(y float64, hold bool) {
	if v.n++; v.n == 1 {
		v.last, v.fast, v.slow = y, y, y
		for i := range v.forecast {
			v.forecast[i] = y
		}
		return
	}
	young := 1 / v.n
	step := math.Abs(y - v.last)
	if hold && v.returned(y) {
		v.fast = (y + v.last) / 2
	}
	v.last = y
	for i, a := range alphas {
		e := y - v.forecast[i]
		v.forecast[i] += max(a, young) * e
		v.errors[i] += max(1.0/256, young) * (bounded(math.Abs(e), 5*v.errors[i]) - v.errors[i])
	}
	v.fast += max(fastGain, young) * v.pull(y)
	if v.move > 0 {
		v.scatter += noiseGain * (min(step/v.move, mostMove) - v.scatter)
	}
	if hold {
		return
	}
	v.move += max(scaleGain, young) * (bounded(step, mostMove*v.move) - v.move)
	v.away += max(scaleGain, young) * (bounded(math.Abs(y-v.slow), mostMove*v.away) - v.away)
	pull := y - v.slow
	if v.n > 100 {
		pull = max(-2*v.away, min(2*v.away, pull))
	}
	v.slow += max(slowGain, young) * pull
}

// returned reports whether the two newest readings are back where the stream usually is, though the level now, which
// follows slowly, is still far from there.
func (v *residual) returned(y float64) bool {
	near := backWithin * v.away
	return math.Abs(v.fast-v.slow) > 2*near && math.Abs(y-v.slow) < near && math.Abs(v.last-v.slow) < near
}

// settle makes the level now the usual one, to be learned anew as at first.
func (v *residual) settle(y float64) {
	v.n, v.fast, v.slow = 1, y, y
	for i := range v.forecast {
		v.forecast[i] = y
	}
}

// bounded is x, but at most the bound where there is one.
func bounded(x, bound float64) float64 {
	if bound > 0 {
		return min(x, bound)
	}
	return x
}

// EncodeState implements state.Part.
func (v *residual) EncodeState(w *state.Writer) {
	for _, x := range v.fields() {
		w.Float(*x)
	}
}

// DecodeState implements state.Part.
func (v *residual) DecodeState(r *state.Reader) {
	for _, x := range v.fields() {
		if *x = r.Finite("residual"); math.Abs(*x) > 1e200 {
			r.Fail("of the residual is %v", *x)
		}
	}
	for _, x := range append(v.errors[:], v.n, v.move, v.scatter, v.away) {
		if x < 0 {
			r.Fail("a scale of the residual is %v, want at least 0", x)
		}
	}
}

func (v *residual) fields() []*float64 {
	f := []*float64{&v.n, &v.last, &v.move, &v.scatter, &v.fast, &v.slow, &v.away}
	for i := range alphas {
		f = append(f, &v.forecast[i], &v.errors[i])
	}
	return f
}
