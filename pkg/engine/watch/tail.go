// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import "math"

const (
	tailBins   = 96    // four to an octave
	lowestBin  = -16   // of 2^-4: what is smaller is as small
	fullCount  = 16384 // at which all counts are halved: what was long ago fades
	mostFresh  = 64    // values between two fits
	tailShare  = 0.01  // of the largest values makes the tail
	priorIndex = 0.25  // of the tail, until enough values have shown it
	priorSeen  = 8     // values that the prior counts for
	mostU      = 12    // beyond it nothing is known
)

// marks are bins around 1, where most values lie.
var marks = [...]int{10, 16, 22}

// tail tells how rare a value is by the values before: the share of them that were as large, and beyond those by a
// power law through the largest hundredth (I. Weissman, Estimation of parameters and large quantiles based on the k
// largest observations, JASA 73, 1978, with the index of B. M. Hill, Ann. Statist. 3, 1975, drawn to a prior). The law
// is heavier than most streams', as one that promises too much rarity costs false alarms.
type tail struct {
	count [tailBins]uint16
	sums  [len(marks)]uint16 // of the counts below each mark
	fresh int16              // values since the last fit
	from  int16              // first bin of the tail
	n     int32
	share float64 // of the values in the tail
	index float64 // of its power law
}

// binOf is the bin of z ≥ 0.
func binOf(z float64) int {
	if !(z > 0) {
		return 0
	}
	frac, exp := math.Frexp(z) // frac in [1/2, 1)
	b := 4*(exp-1) - lowestBin
	switch {
	case frac >= 0.8408964152537145:
		b += 3
	case frac >= 0.7071067811865476:
		b += 2
	case frac >= 0.5946035575013605:
		b++
	}
	return max(0, min(b, tailBins-1))
}

// edges are the least values of the bins.
var edges = func() (least [tailBins]float64) {
	for b := range least {
		least[b] = math.Exp2(float64(b+lowestBin) / 4)
	}
	return least
}()

func (l *tail) add(z float64) {
	b := binOf(z)
	if l.n >= fullCount || l.count[b] == math.MaxUint16 {
		n := int32(0)
		for i := range l.count {
			l.count[i] = (l.count[i] + 1) / 2
			n += int32(l.count[i])
		}
		l.n = n
		l.sum()
	}
	l.count[b]++
	for i, m := range marks {
		if b < m {
			l.sums[i]++
		}
	}
	l.n++
	if l.fresh++; l.fresh >= mostFresh || int32(l.fresh) >= l.n/8 {
		l.fit()
	}
}

// sum adds the counts up; all together are fullCount at most.
func (l *tail) sum() {
	for i, m := range marks {
		l.sums[i] = 0
		for _, c := range l.count[:m] {
			l.sums[i] += c
		}
	}
}

// fit finds the tail anew.
func (l *tail) fit() {
	l.fresh = 0
	need := max(leastTail, int32(math.Ceil(tailShare*float64(l.n))))
	above, logs := int32(0), 0.0 // logs: in quarters of an octave over the bin
	b := tailBins - 1
	for ; b > 0; b-- {
		above += int32(l.count[b])
		if above >= need {
			break
		}
		logs += float64(above)
	}
	const quarter = math.Ln2 / 4
	least := binOf(1)
	if b < least { // next to the scale itself nothing is large
		above, logs = 0, 0
		for i := tailBins - 1; i >= least; i-- {
			if i < tailBins-1 {
				logs += float64(above)
			}
			above += int32(l.count[i])
		}
		b = least
	}
	l.from, l.share = int16(b), max(float64(above), 1)/float64(l.n)
	l.index = (priorSeen*priorIndex + (logs+0.5*float64(above))*quarter) / (priorSeen + float64(above))
}

// start is the value from which the tail is.
func (l *tail) start() float64 { return edges[l.from] }

// u is −log10 of the share of values that are as large as z.
func (l *tail) u(z float64) float64 {
	if l.n == 0 || !(z > 0) {
		return 0
	}
	b := binOf(z)
	if b < int(l.from) {
		return -math.Log10(l.notBelow(b))
	}
	u := -math.Log10(l.share)
	if start := l.start(); z > start {
		u += math.Log10(z/start) / l.index
	}
	if above := l.n - l.below(b); above > 0 {
		u = min(u, -math.Log10(float64(above)/float64(l.n+1)))
	}
	return min(u, mostU)
}

// below is how many values lie in the bins before b.
func (l *tail) below(b int) (n int32) {
	at := 0
	for i, m := range marks {
		if m <= b {
			n, at = int32(l.sums[i]), m
		}
	}
	for _, c := range l.count[at:b] {
		n += int32(c)
	}
	return n
}

// notBelow is the share of values that are as large as those of bin b, with one to come.
func (l *tail) notBelow(b int) float64 { return 1 - float64(l.below(b))/float64(l.n+1) }

// common says that u of z is 1 at most, which of most values is seen without a logarithm, and the share of values that
// are as large.
func (l *tail) common(z float64) (share float64, ok bool) {
	if l.n == 0 || !(z > 0) {
		return 1, true
	}
	b := binOf(z)
	if b >= int(l.from) {
		return 0, false
	}
	share = l.notBelow(b)
	return share, share >= 0.1
}

// rarer says whether u of z is larger than given, which is 1 at least.
func (l *tail) rarer(z, u float64) bool {
	_, common := l.common(z)
	return !common && l.u(z) > u
}

// at is the value in the tail of which u is as given.
func (l *tail) at(u float64) float64 {
	v := u + math.Log10(l.share)
	if !(v > 0) {
		return l.start()
	}
	return l.start() * math.Pow(10, v*l.index)
}

// above is the share of values larger than z by a bin at least, with one to come.
func (l *tail) above(z float64) float64 {
	return float64(1+l.n-l.below(binOf(z)+1)) / float64(l.n+1)
}
