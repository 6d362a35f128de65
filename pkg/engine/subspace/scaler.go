// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"fmt"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	madNormal  = 1.4826 // makes the median absolute deviation of normal values their standard deviation
	zLimit     = 1e6    // a reading counts as at most this many scales from the centre, so that squares stay finite
	resolution = 1e-12  // relative differences below this are rounding, not movement
)

// frame standardises rows, remembers the row in hand, and lets the centre follow.
type frame struct {
	rate, reach   float64
	centre, scale []float64 // scale 0 = the member is left out
	shift         []float64 // of the centre since training, in scales
	active        int       // members that are not left out

	z       []float64 // the row in hand; 0 for members that are left out
	missing []int     // its missing active members
	level   float64   // its score
}

func (o Options) frame() (frame, float64, error) {
	confidence, rate, reach := o.Confidence, o.Rate, o.Reach
	for _, d := range []struct {
		v           *float64
		name        string
		def, lo, hi float64
	}{
		{&confidence, "Confidence", 0.99, 0.5, math.Nextafter(1, 0)},
		{&rate, "Rate", 0.001, 0, 0.1},
		{&reach, "Reach", 1, 0, 100},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if !(*d.v >= d.lo && *d.v <= d.hi) {
			return frame{}, 0, fmt.Errorf("subspace: %s is %v, want %v to %v", d.name, *d.v, d.lo, d.hi)
		}
	}
	return frame{rate: rate, reach: reach}, confidence, nil
}

// fit learns centre and scale, and returns the complete rows standardised; at least least of them.
func (f *frame) fit(rows [][]float64, least int) ([][]float64, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("subspace: %w: no rows", ErrTooFew)
	}
	members := len(rows[0])
	if members < 1 || members > MaxMembers {
		return nil, fmt.Errorf("subspace: rows have %d members, want 1 to %d", members, MaxMembers)
	}
	var complete [][]float64
	for i, row := range rows {
		if len(row) != members {
			return nil, fmt.Errorf("subspace: row %d has %d members, want %d", i, len(row), members)
		}
		if !slices.ContainsFunc(row, func(x float64) bool { return !finite(x) }) {
			complete = append(complete, row)
		}
	}
	if least = max(least, minRows); len(complete) < least {
		return nil, fmt.Errorf("subspace: %w: %d complete rows, want %d", ErrTooFew, len(complete), least)
	}
	f.centre, f.scale = make([]float64, members), make([]float64, members)
	column := make([]float64, len(complete))
	for j := range members {
		for i, row := range complete {
			column[i] = row[j]
		}
		f.centre[j], f.scale[j] = robust(column)
	}
	f.shift = make([]float64, members)
	f.prepare()
	if f.active == 0 {
		return nil, fmt.Errorf("subspace: %w: no member ever moved", ErrTooFew)
	}
	z := make([][]float64, len(complete))
	for i, row := range complete {
		f.load(row)
		z[i] = slices.Clone(f.z)
	}
	return z, nil
}

// prepare makes the scratch memory and counts the active members.
func (f *frame) prepare() {
	f.z = make([]float64, len(f.centre))
	f.missing = make([]int, 0, len(f.centre))
	f.level = math.NaN()
	f.active = 0
	for _, s := range f.scale {
		if s > 0 {
			f.active++
		}
	}
}

// robust is the median of x and its scale: the median absolute deviation, at least a tenth of the standard deviation, and
// 0 where all of x is equal. It overwrites x.
func robust(x []float64) (centre, scale float64) {
	slices.Sort(x)
	centre = median(x)
	var mean, m2 float64
	for i, v := range x {
		d := v - mean
		mean += d / float64(i+1)
		m2 += d * (v - mean)
	}
	sd := math.Sqrt(m2 / float64(len(x)))
	for i, v := range x {
		x[i] = math.Abs(v - centre)
	}
	slices.Sort(x)
	scale = madNormal * median(x)
	// A member that mostly rests has a tiny deviation, and each of its movements would drown the others.
	scale = max(scale, sd/10)
	if scale <= resolution*math.Abs(centre) || !finite(scale) {
		scale = 0
	}
	return centre, scale
}

// median is that of sorted values, in the middle of the two where their number is even.
func median(sorted []float64) float64 {
	n := len(sorted)
	return sorted[(n-1)/2]/2 + sorted[n/2]/2
}

// load takes a row in hand and reports whether it can be judged.
func (f *frame) load(row []float64) bool {
	f.level = math.NaN()
	f.missing = f.missing[:0]
	if len(row) != len(f.z) {
		return false
	}
	for j, x := range row {
		switch {
		case f.scale[j] == 0:
			f.z[j] = 0
		case !finite(x):
			f.z[j] = 0
			f.missing = append(f.missing, j)
		default:
			f.z[j] = min(max((x-f.centre[j])/f.scale[j]-f.shift[j], -zLimit), zLimit)
		}
	}
	return 2*len(f.missing) <= f.active && f.active > len(f.missing)
}

// value is the reading of member j whose standardised value is z.
func (f *frame) value(j int, z float64) float64 {
	if f.scale[j] == 0 {
		return math.NaN()
	}
	return f.centre[j] + (z+f.shift[j])*f.scale[j]
}

// Members is the length of a row.
func (f *frame) Members() int { return len(f.centre) }

// Adapt follows the row that was judged last, if it is within the limit.
func (f *frame) Adapt() bool {
	if !(f.level <= 1) {
		return false
	}
	for _, j := range f.missing {
		f.z[j] = 0
	}
	for j, z := range f.z {
		// The centre is a median in training, so it follows the sign of small steps more than the size of large ones.
		f.shift[j] = min(max(f.shift[j]+f.rate*min(max(z, -1), 1), -f.reach), f.reach)
	}
	f.level = math.NaN() // a row is followed once
	return true
}

func (f *frame) encode(w *state.Writer) {
	w.Float(f.rate)
	w.Float(f.reach)
	w.Floats(f.centre)
	w.Floats(f.scale)
	w.Floats(f.shift)
}

func (f *frame) decode(r *state.Reader) {
	f.rate = r.Min("rate", 0)
	f.reach = r.Min("reach", 0)
	f.centre = finiteFloats(r, "centre", MaxMembers)
	f.scale = finiteFloats(r, "scale", MaxMembers)
	f.shift = finiteFloats(r, "shift", MaxMembers)
	if n := len(f.centre); r.Err() == nil && (n == 0 || len(f.scale) != n || len(f.shift) != n) {
		r.Fail("%d centres, %d scales and %d shifts, want as many of each", n, len(f.scale), len(f.shift))
	}
	for _, s := range f.scale {
		if s < 0 {
			r.Fail("a scale is %v, want at least 0", s)
		}
	}
	f.prepare()
	if r.Err() == nil && f.active == 0 {
		r.Fail("no active member")
	}
}

// finiteFloats reads at most `most` finite floats.
func finiteFloats(r *state.Reader, name string, most int) []float64 {
	v := r.Floats(name, most)
	for _, x := range v {
		if !finite(x) {
			r.Fail("%s holds %v, want finite numbers", name, x)
			return nil
		}
	}
	return v
}

// matrix reads n×m finite floats.
func matrix(r *state.Reader, name string, n, m int) []float64 {
	v := finiteFloats(r, name, n*m)
	if r.Err() == nil && len(v) != n*m {
		r.Fail("%s has %d values, want %d", name, len(v), n*m)
		return nil
	}
	return v
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// shares scales dst, which holds no negative value, to sum 1.
func shares(dst []float64) {
	var sum float64
	for _, v := range dst {
		sum += v
	}
	if sum > 0 && !math.IsInf(sum, 1) {
		for i := range dst {
			dst[i] /= sum
		}
	}
}

// upperQuantile is the smallest value of v that at least the share q of them does not exceed. It sorts v.
func upperQuantile(v []float64, q float64) float64 {
	slices.Sort(v)
	i := int(math.Ceil(q*float64(len(v)))) - 1
	return v[min(max(i, 0), len(v)-1)]
}

// absolve takes the missing members, which cannot be to blame, out of dst and makes shares of the rest.
func (f *frame) absolve(dst []float64) {
	for _, j := range f.missing {
		dst[j] = 0
	}
	shares(dst)
}

// positive reads a float above 0, which may be infinite where that is said.
func positive(r *state.Reader, name string, infinite bool) float64 {
	v := r.Float()
	if r.Err() == nil && (!(v > 0) || math.IsInf(v, 1) && !infinite) {
		r.Fail("%s is %v, want a positive number", name, v)
		return 1
	}
	return v
}
