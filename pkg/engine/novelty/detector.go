// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package novelty

import "math"

// All constants are round; scores on benchmark data change little when one of them is halved or doubled.
const (
	storeSize  = 64 // stored values a channel
	topSize    = 16 // largest past distances a channel
	shortRows  = 5  // short extremes
	longRows   = 40 // long extremes
	medianRows = 21 // running median
	histRows   = longRows
	hideRows   = 100    // at first nearly every reading is a record
	restRows   = 64     // one incident, one alert
	expireRows = 20000  // a stored value not met for so long is forgotten
	periodCap  = 100000 // the longest return period that counts
	fadeRows   = 1024   // past distances shrink by fade every so many readings,
	fade       = 0.995  // which is about 1e-5 a reading: records do not stand forever
	meanRows   = 4096   // memory of the mean
	slowRows   = 128    // memory of the slow average
	tie        = 0.95   // a distance this near a past one is not larger
	channels   = 7      // scales the mean of the evidence
	auxWeight  = 0.5    // of long extremes, season and logarithm: slower or rarer, so weaker evidence
	largest    = 1e30   // readings are bounded, as distances are kept in single precision; no sensor means more
)

// Detector scores one stream. The zero value is ready for use; it takes 15 KiB and never allocates.
type Detector struct {
	t    uint32  // readings seen
	prev float64 // last reading
	mean float64
	dev  float64 // mean absolute deviation from it
	slow float64 // exponentially weighted average
	hist [histRows]float64
	med  [medianRows]float64 // the newest readings in order

	x, ewSlow, median levels
	log               levels // x on a logarithmic scale on both sides of the mean
	low, high         levels // extremes of the newest 5
	keptLow, keptHigh levels // extremes of the newest 40
	season            levels // residual of the seasonal forecast
	pair              pairs  // x and the reading before
	seas              seasonality
	returns           returns
}

// Next takes a reading and returns its score, from 0 for the ordinary up to about 19; see [TailProbability]. NaN and
// infinities score 0 and are not learned.
func (d *Detector) Next(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	x = max(-largest, min(largest, x))
	t := d.t
	if t == 0 {
		d.prev, d.mean, d.slow = x, x, x
	}
	d.t++
	if d.t == math.MaxInt32 { // the counter would wrap: start anew rather than misjudge all times
		*d = Detector{}
		return 0
	}
	young := 1 / float64(d.t)
	gain := max(1.0/meanRows, young)
	d.mean += gain * (x - d.mean)
	d.dev += gain * (math.Abs(x-d.mean) - d.dev)
	d.slow += max(1.0/slowRows, young) * (x - d.slow)
	d.remember(x, t)

	// Values that rounding can hardly tell apart are the same.
	tol := 1e-9*d.x.span() + 1e-13*math.Abs(x)

	e := d.x.evidence(x, tol, t) + d.ewSlow.evidence(d.slow, tol, t) + d.median.evidence(d.middle(), tol, t)
	lo5, hi5, lo40, hi40 := d.extremes(t)
	e += d.low.evidence(lo5, tol, t) + d.high.evidence(hi5, tol, t)
	if t > 0 {
		e += d.pair.evidence(x, d.prev, tol)
	}
	e += auxWeight * d.kept(lo40, hi40, tol, t)
	if r, ok := d.seas.residual(x); ok {
		ev := d.season.evidence(r, tol, t)
		if d.seas.trusted() {
			e += auxWeight * ev
		}
	}
	// Where the tail is heavy, distances near the centre drown in those of the tail; on a logarithmic scale they count.
	if d.dev > 0 {
		e += auxWeight * d.log.evidence(math.Asinh((x-d.mean)/d.dev), 1e-9, t)
	}
	d.prev = x
	if t%fadeRows == fadeRows-1 {
		d.fade()
	}
	return d.returns.weigh(e/channels, t)
}

// kept is the evidence for a level that all of the newest 40 readings kept to. The extreme away from the heavy tail is
// the telling one, as spikes do not reach it.
func (d *Detector) kept(lo, hi, tol float64, t uint32) float64 {
	side := 0.0
	if s := d.x.span(); s > 0 {
		mid := (d.x.values[0] + d.x.values[d.x.n-1]) / 2
		side = max(-1, min(1, 20*(mid-d.mean)/s))
	}
	a := d.keptLow.evidence(lo, tol, t)
	b := d.keptHigh.evidence(hi, tol, t)
	return (a*(1+side) + b*(1-side)) / 2
}

// scales are the channels of single values.
func (d *Detector) scales() [9]*levels {
	return [...]*levels{
		&d.x, &d.ewSlow, &d.median, &d.log, &d.low, &d.high, &d.keptLow, &d.keptHigh, &d.season,
	}
}

func (d *Detector) fade() {
	for _, l := range d.scales() {
		l.top.fade()
	}
	d.pair.fade()
}

// remember keeps the newest readings, and the newest medianRows of them in order.
func (d *Detector) remember(x float64, t uint32) {
	n := int(min(t, medianRows))
	m := d.med[:]
	if n == medianRows {
		old := d.hist[(t-medianRows)%histRows]
		i := 0
		for i < n-1 && m[i] != old {
			i++
		}
		copy(m[i:], m[i+1:n])
		n--
	}
	i := n
	for i > 0 && m[i-1] > x {
		m[i] = m[i-1]
		i--
	}
	m[i] = x
	d.hist[t%histRows] = x
}

// middle is the median of the newest readings.
func (d *Detector) middle() float64 {
	n := int(min(d.t, medianRows))
	return (d.med[(n-1)/2] + d.med[n/2]) / 2
}

// extremes of the newest 5 and the newest 40 readings.
func (d *Detector) extremes(t uint32) (lo5, hi5, lo40, hi40 float64) {
	newest := d.hist[t%histRows]
	lo5, hi5, lo40, hi40 = newest, newest, newest, newest
	n := min(t+1, longRows)
	for k := uint32(1); k < min(n, shortRows); k++ {
		v := d.hist[(t-k)%histRows]
		lo5, hi5 = min(lo5, v), max(hi5, v)
	}
	for _, v := range d.hist[:n] { // the ring is as long as the window: order does not matter
		if v < lo40 {
			lo40 = v
		}
		if v > hi40 {
			hi40 = v
		}
	}
	return lo5, hi5, lo40, hi40
}

// Count is the number of readings learned.
func (d *Detector) Count() uint64 { return uint64(d.t) }

// Period is the period of the stream in readings, 0 where none is known. Trusted says whether forecasting by it at
// least halves the error of forecasting the mean.
func (d *Detector) Period() (readings int, trusted bool) {
	return int(d.seas.period * d.seas.size), d.seas.trusted()
}

// TailProbability is about the share of readings that score at least that much while all is well, and no less than it
// on most stationary streams (white, autocorrelated, seasonal, discrete) after the first 2,000 readings:
// 1/(1 + 64000 score²). The square and the factor were measured; scores fall off more slowly than the fourth root of
// the return period alone would have it, as the channels agree more often than by chance.
func TailProbability(score float64) float64 {
	return 1 / (1 + 64000*score*score)
}
