// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin_test

import (
	"encoding"
	"fmt"
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
)

// A detector learns from the readings themselves. What it learned survives a restart.
func Example() {
	member := driver.Member{
		Key:     driver.Key{Namespace: "default", Device: "boiler", Property: "temperature"},
		Minimum: math.NaN(), Maximum: math.NaN(),
	}
	settings := driver.Settings{Members: []driver.Member{member}}
	d, err := driver.Open("ewma", settings, map[string]any{"window": 60})
	if err != nil {
		fmt.Println(err)
		return
	}
	var out driver.Result
	judge := func(d driver.Detector, v float64) {
		row := driver.Row{{Key: member.Key, Value: v}}
		out.Reset(row)
		out.Threshold = driver.DefaultThreshold
		d.Detect(row, &out)
	}
	for i := range 200 {
		judge(d, 60+math.Sin(float64(i)))
	}
	snapshot, err := d.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		fmt.Println(err)
		return
	}

	restored, _ := driver.Open("ewma", settings, map[string]any{"window": 60})
	if err := restored.(encoding.BinaryUnmarshaler).UnmarshalBinary(snapshot); err != nil {
		fmt.Println(err)
		return
	}
	judge(restored, 75)
	fmt.Printf("%s: %v, %s, expected %.0f\n", out.Key, out.Severity, out.Kind, out.Expected)
	// Output: default/boiler/temperature: critical, spike, expected 60
}
