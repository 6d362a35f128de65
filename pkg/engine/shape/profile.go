// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shape

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	slack    = 64    // readings between two compactions of the histories
	farOff   = 32    // a reading counts as at most that many spreads from the mean of the window before it
	memory   = 1000  // readings that the spread is the mean of
	flat     = 0.1   // of the spread: movement below it is no shape
	noEnergy = 1e-10 // of a window in which nothing moves, so that it can be divided by
	rounding = 1e-4  // of a difference of means: what is left of a sum without it is not known better
	tooMuch  = 1e16  // where a number is bounded, so that its square has room in a float32
	coarse   = 1024  // the unit is moved when the spread is that many times larger or smaller
)

// Distance is that of a window from the nearest earlier one.
type Distance struct {
	Offset float64 // root mean squared difference of the windows less their means, in the unit of the stream
	Shape  float64 // root mean squared difference of the z-normalised windows, 0 to 2
}

// Profile finds, for the window of the newest readings, the nearest of the windows before it. It takes about 16 bytes
// for each of these and half as much for each reading of a window. It is not safe for concurrent use.
type Profile struct {
	window  int // readings of a window
	windows int // that are remembered

	// Readings and, of the windows that end with them, mean and energy; the newest is the last. All are in
	// units above base.
	x, mean, energy []float32
	sums            []float32 // of squared differences between the newest window and each remembered one, the oldest first

	n           uint64
	base, unit  float64
	spread      float64 // mean distance of a reading from the mean of the window before it, in units
	sum, square float64 // of the newest window
	barred      int     // readings until no reading that is held lies in the window
}

// NewProfile compares windows of that many readings, at least 4, with the nearest that many windows before that do not
// overlap it, at least 1.
func NewProfile(window, windows int) Profile {
	window, windows = max(window, 4), max(windows, 1)
	last, far := window+windows, 2*window+windows
	p := Profile{
		window: window, windows: windows, unit: 1,
		x: make([]float32, far, far+slack), mean: make([]float32, last, last+slack),
		energy: make([]float32, last, last+slack),
		sums:   make([]float32, windows),
	}
	nan := float32(math.NaN()) // what no distance is ever least for
	for i := range p.mean {
		p.mean[i] = nan
	}
	return p
}

// Next takes a reading and returns the distance of the window that it ends. ok is false while there is none: for the
// first two windows, and where no earlier window is left to compare with. A window with a reading that is held is not
// compared with later ones: an anomaly is no measure for the next.
func (p *Profile) Next(v float64, hold bool) (d Distance, ok bool) {
	if len(p.x) == cap(p.x) {
		p.compact()
	}
	x := p.take(moments.Clamp(v))
	old := p.x[len(p.x)-p.window]
	p.x = append(p.x, x)
	p.n++
	p.sum += float64(x) - float64(old)
	p.square += float64(x)*float64(x) - float64(old)*float64(old)

	m := float64(p.window)
	mean := p.sum / m
	least := m * flat * flat * p.spread * p.spread
	energy := float32(max(p.square-p.sum*mean, 0) + max(least, noEnergy))
	p.mean = append(p.mean, float32(mean))
	p.energy = append(p.energy, energy)
	p.slide(x, old)

	offset, like := p.nearest(float32(mean), energy)
	if p.barred = max(p.barred-1, 0); hold {
		p.barred = p.window
	}
	if p.barred > 0 || p.n < uint64(p.window) {
		p.mean[len(p.mean)-1] = float32(math.NaN())
	}
	if p.n < uint64(2*p.window) || math.IsInf(float64(offset), 1) {
		return Distance{}, false
	}
	return Distance{
		Offset: math.Sqrt(max(float64(offset), 0)/m) * p.unit,
		Shape:  math.Sqrt(min(max(2-2*like, 0), 4)),
	}, true
}

// take brings a reading to the scale of the histories.
func (p *Profile) take(v float64) float32 {
	if p.n == 0 {
		p.base = v
	}
	z := (v/2 - p.base/2) / p.unit * 2
	centre := p.sum / float64(min(max(p.n, 1), uint64(p.window)))
	if p.spread > 0 {
		z = min(max(z, centre-farOff*p.spread), centre+farOff*p.spread)
	}
	away := math.Abs(z - centre)
	g := max(1.0/memory, 1/float64(p.n+1))
	if p.n > 0 {
		p.spread += g * (away - p.spread)
	}
	if p.spread > 0 && (p.spread > coarse || p.spread < 1.0/coarse) {
		f := p.rescale()
		z *= f
	}
	return float32(z)
}

// rescale makes a power of two near the spread the unit, and returns what all was multiplied by.
func (p *Profile) rescale() float64 {
	_, exp := math.Frexp(p.spread)
	f := math.Ldexp(1, -exp)
	unit := p.unit / f
	if !(unit > 1e-300 && unit < 1e300) {
		return 1
	}
	p.unit = unit
	p.spread *= f
	p.sum *= f
	p.square *= f * f
	// What is out of the range of a float32 then is nothing, or like nothing.
	times := func(v []float32, f float64) {
		for i, x := range v {
			v[i] = float32(min(max(float64(x)*f, -tooMuch), tooMuch))
		}
	}
	times(p.x, f)
	times(p.mean, f)
	times(p.energy, f*f)
	for i, e := range p.energy {
		p.energy[i] = max(e, noEnergy)
	}
	times(p.sums, f*f)
	return f
}

// compact drops what is out of reach, and moves the base to the newest window, so that no precision is lost to it.
func (p *Profile) compact() {
	for _, v := range p.histories() {
		keep := cap(*v) - slack
		copy(*v, (*v)[len(*v)-keep:])
		*v = (*v)[:keep]
	}
	by := float32(p.sum / float64(p.window))
	p.base += float64(by) * p.unit
	p.sum, p.square = 0, 0
	for i := range p.x {
		p.x[i] -= by
	}
	for i := range p.mean {
		p.mean[i] -= by
	}
	for _, x := range p.x[len(p.x)-p.window:] {
		p.sum += float64(x)
		p.square += float64(x) * float64(x)
	}
}

// slide moves the newest window of all sums on by a reading. One of them is added up anew, so that neither rounding nor
// a reading far off stays.
func (p *Profile) slide(x, old float32) {
	t := len(p.x) - 1
	far := p.window + p.windows - 1
	sums := p.sums
	in, out := p.x[t-far:][:len(sums)], p.x[t-far-p.window:][:len(sums)]
	for i := range sums {
		a, b := x-in[i], old-out[i]
		sums[i] += (a - b) * (a + b)
	}
	i := int(p.n % uint64(p.windows))
	a, b := p.x[t-p.window+1:][:p.window], p.x[t-far+i-p.window+1:][:p.window]
	var s float32
	for k := range a {
		d := a[k] - b[k]
		s += d * d
	}
	sums[i] = s
}

// nearest finds the least squared distance of the newest window to a remembered one, their means removed; +Inf where
// there is none. like is their largest correlation.
func (p *Profile) nearest(mean, energy float32) (offset float32, like float64) {
	t := len(p.mean) - 1
	far := p.window + p.windows - 1
	sums := p.sums
	means, energies := p.mean[t-far:][:len(sums)], p.energy[t-far:][:len(sums)]
	m := float32(p.window)
	offset = float32(math.Inf(1))
	best, over := float32(-math.MaxFloat32), float32(1)
	for i, s := range sums {
		d := mean - means[i]
		between := m * d * d
		s -= between
		if least := rounding * between; s < least {
			s = least
		}
		if s < offset {
			offset = s
		}
		// The squares of correlations, their sign kept, as fractions that are compared without dividing. No branch goes
		// by the sign: that of noise is not to be foreseen, and costs more than all else here.
		e := energies[i]
		r := energy + e - s
		r *= math.Float32frombits(math.Float32bits(r) &^ (1 << 31))
		if r*over > best*e {
			best, over = r, e
		}
	}
	square := float64(best) / float64(over) / float64(energy) / 4
	return offset, math.Copysign(math.Sqrt(math.Abs(square)), square)
}

// EncodeState implements state.Part.
func (p *Profile) EncodeState(w *state.Writer) {
	for _, v := range p.histories() {
		w.Floats32(*v)
	}
	w.Floats32(p.sums)
	w.Uint(p.n)
	for _, v := range []float64{p.base, p.unit, p.spread, p.sum, p.square} {
		w.Float(v)
	}
	w.Int(int64(p.barred))
}

// DecodeState implements state.Part. The windows must be as long and as many as those that were encoded.
func (p *Profile) DecodeState(r *state.Reader) {
	next := NewProfile(p.window, p.windows)
	for _, v := range next.histories() {
		n, most := len(*v), cap(*v)
		if *v = r.Floats32("history", most); r.Err() == nil && len(*v) < n {
			r.Fail("a history of %d values, want %d to %d", len(*v), n, most)
		}
	}
	if next.sums = r.Floats32("sums", p.windows); r.Err() == nil && len(next.sums) != p.windows {
		r.Fail("%d sums, want %d", len(next.sums), p.windows)
	}
	for _, part := range [][]float32{next.x, next.energy, next.sums} {
		for _, v := range part {
			if !(v >= -tooMuch && v <= tooMuch) {
				r.Fail("a history holds %v, want finite numbers", v)
				break
			}
		}
	}
	next.n = r.Readings()
	next.base, next.unit = r.Finite("base"), r.Finite("unit")
	next.spread, next.sum, next.square = r.Min("spread", 0), r.Finite("sum"), r.Finite("sum of squares")
	next.barred = r.Count("readings held", p.window)
	if r.Err() == nil && !(next.unit > 0 && next.spread <= tooMuch && math.Abs(next.sum) <= tooMuch && math.Abs(next.square) <= tooMuch*tooMuch) {
		r.Fail("a window of sum %v and sum of squares %v, spread %v and unit %v", next.sum, next.square, next.spread, next.unit)
	}
	if n := len(next.x) - 2*p.window - p.windows; r.Err() == nil && (len(next.mean) != n+p.window+p.windows ||
		len(next.energy) != len(next.mean)) {
		r.Fail("histories of %d, %d and %d values, want them to fit", len(next.x), len(next.mean), len(next.energy))
	}
	if r.Err() == nil {
		*p = next
	}
}

func (p *Profile) histories() [3]*[]float32 {
	return [...]*[]float32{&p.x, &p.mean, &p.energy}
}
