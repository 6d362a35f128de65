// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package rank_test

import (
	"math"
	"testing"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/rank"
)

// Figures by hand.
func TestRankings(t *testing.T) {
	const y, n = true, false
	for name, c := range map[string]struct {
		scores               []float32
		truth                []bool
		roc, average, inRows float64
	}{
		"perfect":        {[]float32{.9, .8, .1, 0}, []bool{y, y, n, n}, 1, 1, 1},
		"reversed":       {[]float32{0, .1, .8, .9}, []bool{y, y, n, n}, 0, (1./3 + 2./4) / 2, (1./3 + 2./4) / 2},
		"all tied":       {[]float32{1, 1, 1, 1}, []bool{y, n, n, n}, .5, .25, 1},
		"one of two":     {[]float32{.9, .8, .7, .6}, []bool{y, n, y, n}, .75, (1 + 2./3) / 2, (1 + 2./3) / 2},
		"a tie in front": {[]float32{.9, .9, .1}, []bool{n, y, n}, .75, .5, .5},
		"nothing":        {[]float32{.9, .8}, []bool{n, n}, math.NaN(), math.NaN(), math.NaN()},
		"only anomalous": {[]float32{.9, .8}, []bool{y, y}, math.NaN(), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := rank.By(c.scores)
			for what, v := range map[string][2]float64{
				"ROC":                        {o.ROC(c.truth), c.roc},
				"average precision":          {o.AveragePrecision(c.truth), c.average},
				"average precision in order": {o.AveragePrecisionInOrder(c.truth), c.inRows},
			} {
				if got, want := v[0], v[1]; !(math.Abs(got-want) < 1e-12) && !(math.IsNaN(got) && math.IsNaN(want)) {
					t.Errorf("%s: got %v, want %v", what, got, want)
				}
			}
		})
	}
}
