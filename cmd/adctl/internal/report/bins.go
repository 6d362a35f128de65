// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// maxBins bounds what is kept of a recording, however long it is: spans of time of equal length, each with the extremes
// of what was in it. It is several times the pixels of a chart, so that a part of the recording can be shown larger.
const maxBins = 16 << 10

// extent is the least and the greatest of some values; the zero value is none.
type extent struct {
	lo, hi float64
	some   bool
}

func (e *extent) add(v float64) {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
	case !e.some:
		e.lo, e.hi, e.some = v, v, true
	default:
		e.lo, e.hi = min(e.lo, v), max(e.hi, v)
	}
}

func (e *extent) join(o extent) {
	if o.some {
		e.add(o.lo)
		e.add(o.hi)
	}
}

// mean is of what was added; the zero value is none.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		m.sum, m.n = m.sum+v, m.n+1
	}
}

func (m *mean) join(o mean) { m.sum, m.n = m.sum+o.sum, m.n+o.n }

func (m mean) value() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return m.sum / float64(m.n)
}

// bin is a span of time.
type bin struct {
	rows                   int
	score                  float64 // the greatest; NaN where nothing was judged
	severity               driver.Severity
	labelled               bool
	expected, lower, upper mean
}

func (b *bin) join(o *bin) {
	if o.rows == 0 {
		return
	}
	if b.rows == 0 {
		*b = *o
		return
	}
	b.rows += o.rows
	if !(b.score >= o.score) && !math.IsNaN(o.score) {
		b.score = o.score
	}
	b.severity, b.labelled = max(b.severity, o.severity), b.labelled || o.labelled
	b.expected.join(o.expected)
	b.lower.join(o.lower)
	b.upper.join(o.upper)
}

type bins struct {
	from  int64 // ns
	width int64 // ns
	n     int   // bins in use
	bins  []bin
	// readings and blamed are those of each member, apart as there may be many members.
	readings [][]extent
	blamed   [][]bool
}

func newBins(members int) *bins {
	b := &bins{width: int64(time.Microsecond), bins: make([]bin, maxBins)}
	for range members {
		b.readings = append(b.readings, make([]extent, maxBins))
		b.blamed = append(b.blamed, make([]bool, maxBins))
	}
	return b
}

// add returns the bin that the row is in.
func (b *bins) add(row *Row, labelled bool) int {
	at := row.At.UnixNano()
	if b.n == 0 {
		b.from = at
	}
	if at < b.from { // out of order, before the first: it belongs to the beginning
		at = b.from
	}
	for uint64(at-b.from)/uint64(b.width) >= maxBins {
		b.halve()
	}
	i := int(uint64(at-b.from) / uint64(b.width))
	b.n = max(b.n, i+1)
	one := bin{rows: 1, score: row.Score, severity: row.Severity, labelled: labelled}
	one.expected.add(row.Expected)
	one.lower.add(row.Lower)
	one.upper.add(row.Upper)
	b.bins[i].join(&one)
	for m, v := range row.Values {
		b.readings[m][i].add(v.Number)
	}
	return i
}

// halve joins each two bins.
func (b *bins) halve() {
	for i := range (b.n + 1) / 2 {
		j := 2 * i
		joined := b.bins[j]
		joined.join(&b.bins[j+1])
		b.bins[i] = joined
		for m := range b.readings {
			e := b.readings[m][j]
			e.join(b.readings[m][j+1])
			b.readings[m][i] = e
			b.blamed[m][i] = b.blamed[m][j] || b.blamed[m][j+1]
		}
	}
	half := (b.n + 1) / 2
	clear(b.bins[half:b.n])
	for m := range b.readings {
		clear(b.readings[m][half:b.n])
		clear(b.blamed[m][half:b.n])
	}
	b.n = half
	if b.width > math.MaxInt64/2 {
		b.width = math.MaxInt64
	} else {
		b.width *= 2
	}
}

func (b *bins) at(i int) time.Time { return time.Unix(0, b.from+int64(i)*b.width).UTC() }

// index is the bin of a time, within those in use.
func (b *bins) index(t time.Time) int {
	at := t.UnixNano()
	if at <= b.from || b.n == 0 {
		return 0
	}
	return int(min(uint64(at-b.from)/uint64(b.width), uint64(b.n-1)))
}

// spacing is the usual number of bins from one with rows to the next.
func (b *bins) spacing() int {
	var gaps []int
	last := -1
	for i := range b.n {
		if b.bins[i].rows == 0 {
			continue
		}
		if last >= 0 {
			gaps = append(gaps, i-last)
		}
		last = i
	}
	if gaps == nil {
		return 1
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
