// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forecast

import (
	"math"
	"slices"
	"sync"

	"gonum.org/v1/gonum/dsp/fourier"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	levels   = 5   // resolutions of the history
	decimate = 4   // readings of one resolution that make one of the next
	ringSize = 192 // points kept of each resolution
	padded   = 384 // length of the transform: twice the ring, so that correlation does not wrap around
	shortest = 5   // points in the shortest period that is looked for
	cycles   = 2.5 // periods that must be in the ring
	every    = 48  // points between two searches of a resolution
	enough   = 0.4 // autocorrelation at the period
	dip      = 0.2 // by which the correlation must have been lower before the period
)

// LongestPeriod is the longest period a [Finder] can find, in readings: above two weeks of readings every minute.
const LongestPeriod = 19660

// Finder looks for the period of a stream. It keeps the newest 192 points of five resolutions, each four times coarser
// than the one before, so that periods from 5 to 19,660 readings show in 8 KiB. From time to time it takes the
// autocorrelation of one resolution by Fourier transform (Wiener–Khinchin) and looks for its first outstanding peak,
// as in Vlachos, Yu and Castelli, "On periodicity detection and structural similarity", SDM 2005, section 4.
type Finder struct {
	rings [levels]ring
	last  float64 // newest reading, which fills short gaps
}

type ring struct {
	points    [ringSize]float64
	next      int
	filled    int
	sum       float64 // of readings of the finer resolution not yet a point
	summed    int
	sinceLook int
	found     float64 // period of the last search in readings; 0 where there was none
}

// Add takes in x, step readings after the one before, and returns a period in readings when two searches of one
// resolution in a row agree on it, else 0.
func (f *Finder) Add(x float64, step int) (period float64) {
	if !usable(x) {
		return 0
	}
	const longestFill = 16
	switch {
	case step > longestFill: // the rhythm of the history is broken
		*f = Finder{}
	case step > 1:
		for range step - 1 {
			f.push(0, f.last)
		}
	}
	f.last = x
	f.push(0, x)
	size := 1.0
	for i := range f.rings {
		if r := &f.rings[i]; r.sinceLook >= every && r.filled >= ringSize/2 {
			r.sinceLook = 0
			p := r.look() * size
			before := r.found
			r.found = p
			if p > 0 && math.Abs(p-before) <= 0.05*p {
				return p
			}
			return 0 // one search a reading
		}
		size *= decimate
	}
	return 0
}

func (f *Finder) push(level int, x float64) {
	for {
		r := &f.rings[level]
		r.points[r.next] = x
		r.next = (r.next + 1) % ringSize
		r.filled = min(r.filled+1, ringSize)
		r.sinceLook++
		r.sum += x / decimate
		r.summed++
		if r.summed < decimate || level == levels-1 {
			if level == levels-1 {
				r.sum, r.summed = 0, 0
			}
			return
		}
		x = r.sum
		r.sum, r.summed = 0, 0
		level++
	}
}

// Fold averages the history, less its trend, by phase into profile, for a period in readings, the newest reading being at phase newest
// (0 … period, in readings). It returns false where the history does not hold two periods or leaves a slot empty.
func (f *Finder) Fold(period, newest float64, profile []float64) bool {
	size := 1.0
	for i := range f.rings {
		r := &f.rings[i]
		if float64(r.filled)*size < 2*period {
			size *= decimate
			continue
		}
		slots := float64(len(profile))
		lo, hi := r.usual()
		slope := r.slope(int(math.Round(period / size)))
		if period/size < slots/4 { // too coarse to tell the slots apart
			return false
		}
		for j := range profile {
			sum, weight := 0.0, 0.0
			// A slot takes the points whose phase is nearest to its own, weighted by a triangle.
			width := max(period/slots, size)
			for k := range r.filled {
				age := (float64(k)+0.5)*size - 0.5 + float64(f.waiting(i))
				phase := newest - age
				d := phase - float64(j)*period/slots
				d -= math.Round(d/period) * period
				if w := 1 - math.Abs(d)/width; w > 0 {
					sum += w * (min(max(r.at(k), lo), hi) + slope*float64(k))
					weight += w
				}
			}
			if weight == 0 {
				return false
			}
			profile[j] = sum / weight
		}
		return true
	}
	return false
}

// usual is the range that most points lie in, twice as wide: what is beyond counts as its edge.
func (r *ring) usual() (lo, hi float64) {
	var sorted [ringSize]float64
	s := sorted[:r.filled]
	copy(s, r.points[:r.filled])
	slices.Sort(s)
	lo, hi = s[len(s)/20], s[len(s)-1-len(s)/20]
	return lo - (hi-lo)/2, hi + (hi-lo)/2
}

// slope is the trend, a point, from the last cycle but one to the last.
func (r *ring) slope(cycle int) float64 {
	if cycle = min(cycle, r.filled/2); cycle == 0 {
		return 0
	}
	sum := 0.0
	for k := range cycle {
		sum += r.at(k) - r.at(k+cycle)
	}
	return sum / float64(cycle) / float64(cycle)
}

// waiting is the number of readings that are younger than the newest point of a resolution.
func (f *Finder) waiting(level int) int {
	n, size := 0, 1
	for i := range level {
		n += f.rings[i].summed * size
		size *= decimate
	}
	return n
}

// at is the point k before the newest.
func (r *ring) at(k int) float64 {
	i := r.next - 1 - k
	if i < 0 {
		i += ringSize
	}
	return r.points[i]
}

// workspace is what a search needs; streams share them.
type workspace struct {
	fft      *fourier.FFT
	sequence [padded]float64
	spectrum [padded/2 + 1]complex128
	sorted   [ringSize]float64
}

var workspaces = sync.Pool{New: func() any { return &workspace{fft: fourier.NewFFT(padded)} }}

// look returns the period of the ring in points, 0 where there is none.
func (r *ring) look() float64 {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	n := r.filled
	seq := w.sequence[:n]
	for i := range seq {
		seq[i] = r.at(n - 1 - i)
	}
	if !w.flatten(seq) {
		return 0
	}
	clear(w.sequence[n:])
	w.fft.Coefficients(w.spectrum[:], w.sequence[:])
	for i, c := range w.spectrum {
		w.spectrum[i] = complex(real(c)*real(c)+imag(c)*imag(c), 0)
	}
	w.fft.Sequence(w.sequence[:], w.spectrum[:])
	acf := w.sequence[:n]
	total := acf[0]
	if !(total > 0) {
		return 0
	}
	for lag := range acf { // unbiased: fewer products at longer lags
		acf[lag] *= float64(n) / float64(n-lag) / total
	}
	longest := int(float64(n) / cycles)
	lowest, best := 1.0, 0
	for lag := 2; lag < longest; lag++ {
		lowest = min(lowest, acf[lag])
		if lag < shortest || acf[lag] < enough || acf[lag]-lowest < dip || acf[lag] < acf[lag-1] || acf[lag] < acf[lag+1] {
			continue
		}
		if best == 0 || acf[lag] > acf[best]+0.1 { // the first peak, unless a later one is clearly higher
			best = lag
		}
	}
	if best == 0 || acf[2*best] < enough/2 {
		return 0
	}
	return refine(acf, best)
}

// refine sharpens a period by the peaks near its multiples.
func refine(acf []float64, lag int) float64 {
	period := peak(acf, lag)
	for m := 2; ; m++ {
		at := int(math.Round(period * float64(m)))
		if at+2 >= len(acf)*3/4 { // the longest lags rest on too few products
			return period
		}
		top := at
		for i := max(at-2, 1); i <= at+2; i++ {
			if acf[i] > acf[top] {
				top = i
			}
		}
		if acf[top] < enough/2 || top == at-2 || top == at+2 {
			return period
		}
		period = peak(acf, top) / float64(m)
	}
}

// peak is the top of the parabola through a peak and its neighbours.
func peak(acf []float64, lag int) float64 {
	a, b, c := acf[lag-1], acf[lag], acf[lag+1]
	if d := a - 2*b + c; d < 0 {
		return float64(lag) + min(max((a-c)/(2*d), -0.5), 0.5)
	}
	return float64(lag)
}

// flatten takes out the straight line, clips outliers and brings the sequence to unit size. It reports whether
// anything is left.
func (w *workspace) flatten(seq []float64) bool {
	n := len(seq)
	third := n / 3
	sorted := w.sorted[:n]
	median := func(part []float64) float64 {
		s := sorted[:len(part)]
		copy(s, part)
		slices.Sort(s)
		return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
	}
	first, last := median(seq[:third]), median(seq[n-third:])
	slope := (last - first) / float64(n-third)
	for i := range seq {
		seq[i] -= first + slope*(float64(i)-float64(third)/2)
	}
	middle := median(seq)
	for i := range seq {
		seq[i] -= middle
		sorted[i] = math.Abs(seq[i])
	}
	slices.Sort(sorted)
	bound := sorted[n*9/10] * 2
	if !(bound > 0) {
		bound = sorted[n-1]
	}
	if !(bound > 0) || math.IsInf(bound, 0) {
		return false
	}
	mean := 0.0
	for i := range seq {
		seq[i] = min(max(seq[i]/bound, -1), 1)
		mean += seq[i] / float64(n)
	}
	for i := range seq {
		seq[i] -= mean
	}
	return true
}

// EncodeState implements state.Part.
func (f *Finder) EncodeState(w *state.Writer) {
	w.Float(f.last)
	for i := range f.rings {
		r := &f.rings[i]
		w.Int(int64(r.next))
		w.Int(int64(r.summed))
		w.Int(int64(r.sinceLook))
		w.Float(r.sum)
		w.Float(r.found)
		w.Floats(r.points[:r.filled])
	}
}

// DecodeState implements state.Part.
func (f *Finder) DecodeState(r *state.Reader) {
	f.last = r.Finite("last reading")
	for i := range f.rings {
		g := &f.rings[i]
		g.next = r.Count("next point", ringSize-1)
		g.summed = r.Count("summed readings", decimate-1)
		g.sinceLook = r.Count("points since the last search", math.MaxInt32)
		g.sum = r.Finite("sum")
		g.found = r.Min("found period", 0)
		points := r.Floats("points", ringSize)
		for _, p := range points {
			if !usable(p) {
				r.Fail("a point is not finite")
			}
		}
		g.filled = copy(g.points[:], points)
		if r.Err() == nil && g.filled < ringSize && g.next != g.filled {
			r.Fail("next point is %d of %d", g.next, g.filled)
		}
	}
}
