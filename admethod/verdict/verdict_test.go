// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

func ExampleFromResult() {
	var r driver.Result
	r.Reset(driver.Row{{Key: driver.Key{Namespace: "default", Device: "light-1", Property: "power"}, At: time.Unix(0, 0), Value: 5}})
	r.Threshold, r.Detector, r.Upper = driver.DefaultThreshold, "ewma", 3
	r.Judge(0.97, driver.KindSpike)
	text, err := json.MarshalIndent(verdict.FromResult(&r), "", "  ")
	fmt.Println(string(text), err)
	// Output:
	// {
	//   "namespace": "default",
	//   "device": "light-1",
	//   "property": "power",
	//   "at": "1970-01-01T00:00:00Z",
	//   "severity": "warning",
	//   "kind": "spike",
	//   "score": 0.97,
	//   "threshold": 0.95,
	//   "confidence": 0,
	//   "value": 5,
	//   "upper": 3,
	//   "detector": "ewma"
	// } <nil>
}

// Whatever a detector wrote, the result is JSON.
func FuzzFromResult(f *testing.F) {
	f.Add("default", "light-1", "power", int64(0), 0.5, 20.0)
	f.Add("\xff", "\x00", "\u2028", int64(math.MaxInt64), math.NaN(), math.Inf(-1))
	f.Add("", "", "", int64(math.MinInt64), -1.0, math.MaxFloat64)
	f.Fuzz(func(t *testing.T, namespace, device, property string, at int64, score, value float64) {
		r := driver.Result{
			Key: driver.Key{Namespace: namespace, Device: device, Property: property}, At: time.Unix(at, 0),
			Score: score, Value: value, Lower: value, Causes: []driver.Cause{{Weight: score}, {Weight: value}},
		}
		text, err := json.Marshal(verdict.FromResult(&r))
		if err != nil {
			t.Fatal(err)
		}
		var back verdict.Verdict
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	})
}
