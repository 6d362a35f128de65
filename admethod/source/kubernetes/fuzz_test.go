// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
)

func TestStamp(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"1700000000123": "2023-11-14T22:13:20.123Z", "1700000000": "2023-11-14T22:13:20Z", "1700000000123456": "2023-11-14T22:13:20.123456Z",
		"1700000000123456789": "2023-11-14T22:13:20.123456789Z", "2026-03-01T12:00:00+01:00": "2026-03-01T11:00:00Z",
		"": "", "yesterday": "", "-1": "", "0": "", "9223372036854775807": "", "2027-01-01T00:00:00Z": "",
	} {
		at, ok := stamp(text, now)
		if got := at.UTC().Format(time.RFC3339Nano); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s, %v: want %q", text, got, ok, want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"1", "1.0", true}, {"0.1", "0.10000000149", true}, {"16777217", "16777216", true}, {"1", "2", false}, {"on", "on ", true},
		{"True", "true", true}, {"On", "on", false}, {"", "", true}, {"NaN", "nan", false},
	} {
		if same(c.a, c.b) != c.want {
			t.Errorf("%q, %q: want %v", c.a, c.b, c.want)
		}
	}
}

// What an API server sends never panics, and each report makes one reading at most, with a time.
func FuzzDeviceStatus(f *testing.F) {
	f.Add([]byte(`{"twins":[{"propertyName":"t","reported":{"value":"1","metadata":{"timestamp":"1700000000123"}},"observedDesired":{"value":"2"}}],"state":"Offline","lastOnlineTime":"2026-01-01T00:00:00Z","extensions":{"x":{}}}`))
	f.Add([]byte(`{"twins":[{},{"propertyName":"t","reported":{"value":"x"}}]}`))
	f.Add([]byte(`{"extensions":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s v1beta1.DeviceStatusStatus
		if json.Unmarshal(raw, &s) != nil {
			return
		}
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		d := &device{twins: make(map[string]*twin)}
		for range 2 {
			d.report(&s, now)
			if len(d.twins) > len(s.Twins) {
				t.Fatalf("%d twins of %d", len(d.twins), len(s.Twins))
			}
			for name, tw := range d.twins {
				if tw.fresh && (tw.at.IsZero() || tw.reported == "") {
					t.Errorf("%q: a reading %q at %v", name, tw.reported, tw.at)
				}
				tw.fresh = false
				tw.compare(&want{desired: tw.observed}, nil, differs{}, now)
			}
		}
	})
}
