// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// The rows of a fault in a recording of a day's rhythm whose gateway says N/A now and then.
const faultFrom, faultTo = 4000, 4150

// unavailable is a recording of which a share of the cells, evenly spread, are no readings.
func unavailable(seed uint64, share float64, fault string) (text string, cells int) {
	rng := rand.New(rand.NewPCG(seed, 5))
	var b strings.Builder
	b.WriteString("time,temp\n")
	held := 0.0
	for i := range 6000 {
		v := 20 + 3*math.Sin(2*math.Pi*float64(i)/288) + 0.2*rng.NormFloat64()
		if i == faultFrom {
			held = v
		}
		within := i >= faultFrom && i < faultTo
		switch {
		case fault == "spike" && i >= faultFrom && i < faultFrom+2:
			v += 12
		case fault == "jump" && within:
			v += 8
		case fault == "freeze" && within:
			v = held
		}
		cell := fmt.Sprintf("%.2f", v)
		if rng.Float64() < share && (fault != "spike" || !within) {
			cell = []string{"unavailable", "N/A", "", "ERR"}[rng.IntN(4)]
			cells++
		}
		fmt.Fprintf(&b, "%s,%s\n", start.Add(time.Duration(i)*5*time.Minute).Format(time.RFC3339), cell)
	}
	return b.String(), cells
}

// Cells that are no readings are counted. They neither keep an incident open over the file, nor hide one that is about the
// readings between them.
func TestCellsWithoutAReadingHideNothing(t *testing.T) {
	for _, share := range []float64{0.01, 0.1, 0.3} {
		for fault, kinds := range map[string][]driver.Kind{
			"":       nil,
			"spike":  {driver.KindSpike},
			"jump":   {driver.KindLevel, driver.KindSpike, driver.KindPattern, driver.KindDrift},
			"freeze": {driver.KindFreeze},
		} {
			t.Run(fmt.Sprintf("%v of the cells, fault %q", share, fault), func(t *testing.T) {
				text, cells := unavailable(uint64(100*share), share, fault)
				code, stdout, stderr := adctl(t, "", "detect", file(t, "a.csv", text), "-q", "-o", "json")
				if code != exitOK {
					t.Fatalf("exit status %d: %s", code, stderr)
				}
				var all []summary
				if err := json.Unmarshal([]byte(stdout), &all); err != nil {
					t.Fatal(err)
				}
				s := &all[0]
				if s.NoNumber != cells {
					t.Errorf("%d cells are told to hold no number, want %d", s.NoNumber, cells)
				}
				from, to := start.Add(faultFrom*5*time.Minute), start.Add((faultTo+100)*5*time.Minute)
				found, invalid := fault == "", 0
				for _, i := range s.Incidents {
					if i.Kind == driver.KindInvalid {
						invalid += i.Readings
					} else if fault == "" || i.Began.Before(from) {
						t.Errorf("a false alarm: %+v", i)
					}
					found = found || slices.Contains(kinds, i.Kind) && !i.Began.Before(from) && i.Began.Before(to)
				}
				if invalid > s.Readings/20 {
					t.Errorf("%d of %d readings are in incidents of readings that are none", invalid, s.Readings)
				}
				if !found {
					t.Errorf("the fault is not found: %+v", s.Incidents)
				}
			})
		}
	}
}
