// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import "math"

const (
	tailBins   = 96    // four to an octave
	lowestBin  = -16   // of 2^-4: what is smaller is as small
	fullCount  = 16384 // at which all counts are halved: what was long ago fades
	tailShare  = 0.01  // of the largest values makes the tail
	priorIndex = 0.25  // of the tail, until enough values have shown it
	priorSeen  = 8     // values that the prior counts for
	mostU      = 12    // beyond it nothing is known
)

// tail tells how rare a value is by the values before: the share of them that were as large, and beyond those by a
// power law through the largest hundredth (I. Weissman, Estimation of parameters and large quantiles based on the k
// largest observations, JASA 73, 1978, with the index of B. M. Hill, Ann. Statist. 3, 1975, drawn to a prior). The law
// is heavier than most streams', as one that promises too much rarity costs false alarms.
type tail struct {
	count [tailBins]uint16
	n     int32
	fresh int32   // values since the last fit
	from  int32   // first bin of the tail
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

// edgeOf is the least value of a bin.
func edgeOf(b int) float64 { return math.Exp2(float64(b+lowestBin) / 4) }

func (l *tail) add(z float64) {
	b := binOf(z)
	if l.n >= fullCount || l.count[b] == math.MaxUint16 {
		n := int32(0)
		for i := range l.count {
			l.count[i] = (l.count[i] + 1) / 2
			n += int32(l.count[i])
		}
		l.n = n
	}
	l.count[b]++
	l.n++
	if l.fresh++; l.fresh >= 64 || l.fresh >= l.n/8 {
		l.fit()
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
	l.from, l.share = int32(b), max(float64(above), 1)/float64(l.n)
	l.index = (priorSeen*priorIndex + (logs+0.5*float64(above))*quarter) / (priorSeen + float64(above))
}

// start is the value from which the tail is.
func (l *tail) start() float64 { return edgeOf(int(l.from)) }

// u is −log10 of the share of values that are as large as z.
func (l *tail) u(z float64) float64 {
	if l.n == 0 || !(z > 0) {
		return 0
	}
	b := binOf(z)
	if b < int(l.from) {
		below := int32(0)
		for _, c := range l.count[:b] {
			below += int32(c)
		}
		return -math.Log10(1 - float64(below)/float64(l.n+1))
	}
	u := -math.Log10(l.share)
	if start := l.start(); z > start {
		u += math.Log10(z/start) / l.index
	}
	above := int32(0)
	for _, c := range l.count[b:] {
		above += int32(c)
	}
	if above > 0 {
		u = min(u, -math.Log10(float64(above)/float64(l.n+1)))
	}
	return min(u, mostU)
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
	n := int32(1)
	for _, c := range l.count[binOf(z)+1:] {
		n += int32(c)
	}
	return float64(n) / float64(l.n+1)
}
