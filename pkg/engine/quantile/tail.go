// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package quantile

import (
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	maxPeaks   = 64   // stored peaks
	minPeaks   = 16   // the threshold is lowered until about that many readings lie above it
	maxShape   = 0.8  // heaviest tail; beyond it, no mean is left to fit by
	quietShape = 0.3  // shape where there are no peaks to tell
	priorPeaks = 16   // the shape is drawn to 0 as if that many peaks had said so
	clipAt     = 1e-4 // values rarer than this are learned as if they were this rare
	refitEvery = 512  // values between two fits where no peaks come
	bodyMost   = 0.25 // highest share of peaks
)

// Tail estimates how rare values are in the upper tail of a stream, far beyond what was seen: the streaming
// peaks-over-threshold of SPOT (Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017).
// It departs from the paper for robustness on a gateway: the threshold is a running quantile that forgets; the peaks
// are the newest 64; a short tail counts as exponential, and a shape from few peaks is drawn to the exponential and
// made heavier by 1/peaks, as the predictive distribution of an exponential with estimated mean is (a Lomax), so that
// little data extrapolates little; and an anomalous value is learned clipped instead of dropped, so that a stream
// that changes for good is followed. It takes about 3 KiB.
type Tail struct {
	digest Digest
	share  float64 // of the stream that lies over the threshold once enough is known
	floor  float64 // least scale of the tail that is believed
	peaks  [maxPeaks]float64
	births [maxPeaks]uint64 // count at which the peak came
	next   int              // slot of the next peak
	filled int
	fresh  int    // peaks since the last fit
	fitted uint64 // values at the last fit

	threshold, over float64 // the threshold and the share over it
	gpd             GPD     // of the excesses; Scale 0 where they do not vary
	clip            float64
}

// NewTail returns an empty tail whose peaks are the top share (0.001 to 0.25) of about the last memory values (0 never
// forgets).
func NewTail(share, memory float64) Tail {
	return Tail{
		digest: NewDigest(memory), share: min(max(share, 0.001), bodyMost),
		threshold: math.Inf(1), over: 1, clip: math.Inf(1),
	}
}

// SetFloor sets the least scale of the tail that is believed, such as the resolution of the stream: what differs by a
// small part of it is not extreme.
func (t *Tail) SetFloor(scale float64) { t.floor = scale }

// Reset forgets everything.
func (t *Tail) Reset() {
	t.digest.Reset()
	t.next, t.filled, t.fresh, t.fitted = 0, 0, 0, 0
	t.threshold, t.over, t.gpd, t.clip = math.Inf(1), 1, GPD{}, math.Inf(1)
}

// Count is the number of values added.
func (t *Tail) Count() uint64 { return t.digest.Count() }

// Median is the middle of the stream; NaN while empty.
func (t *Tail) Median() float64 { return t.digest.Quantile(0.5) }

// Probability estimates the probability of a value of at least x: 1 while nothing is known and where x is NaN, more
// than 0 otherwise.
func (t *Tail) Probability(x float64) float64 {
	n := float64(t.digest.Count())
	switch {
	case n < minPeaks || math.IsNaN(x):
		return 1
	case x <= t.threshold:
		return max(1-t.digest.CDF(x), t.over)
	case t.gpd.Scale <= 0: // no spread to extrapolate by: only the rank is left
		return 1 / (n + 2)
	}
	// What came before among the peaks is at least as likely as its rank there, whatever the fit: few fits suit a stream
	// of few levels.
	rank := 0.0
	for i, v := range t.peaks[:t.filled] {
		if v >= x && t.recent(i) {
			rank++
		}
	}
	p := max(t.gpd.Survival(x-t.threshold), rank/float64(t.filled+1))
	return max(t.over*p, math.SmallestNonzeroFloat64)
}

// Level is the value that is exceeded with probability p: the z_q of the paper. NaN while nothing is known.
func (t *Tail) Level(p float64) float64 {
	switch {
	case t.digest.Count() < minPeaks || !(p > 0):
		return math.NaN()
	case p >= t.over:
		return t.digest.Quantile(1 - p)
	}
	return t.threshold + t.gpd.Quantile(p/t.over)
}

// Add learns x; NaN is ignored, an infinity counts as a very large value.
func (t *Tail) Add(x float64) {
	x = min(x, t.clip)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return
	}
	t.digest.Add(x)
	if x > t.threshold || t.digest.Count() <= maxPeaks {
		t.peaks[t.next], t.births[t.next] = x, t.digest.Count()
		t.next = (t.next + 1) % maxPeaks
		t.filled = min(t.filled+1, maxPeaks)
		t.fresh++
	}
	n := t.digest.Count()
	if n < minPeaks {
		return
	}
	if since := n - t.fitted; since >= refitEvery || since > t.fitted/8 || t.fresh > 4+t.filled/8 {
		t.refit()
	}
}

// recent reports whether a peak came within the time in which all are usually replaced: those of a wilder past would
// stay where few new ones come.
func (t *Tail) recent(i int) bool {
	return float64(t.digest.Count()-t.births[i]) <= maxPeaks/t.share
}

func (t *Tail) refit() {
	n := float64(t.digest.Count())
	t.fitted, t.fresh = t.digest.Count(), 0
	t.over = min(max(minPeaks/n, t.share), bodyMost)
	t.threshold = t.digest.Quantile(1 - t.over)
	var excesses [maxPeaks]float64
	k, sum := 0, 0.0
	for i, v := range t.peaks[:t.filled] {
		if !t.recent(i) {
			continue
		}
		if e := v - t.threshold; e > 0 && !math.IsInf(e, 0) {
			excesses[k] = e
			sum += e
			k++
		}
	}
	t.gpd, t.clip = GPD{}, math.Inf(1)
	if k < 3 {
		// The tail has been quiet for long: go by the slope of the body below it.
		below := min(4*t.over, 0.5)
		slope := (t.threshold - t.digest.Quantile(1-below)) / math.Log(below/t.over)
		if k > 0 {
			slope = max(slope, sum/float64(k))
		}
		if slope > 0 && !math.IsInf(slope, 0) {
			t.gpd = GPD{Shape: quietShape, Scale: max(slope, t.floor)}
			t.clip = t.threshold + t.gpd.Quantile(clipAt/t.over)
		}
		return
	}
	slices.Sort(excesses[:k])
	g, ok := FitPWM(excesses[:k])
	peaks := float64(k)
	shape := 0.0
	if ok {
		shape = min(max(g.Shape*peaks/(peaks+priorPeaks), 0), maxShape)
	}
	scale := max(sum/peaks*(1-shape), t.floor) // keeps the mean excess
	if math.IsInf(scale, 0) {
		return
	}
	t.gpd = GPD{Shape: shape + 1/peaks, Scale: scale}
	t.clip = t.threshold + t.gpd.Quantile(clipAt/t.over)
}

// EncodeState implements state.Part.
func (t *Tail) EncodeState(w *state.Writer) {
	t.digest.EncodeState(w)
	w.Int(int64(t.next))
	w.Int(int64(t.fresh))
	w.Uint(t.fitted)
	for _, v := range []float64{t.threshold, t.over, t.gpd.Shape, t.gpd.Scale, t.clip} {
		w.Float(v)
	}
	w.Floats(t.peaks[:t.filled])
	for _, b := range t.births[:t.filled] {
		w.Uint(b)
	}
}

// DecodeState implements state.Part.
func (t *Tail) DecodeState(r *state.Reader) {
	t.digest.DecodeState(r)
	t.next = r.Count("next peak", maxPeaks-1)
	t.fresh = r.Count("fresh peaks", math.MaxInt32)
	t.fitted = r.Readings()
	t.threshold = r.Float()
	t.over = r.Min("share over the threshold", 0)
	t.gpd = GPD{Shape: r.Min("tail shape", 0), Scale: r.Min("tail scale", 0)}
	t.clip = r.Float()
	if math.IsNaN(t.threshold) || math.IsNaN(t.clip) {
		r.Fail("threshold or clip is NaN")
	}
	peaks := r.Floats("peaks", maxPeaks)
	for _, p := range peaks {
		if math.IsNaN(p) || math.IsInf(p, 0) {
			r.Fail("a peak is not finite")
		}
	}
	t.filled = copy(t.peaks[:], peaks)
	for i := range peaks {
		if t.births[i] = r.Uint(); r.Err() == nil && t.births[i] > t.digest.Count() {
			r.Fail("a peak is of value %d of %d", t.births[i], t.digest.Count())
		}
	}
}
