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

func Example_drivers() {
	for _, f := range driver.Default.Factories() {
		fmt.Printf("%-12s%s\n", f.Info().Name, f.Info().Summary)
	}
	// Output:
	// auto        finds, names and follows what is unusual until it is over, by what the stream shows: a season, modes, states, a counter or none of these
	// autogroup   watches members each alone and together: levels, shapes, and what the others say of each; the default for groups
	// bayesnet    finds improbable combinations in a group, of numbers and categories, and says which member contradicts the others
	// ewma        finds spikes and new levels, in units of an exponentially weighted standard deviation
	// forecast    predicts the next reading by exponential smoothing with a damped trend and a season it finds itself; finds spikes, new levels, and patterns that fail to come
	// freeze      finds values that stand still longer than the stream ever did, where it usually moves
	// iforest     finds rows that random splits isolate early; makes no assumption on how members relate
	// knn         finds shapes not met before, by the distance of the newest readings from those remembered; takes groups
	// mad         finds spikes and new levels, against the median and the median absolute deviation of a window
	// pca         finds members of a group that break their linear relations, by principal components (T² and Q)
	// range       finds readings outside fixed limits, from the configuration or the DeviceModel's minimum and maximum
	// states      finds states never met, transitions that do not belong, states that last too long or too short, and flapping, in streams of switches, modes and enumerations
}
