// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// AddBand takes the bands of a healthy recording: the share of the readings inside, and how wide the band is in the mean,
// as a multiple of the narrowest of constant width that holds as many readings once the mean of each hour of the day has
// been taken off, all in hindsight.
func (t *Tally) AddBand(times []time.Time, values []float64, verdicts []Verdict) {
	var profile [24]struct{ sum, n float64 }
	for i, x := range values {
		if !math.IsNaN(x) {
			h := &profile[times[i].UTC().Hour()]
			h.sum, h.n = h.sum+x, h.n+1
		}
	}
	var rest []float64
	inside, judged, width := 0, 0, 0.0
	for i, v := range verdicts {
		x := values[i]
		if math.IsNaN(x) || math.IsNaN(v.Lower) || math.IsNaN(v.Upper) || v.Lower == 0 && v.Upper == 0 {
			continue
		}
		judged++
		width += v.Upper - v.Lower
		if v.Lower <= x && x <= v.Upper {
			inside++
		}
		h := profile[times[i].UTC().Hour()]
		rest = append(rest, x-h.sum/h.n)
	}
	t.banded, t.inside = t.banded+judged, t.inside+inside
	if oracle := narrowest(rest, inside); oracle > 0 {
		t.widths = append(t.widths, width/float64(judged)/oracle)
	}
}

// narrowest is the width of the least interval that holds so many of the values.
func narrowest(values []float64, hold int) float64 {
	if hold < 1 || hold > len(values) {
		return math.NaN()
	}
	slices.SortFunc(values, cmp.Compare)
	least := math.Inf(1)
	for i := hold - 1; i < len(values); i++ {
		least = min(least, values[i]-values[i-hold+1])
	}
	return least
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.SortFunc(values, cmp.Compare)
	return values[len(values)/2]
}
