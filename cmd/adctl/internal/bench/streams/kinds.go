// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
)

// faultKinds are the kinds that name the faults which de Bruijn et al. (Benchmark Datasets for Fault Detection and
// Classification in Sensor Data, SENSORNETS 2016) put into readings of real sensors, by the end of a recording's name. A
// mixture is no kind.
var faultKinds = map[string][]driver.Kind{
	"bias":        {driver.KindLevel, driver.KindFreeze},                  // jumps, and mostly stands still there
	"drift":       {driver.KindDrift, driver.KindLevel, driver.KindNoise}, // an offset with noise
	"polydrift":   {driver.KindDrift, driver.KindLevel},                   // a ramp
	"malfunction": {driver.KindNoise, driver.KindSpike},                   // scatters without an offset
	"random":      {driver.KindSpike, driver.KindNoise},                   // single readings, in bursts
}

// KindsOf are the kinds that name the faults of a recording; none where the faults are of no known kind.
func KindsOf(name string) []driver.Kind {
	return faultKinds[name[strings.LastIndexByte(name, '_')+1:]]
}

// AddKinds takes the kinds of a recording's events: each event that is hit is right if the kind that most of its
// anomalous rows have is one of those that name its faults.
func (t *Tally) AddKinds(right []driver.Kind, truth []bool, verdicts []Verdict) {
	for _, e := range runs(len(truth), 1, func(i int) bool { return truth[i] }) {
		rows := make(map[driver.Kind]int)
		most := driver.KindNone
		for _, v := range verdicts[e.first:min(e.last+Near+1, len(truth))] {
			if !v.Anomalous {
				continue
			}
			if rows[v.Kind]++; rows[v.Kind] > rows[most] || rows[v.Kind] == rows[most] && v.Kind < most {
				most = v.Kind
			}
		}
		if len(rows) == 0 {
			continue
		}
		t.named++
		if slices.Contains(right, most) {
			t.rightKind++
		}
	}
}
