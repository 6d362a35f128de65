// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package novelty

import "math"

const (
	seasRing = 1024 // blocks of readings remembered
	seasWork = 1024 // products of the autocorrelation computed a reading while the memory fills, and a block later
	seasMax  = 64   // readings in a block at most
	scanFrom = 128  // blocks
	clip     = 48   // of centred blocks, in 1/16 mean deviations
)

// seasonality finds the period of a stream on the stream itself (the highest peak of the autocorrelation after its first
// zero: G. E. P. Box, G. M. Jenkins, Time Series Analysis, Holden-Day, 1976, section 2.1) and forecasts
// each block of readings by the median of the same phase of the last three
// periods. A block is one reading at first; while no period is found and the
// ring is full, blocks double in length, so that a day is found at one reading
// a minute as well as at one an hour.
//
// The autocorrelation is computed a few lags at a time, so that no reading waits for it.
type seasonality struct {
	z [seasRing]float32 // block means less origin
	q [seasRing]int8    // the same, centred, in 1/16 mean deviations, clipped to 3

	origin float64
	size   int32 // readings a block
	n      int32 // blocks filled; they are z[0..n) in a ring starting at head
	head   int32

	sum    float64 // of the open block
	inOpen int32

	mean, dev float64 // running, of the blocks; the mean is the rival of the forecast
	smooth    float64 // smoothed residual

	// autocorrelation scan
	lag       int32
	end       int32 // last lag of this scan; 0: start anew
	v0, m0    float64
	a1, a2    float64 // the two last coefficients
	below     bool    // the coefficient has been below zero
	best      int32
	rho       float64
	period    int32 // blocks, 0: none
	errSeason float64
	errLevel  float64
	since     int32 // blocks forecast with this period
}

func (s *seasonality) at(back int32) int32 { // index of the block `back` before the last
	i := s.head + s.n - 1 - back
	return i % seasRing
}

// residual closes a block and returns the smoothed residual of the forecast.
func (s *seasonality) residual(x float64) (r float64, ok bool) {
	if s.size == 0 {
		s.size, s.origin = 1, x
	}
	s.sum += x - s.origin
	if s.inOpen++; s.inOpen < s.size {
		return 0, false
	}
	b := s.sum / float64(s.size)
	s.sum, s.inOpen = 0, 0
	if s.n == seasRing && s.size < seasMax && !(s.period > 0 && s.errSeason < 0.75*s.errLevel) {
		s.double()
	}
	g := max(1/float64(s.n+1), 1.0/1024)
	s.mean += g * (b - s.mean)
	s.dev += g * (math.Abs(b-s.mean) - s.dev)
	if s.n == seasRing {
		s.head = (s.head + 1) % seasRing
		s.n--
	}
	s.n++
	i := s.at(0)
	s.z[i] = float32(b)
	s.q[i] = 0
	if s.dev > 0 {
		s.q[i] = int8(math.Round(max(-clip, min(clip, 16*(b-s.mean)/s.dev))))
	}
	s.scan()
	p := s.period
	if p == 0 || s.n <= 2*p {
		s.smooth = 0
		return 0, false
	}
	f1, f2 := s.z[s.at(p)], s.z[s.at(2*p)]
	f := (f1 + f2) / 2
	if s.n > 3*p {
		f3 := s.z[s.at(3*p)]
		f = max(min(f1, f2), min(max(f1, f2), f3))
	}
	r = b - float64(f)
	s.since++
	g = max(1/float64(s.since), 1.0/1024)
	s.errSeason += g * (math.Abs(r) - s.errSeason)
	s.errLevel += g * (math.Abs(b-s.mean) - s.errLevel)
	s.smooth += (r - s.smooth) / 4
	return s.smooth, true
}

// trusted says that the forecast has at least halved the error of the level.
func (s *seasonality) trusted() bool {
	return s.period > 0 && s.since > s.period/2 && s.errSeason < 0.5*s.errLevel
}

// double merges neighbouring blocks.
func (s *seasonality) double() {
	s.rotate() // so that the reads below stay ahead of the writes
	for i := range seasRing / 2 {
		s.z[i] = (s.z[2*i] + s.z[2*i+1]) / 2
		s.q[i] = int8((int(s.q[2*i]) + int(s.q[2*i+1])) / 2)
	}
	s.n = seasRing / 2
	s.size *= 2
	s.period, s.end, s.since, s.smooth = 0, 0, 0, 0
	s.errSeason, s.errLevel = 0, 0
}

// rotate brings the oldest block to index 0, by three reversals.
func (s *seasonality) rotate() {
	rev := func(i, j int) {
		for ; i < j; i, j = i+1, j-1 {
			s.z[i], s.z[j] = s.z[j], s.z[i]
			s.q[i], s.q[j] = s.q[j], s.q[i]
		}
	}
	h := int(s.head)
	rev(0, h-1)
	rev(h, seasRing-1)
	rev(0, seasRing-1)
	s.head = 0
}

// cov is the sum of products at a lag.
func (s *seasonality) cov(lag int32) int {
	// the ring is at most two runs for each factor; step through both
	sum := 0
	n := int(s.n - lag)
	i := int(s.head)
	j := int(s.head+lag) % seasRing
	for n > 0 {
		m := min(n, seasRing-i, seasRing-j)
		a, b := s.q[i:i+m], s.q[j:j+m]
		b = b[:len(a)]
		t := 0
		for k, v := range a {
			t += int(v) * int(b[k])
		}
		sum += t
		n -= m
		i, j = (i+m)%seasRing, (j+m)%seasRing
	}
	return sum
}

// scan continues the search for the best lag: the highest local maximum of
// the autocorrelation after its first zero; a longer one must be clearly
// better.
func (s *seasonality) scan() {
	if s.n < scanFrom {
		return
	}
	most := seasWork * s.size
	if s.n == seasRing { // little is new in a memory that is full
		most = seasWork
	}
	for work := int32(0); work < most; {
		if s.end == 0 {
			s.end = s.n / 2
			s.lag, s.below, s.best, s.rho, s.a1, s.a2 = 0, false, 0, 0, 1, 1
			var m, v int
			for k := range s.n {
				q := int(s.q[(s.head+k)%seasRing])
				m += q
				v += q * q
			}
			s.m0 = float64(m) / float64(s.n)
			s.v0 = float64(v)/float64(s.n) - s.m0*s.m0
			work += s.n
			if s.v0 <= 0 {
				s.end = 0
				return
			}
		}
		s.lag++
		a := (float64(s.cov(s.lag))/float64(s.n-s.lag) - s.m0*s.m0) / s.v0
		work += s.n - s.lag
		if k := s.lag - 1; s.below && k >= 8 && s.a1 >= s.a2 && s.a1 >= a && s.a1 > s.rho {
			if s.best == 0 || s.a1 > s.rho+0.05 {
				s.best, s.rho = k, s.a1
			}
		}
		if a <= 0 {
			s.below = true
		}
		s.a2, s.a1 = s.a1, a
		if s.lag >= s.end {
			s.settle()
			s.end = 0
		}
	}
}

func (s *seasonality) settle() {
	switch {
	case s.rho > 0.3:
		if d := s.best - s.period; s.period == 0 || 100*max(d, -d) > 3*s.period {
			s.errSeason, s.errLevel, s.since = 0, 0, 0
		}
		s.period = s.best
	case s.rho < 0.1:
		s.period = 0
	}
}

// Fold averages the newest cycles by phase into profile, whose first slot is at the phase of the newest reading. It
// returns the mean absolute deviations from the profile and from the mean, both of block means, the first larger by what a
// profile of so few cycles follows of each, and false where less than two cycles are remembered, the memory is too coarse, or profile has less than 2 or more than 128 slots.
func (d *Detector) Fold(readings int, profile []float64) (left, all float64, ok bool) {
	s := &d.seas
	slots := len(profile)
	const most = 128
	if slots < 2 || slots > most || s.size == 0 {
		return 0, 0, false
	}
	period := float64(readings) / float64(s.size) // in blocks
	if float64(s.n) < 2*period || period < float64(slots)/2 {
		return 0, 0, false
	}
	// The phase of the newest block's middle, in slots, and the way from one block to the one before.
	back := float64(slots) / period
	start := float64(slots) - back*(0.5+(float64(s.inOpen)-0.5)/float64(s.size))
	var weight [most]float64
	clear(profile)
	mean, u := 0.0, start
	for k := range s.n {
		if u < 0 {
			u += float64(slots)
		}
		i := min(int(u), slots-1)
		f := u - float64(i)
		v := float64(s.z[s.at(k)])
		mean += v
		profile[i] += (1 - f) * v
		weight[i] += 1 - f
		if i++; i == slots {
			i = 0
		}
		profile[i] += f * v
		weight[i] += f
		u -= back
	}
	mean /= float64(s.n)
	for i, w := range weight[:slots] {
		if w <= 0 {
			return 0, 0, false
		}
		profile[i] /= w
	}
	u = start
	for k := range s.n {
		if u < 0 {
			u += float64(slots)
		}
		i := min(int(u), slots-1)
		j := i + 1
		if j == slots {
			j = 0
		}
		f := u - float64(i)
		v := float64(s.z[s.at(k)])
		left += math.Abs(v - (1-f)*profile[i] - f*profile[j])
		all += math.Abs(v - mean)
		u -= back
	}
	for i := range profile {
		profile[i] += s.origin
	}
	cycles := float64(s.n) / period
	return left / float64(s.n) * math.Sqrt(cycles/(cycles-1)), all / float64(s.n), true
}
