// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package novelty

import "math"

// All constants are round; scores on benchmark data change little when one of them is halved or doubled.
const (
	storeSize  = 32     // stored values a channel
	topSize    = 16     // largest past distances a channel
	shortRows  = 5      // short extremes
	medianRows = 21     // running median
	hideRows   = 100    // at first nearly every reading is a record
	restRows   = 64     // one incident, one alert
	expireRows = 20000  // a stored value not met for so long is forgotten
	periodCap  = 100000 // the longest return period that counts
	fadeRows   = 1024   // past distances shrink by fade every so many readings,
	fade       = 0.995  // which is about 1e-5 a reading: records do not stand forever
	slowRows   = 128    // memory of the slow average
	tie        = 0.95   // a distance this near a past one is not larger
	channels   = 7      // scales the mean of the evidence
	auxWeight  = 0.5    // of the season: rarer, so weaker evidence
	largest    = 1e30   // readings are bounded, as distances are kept in single precision; no sensor means more
)

// Detector scores one stream. The zero value is ready for use; it takes 9 KiB and never allocates.
type Detector struct {
	t    uint32              // readings seen
	prev float64             // last reading
	slow float64             // exponentially weighted average
	hist [medianRows]float64 // the newest readings
	med  [medianRows]float64 // the same in order

	x, ewSlow, median levels
	low, high         levels // extremes of the newest 5
	season            levels // residual of the seasonal forecast
	pair              pairs  // x and the reading before
	seas              seasonality
	returns           returns
}

// Next takes a reading and returns its score, from 0 for the ordinary up to about 19; see [TailProbability]. NaN and
// infinities score 0 and are not learned.
func (d *Detector) Next(x float64) float64 {
	x, ok := d.take(x)
	if !ok {
		return 0
	}
	t := d.t - 1
	if t == 0 {
		d.prev, d.slow = x, x
	}
	d.slow += max(1.0/slowRows, 1/float64(d.t)) * (x - d.slow)
	d.remember(x, t)

	// Values that rounding can hardly tell apart are the same.
	tol := 1e-9*d.x.span() + 1e-13*math.Abs(x)

	e := d.x.evidence(x, tol, t) + d.ewSlow.evidence(d.slow, tol, t) + d.median.evidence(d.middle(), tol, t)
	low, high := d.extremes(t)
	e += d.low.evidence(low, tol, t) + d.high.evidence(high, tol, t)
	if t > 0 {
		e += d.pair.evidence(x, d.prev, tol)
	}
	if r, ok := d.seas.residual(x); ok {
		ev := d.season.evidence(r, tol, t)
		if d.seas.trusted() {
			e += auxWeight * ev
		}
	}
	d.prev = x
	if t%fadeRows == fadeRows-1 {
		d.fade()
	}
	return d.returns.weigh(e/channels, t)
}

// Follow takes a reading for the season alone, at a third of the cost: [Detector.Period] and [Detector.Fold] tell what
// they would after Next. A detector that follows ranks nothing.
func (d *Detector) Follow(x float64) {
	if x, ok := d.take(x); ok {
		d.seas.residual(x)
	}
}

// take counts a reading and bounds it, unless it is none.
func (d *Detector) take(x float64) (float64, bool) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, false
	}
	d.t++
	if d.t == math.MaxInt32 { // the counter would wrap: start anew rather than misjudge all times
		*d = Detector{}
		return 0, false
	}
	return max(-largest, min(largest, x)), true
}

// scales are the channels of single values.
func (d *Detector) scales() [6]*levels {
	return [...]*levels{&d.x, &d.ewSlow, &d.median, &d.low, &d.high, &d.season}
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
		old := d.hist[(t-medianRows)%medianRows]
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
	d.hist[t%medianRows] = x
}

// middle is the median of the newest readings.
func (d *Detector) middle() float64 {
	n := int(min(d.t, medianRows))
	return (d.med[(n-1)/2] + d.med[n/2]) / 2
}

// extremes of the newest shortRows readings.
func (d *Detector) extremes(t uint32) (low, high float64) {
	low, high = d.hist[t%medianRows], d.hist[t%medianRows]
	for k := uint32(1); k < min(t+1, shortRows); k++ {
		v := d.hist[(t-k)%medianRows]
		low, high = min(low, v), max(high, v)
	}
	return low, high
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
// 1/(1 + 40000 score²). The square and the factor were measured; scores fall off more slowly than the fourth root of
// the return period alone would have it, as the channels agree more often than by chance.
func TailProbability(score float64) float64 {
	return 1 / (1 + 40000*score*score)
}
