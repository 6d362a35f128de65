// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// What a sample is survives the way: numbers stay numbers, and enumerations keep the text that detectors know them by.
func TestReadingAndSample(t *testing.T) {
	key := driver.Key{Namespace: "default", Device: "lamp", Property: "power"}
	at := time.Unix(1_700_000_000, 5).UTC()
	for _, sample := range []driver.Sample{
		{Value: 21.5}, {Value: 1e300}, {Value: -0.25}, {Value: 0}, {Value: 1, Text: "ON"}, {Value: 0, Text: "OFF"},
		{Value: 2, Text: "3rd floor"}, {Value: 5, Text: "5,0"}, {Value: 3, Text: "Idle"}, {Value: math.Inf(1), Flags: driver.NotANumber},
		{Value: math.NaN(), Text: "broken", Flags: driver.Unparsable},
	} {
		sample.Key, sample.At = key, at
		var m pb.DevicePropertyData
		Reading(&m, new(admethod.StreamSettings), driver.Row{sample}, 1, 0)
		got, err := SampleOf(&m, key)
		if diff := cmp.Diff(sample, got, cmpopts.EquateNaNs()); err != nil || diff != "" {
			t.Errorf("%+v: %v\n(-sent +got)\n%s", sample, err, diff)
		}
	}
	// Others say the same in other words.
	for text, value := range map[string]float64{"true": 1, "false": 0, "21.50": 21.5, "": 3, "+1e2": 100} {
		m := &pb.DevicePropertyData{PropertyValue: text, Value: &value, TimeUnixNano: 1}
		if s, err := SampleOf(m, key); err != nil || s.Text != "" || s.Value != value {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}
