// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// TestLostRowsAreNoFaults: where rows of a healthy stream are lost at random, as under overload, detectors alert at most
// at twice the rate that the default threshold stands for. Half is the worst share for what counts time in intervals: their
// median is then one or two.
func TestLostRowsAreNoFaults(t *testing.T) {
	const rows = 8000       // that are left, of each stream: some days of readings every minute
	const most = 2.0 / 8000 // alerts a row
	streams := [...]func(r *rand.Rand, n int) []float64{
		func(r *rand.Rand, n int) []float64 { return each(n, func(int) float64 { return 20 + r.NormFloat64() }) },
		func(r *rand.Rand, n int) []float64 {
			return each(n, func(i int) float64 { return 20 + wave(i, 1440, 3) + .3*r.NormFloat64() })
		},
		func(r *rand.Rand, n int) []float64 {
			return each(n, func(i int) float64 { return 20 + wave(i, 288, 3) + .3*r.NormFloat64() })
		},
		func(r *rand.Rand, n int) []float64 { return slow(r, n, .9, 1) },
		func(r *rand.Rand, n int) []float64 { return slow(r, n, .99, 1) },
		func(r *rand.Rand, n int) []float64 {
			s := slow(r, n, .99, 1)
			return each(n, func(i int) float64 { return math.Round(4*s[i]) / 4 })
		},
	}
	for _, name := range []string{"auto", "ewma", "forecast", "mad"} {
		for _, lost := range []float64{0, .5, .9} {
			t.Run(fmt.Sprintf("%s/%v", name, lost), func(t *testing.T) {
				var told, flagged [len(streams)]int
				alerted, all := 0, 0
				for k, stream := range streams {
					for seed := range seeds() {
						r := rand.New(rand.NewPCG(uint64(k), 1000+seed))
						rs := withoutLost(t, name, stream(r, int(rows/(1-lost))), lost, r)
						n := alerts(rs)
						told[k] += n
						flagged[k] += int(math.Round(share(rs) * float64(len(rs))))
						alerted, all = alerted+n, all+len(rs)
					}
				}
				rate := float64(alerted) / float64(all)
				t.Logf("alerts %v, rows flagged %v: %.2f alerts in 10,000", told, flagged, 1e4*rate)
				if rate > most {
					t.Errorf("%.2f alerts in 10,000 rows, want at most %.2f", 1e4*rate, 1e4*most)
				}
			})
		}
	}
}

// withoutLost are the verdicts on a stream of which a share of the rows is lost; the next one tells.
func withoutLost(t *testing.T, name string, x []float64, lost float64, r *rand.Rand) []driver.Result {
	t.Helper()
	d, err := driver.Open(name, driver.Settings{Members: []driver.Member{{Minimum: math.NaN(), Maximum: math.NaN()}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []driver.Result
	var flags driver.Flags
	for i, v := range x {
		if r.Float64() < lost {
			flags = driver.Gap
			continue
		}
		row := driver.Row{{At: start.Add(time.Duration(i) * time.Minute), Value: v, Flags: flags}}
		flags = 0
		out = append(out, driver.Result{})
		o := &out[len(out)-1]
		o.Reset(row)
		o.Threshold = driver.DefaultThreshold
		d.Detect(row, o)
	}
	return out
}
