// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin_test

import (
	"context"
	"encoding"
	"fmt"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// A room with two lights and a sensor of brightness: a network is trained offline, kept as a model file, and opened
// with it. A light that reports "on" and is dark is named, once several rows speak against it.
func Example_bayesnet() {
	members := []driver.Member{
		{Key: driver.Key{Namespace: "default", Device: "light-1", Property: "power"}},
		{Key: driver.Key{Namespace: "default", Device: "light-2", Property: "power"}},
		{Key: driver.Key{Namespace: "default", Device: "brightness", Property: "value"}},
	}
	state := []string{"off", "on"}
	row := make(driver.Row, len(members))
	fill := func(l1, l2 int, brightness float64) driver.Row {
		row[0] = driver.Sample{Key: members[0].Key, Value: float64(l1), Text: state[l1]}
		row[1] = driver.Sample{Key: members[1].Key, Value: float64(l2), Text: state[l2]}
		row[2] = driver.Sample{Key: members[2].Key, Value: brightness}
		return row
	}

	learner, err := driver.Open("bayesnet", driver.Settings{Members: members}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = learner.(driver.Trainer).Train(context.Background(), func(yield func(driver.Row) bool) {
		for k := range 1000 {
			l1, l2 := k&1, k>>1&1
			if !yield(fill(l1, l2, float64(100*l1+200*l2))) {
				return
			}
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	payload, err := learner.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		fmt.Println(err)
		return
	}
	file := model.Trained{
		Facts:   model.Facts{Driver: "bayesnet", Members: []string{"light-1", "light-2", "brightness"}, Rows: 1000},
		Payload: payload,
	}
	data, err := file.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}

	d, err := driver.Open("bayesnet", driver.Settings{Members: members, Model: data, ModelName: "room"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var out driver.Result
	judge := func(row driver.Row) {
		out.Reset(row)
		out.Threshold = driver.DefaultThreshold
		d.Detect(row, &out)
	}
	for range 6 {
		judge(fill(1, 0, 0)) // light 1 is on, and the room is dark
	}
	fmt.Printf("%v, %s: %s\n", out.Severity, out.Kind, out.Message)
	for range 8 {
		judge(fill(1, 1, 200)) // light 2 is switched on, and seen
	}
	fmt.Printf("%v, %s: %s\n", out.Severity, out.Kind, out.Message)
	// Output:
	// warning, causal: cannot tell: light-1 or brightness
	// critical, causal: light-1 contradicts the other members
}
