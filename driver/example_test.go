// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"fmt"
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
)

type stepConfig struct {
	Limit float64 `param:"limit" min:"0" doc:"largest normal step"`
}

// stepDetector judges a reading by its distance from the one before.
type stepDetector struct{ limit, last float64 }

func (d *stepDetector) Detect(row driver.Row, out *driver.Result) {
	if len(row) == 0 || math.IsNaN(row[0].Value) {
		return // out stays Unknown
	}
	step := math.Abs(row[0].Value - d.last)
	d.last = row[0].Value
	if math.IsNaN(step) {
		return
	}
	out.Confidence = 1
	if step > d.limit {
		out.Judge(1, driver.KindJump)
	} else {
		out.Judge(0, driver.KindNone)
	}
}

// A driver is a description, the defaults of its configuration, and a function that opens a detector.
func ExampleNewFactory() {
	f := driver.NewFactory(
		driver.Info{Name: "step", Summary: "finds large steps", Kinds: []driver.Kind{driver.KindJump}},
		func() stepConfig { return stepConfig{Limit: 10} },
		func(_ driver.Settings, c stepConfig) (driver.Detector, error) {
			return &stepDetector{limit: c.Limit, last: math.NaN()}, nil
		})
	registry := driver.NewRegistry(f) // driver.Register(f), in an init function, for all of a program

	settings := driver.Settings{Members: []driver.Member{{Key: driver.Key{Device: "boiler", Property: "temperature"}}}}
	d, err := registry.Open("step", settings, map[string]any{"limit": "5"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var out driver.Result
	for _, v := range []float64{20, 21, 40, 41} {
		row := driver.Row{{Key: settings.Members[0].Key, Value: v}}
		out.Reset(row)
		out.Threshold = driver.DefaultThreshold
		d.Detect(row, &out)
		fmt.Printf("%v %v %q\n", out.Value, out.Severity, out.Kind)
	}
	_, err = registry.Open("step", settings, map[string]any{"limt": 5})
	fmt.Println(err)
	// Output:
	// 20 unknown ""
	// 21 normal ""
	// 40 critical "jump"
	// 41 normal ""
	// detector "step": detector.limt: unknown key; did you mean "limit"?
}

// A score is an expected rate of false alarms.
func ExampleTailProbability() {
	for _, s := range []float64{0.9, 0.95, 0.98} {
		fmt.Printf("%.2f: one in %.0f\n", s, 1/driver.TailProbability(s))
	}
	// Output:
	// 0.90: one in 1000
	// 0.95: one in 8000
	// 0.98: one in 125000
}
