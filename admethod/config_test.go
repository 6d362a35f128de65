// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/driver"
)

// What a property says in its Device reaches the mapper as flat JSON; numbers went through float32 and protojson.
func TestParse(t *testing.T) {
	tests := []struct {
		name   string
		raw    string
		change func(*ADMethodConfig)
	}{
		{"nothing set means every default", `{}`, func(*ADMethodConfig) {}},
		{"scalars", `{"adMethodName":"grpc","detector":"ewma","threshold":0.9,"sinks":"log, devicestatus","group":"room-1","model":"room.model"}`,
			func(c *ADMethodConfig) {
				c.ADMethodName, c.Detector, c.Threshold, c.Group, c.Model = "grpc", "ewma", 0.9, "room-1", "room.model"
				c.Sinks = []string{"log", "devicestatus"}
			}},
		{"numbers as quoted text, as protojson writes int64", `{"threshold":"0.98","quality.persist":"5"}`,
			func(c *ADMethodConfig) { c.Threshold, c.Quality.Persist = 0.98, 5 }},
		{"whole numbers as floats, as EdgeCore sends them", `{"quality.persist":5.0,"quality.missing":10}`,
			func(c *ADMethodConfig) { c.Quality.Persist, c.Quality.Missing = 5, 10 }},
		{"durations need a unit", `{"heartbeat":"90s","quality.cycle":"500ms"}`,
			func(c *ADMethodConfig) { c.Heartbeat, c.Quality.Cycle = 90*time.Second, 500*time.Millisecond }},
		{"dotted keys belong to drivers and adapters", `{"detector.window":60,"grpc.address":"detector.edge:6804","grpc.tls.ca":"ca.pem"}`,
			func(c *ADMethodConfig) {
				c.Options = map[string]map[string]any{
					"detector": {"window": json.Number("60")},
					"grpc":     {"address": "detector.edge:6804", "tls.ca": "ca.pem"},
				}
			}},
		{"a rich configuration as one text; flat keys win", `{"config":"{\"threshold\":0.9,\"detector\":\"mad\",\"quality\":{\"late\":3},\"categories\":[\"ON\",\"OFF\"]}","detector":"ewma"}`,
			func(c *ADMethodConfig) {
				c.Detector, c.Threshold, c.Quality.Late, c.Categories = "ewma", 0.9, 3, []string{"ON", "OFF"}
			}},
		{"null is as if left out", `{"detector":null}`, func(*ADMethodConfig) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(json.RawMessage(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			want := DefaultConfig()
			tt.change(&want)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(ADMethodConfig{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		raw  string
		want []string // each part of the joined error
	}{
		{`{"treshold":0.9}`, []string{`treshold: unknown key; did you mean "threshold"?`}},
		{`{"quality.mising":3}`, []string{`quality.mising: unknown key; did you mean "quality.missing"?`}},
		{`{"threshold":"high","quality.persist":2.5,"heartbeat":60}`, []string{
			`threshold: got "high", want a finite number`,
			`quality.persist: got 2.5, want a whole number`,
			`heartbeat: got 60, want a duration with a unit`,
		}},
		{`{"threshold":1e39}`, []string{"threshold: got 1e39, want at most 0.9999"}},
		{`{"threshold":"Infinity"}`, []string{`threshold: got "Infinity", want a finite number`}},
		{`{"config":"{"}`, []string{`config: got "{", want a JSON object as one text`}},
		{`{"config":5}`, []string{`config: got 5, want a JSON object as one text`}},
		{`{"config":"{\"config\":\"{}\"}"}`, []string{`must not hold the key config itself`}},
		{`[1,2]`, []string{"want a JSON object"}},
		{`{} {}`, []string{"got more after it"}},
	}
	for _, tt := range tests {
		t.Run(tt.raw, func(t *testing.T) {
			_, err := Parse(json.RawMessage(tt.raw))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestParseOfNothingIsNotConfigured(t *testing.T) {
	for _, raw := range []string{"", " ", "null"} {
		c, err := Parse(json.RawMessage(raw))
		if err != nil || c.Configured() {
			t.Errorf("Parse(%q) = configured %t, error %v; want neither", raw, c.Configured(), err)
		}
	}
}

func TestFingerprintTellsConfigurationsApart(t *testing.T) {
	parse := func(raw string) ADMethodConfig {
		c, err := Parse(json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	same := [2]ADMethodConfig{parse(`{"threshold":0.95,"detector.window":60}`), parse(`{"detector.window":60}`)}
	if a, b := same[0].Fingerprint(), same[1].Fingerprint(); a != b {
		t.Errorf("a default spelled out changes the fingerprint: %s, %s", a, b)
	}
	if a, b := same[0].Fingerprint(), parse(`{"detector.window":61}`).Fingerprint(); a == b {
		t.Error("another window has the same fingerprint")
	}
}

// Where two configurations had one fingerprint, the property bound later, of whatever namespace, would run on the other's.
func TestFingerprintsAreNotForged(t *testing.T) {
	tests := map[string][2]string{
		"a list of two, cut elsewhere": {`{"categories":"on hold,off"}`, `{"categories":"on,hold off"}`},
		"one key within another":       {`{"model":"m Group:g"}`, `{"model":"m","group":"g Group:"}`},
		"one option within another":    {`{"detector.a":"1 b:2"}`, `{"detector.a":"1","detector.b":"2"}`},
		"one adapter within another":   {`{"grpc.target":"a] http:map[target:b"}`, `{"grpc.target":"a","http.target":"b"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got [2]string
			for i, raw := range tt {
				c, err := Parse(json.RawMessage(raw))
				if err != nil {
					t.Fatal(err)
				}
				got[i] = c.Fingerprint()
			}
			if got[0] == got[1] {
				t.Errorf("%s and %s have the same fingerprint %s", tt[0], tt[1], got[0])
			}
		})
	}
}

func TestCycle(t *testing.T) {
	tests := []struct {
		in   int64
		want time.Duration
	}{
		{0, time.Second}, {-5, time.Second}, {500, 500 * time.Millisecond}, {10_000, 10 * time.Second},
		{86_400_000, 24 * time.Hour}, {500_000_000, 500 * time.Millisecond}, {10_000_000_000, 10 * time.Second},
	}
	for _, tt := range tests {
		if got := Cycle(tt.in, time.Second); got != tt.want {
			t.Errorf("Cycle(%d) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func ExampleParse() {
	config, err := Parse(json.RawMessage(`{"detector": "ewma", "detector.window": 60, "threshold": "0.98"}`))
	fmt.Println(config.ADMethodName, config.Detector, config.Threshold, config.Options["detector"]["window"], err)
	_, err = Parse(json.RawMessage(`{"treshold": 0.98}`))
	fmt.Println(err)
	// Output:
	// inprocess ewma 0.98 60 <nil>
	// anomalyDetection: treshold: unknown key; did you mean "threshold"?
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"threshold":0.9}`, `{"config":"{\"a\":{\"b\":[1,2,{}]}}"}`, `{"detector.window":"5"}`,
		`{"a.b.c.d":1e999}`, `{"sinks":",,,"}`, `{"config":"{\"config\":1}"}`, `[`, `{"":""}`, `{".":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("a parsed configuration does not marshal: %v", err)
		}
		second, err := Parse(again)
		if err != nil {
			t.Fatalf("%s does not parse again: %v", again, err)
		}
		if c.Fingerprint() != second.Fingerprint() {
			t.Errorf("%s changed on the way: %s", raw, again)
		}
	})
}

func TestSensitivitySetsTheThreshold(t *testing.T) {
	tests := []struct {
		settings map[string]any
		want     float64
	}{
		{nil, 0.95},
		{map[string]any{"sensitivity": "low"}, 0.98},
		{map[string]any{"sensitivity": "medium"}, 0.95},
		{map[string]any{"sensitivity": "high"}, 0.90},
		{map[string]any{"sensitivity": "high", "threshold": 0.97}, 0.97},
	}
	for _, tt := range tests {
		c, err := ParseSettings(tt.settings)
		if err != nil || c.Threshold != tt.want {
			t.Errorf("%v: threshold %v, %v; want %v", tt.settings, c.Threshold, err, tt.want)
		}
	}
}

func TestAcceptAndLanguage(t *testing.T) {
	tests := []struct {
		accept, language any
		want             time.Duration
		in               driver.Language
		wrong            string
	}{
		{nil, nil, 0, driver.English, ""},
		{"auto", "zh", 0, driver.Chinese, ""},
		{"never", "en", driver.NeverAccept, driver.English, ""},
		{"6h", nil, 6 * time.Hour, driver.English, ""},
		{"-6h", nil, 0, "", `accept: got "-6h", want a duration over 0`},
		{6, nil, 0, "", `accept: got 6, want a duration over 0`},
		{nil, "fr", 0, "", `language: got "fr", want one of en, zh`},
	}
	for _, tt := range tests {
		settings := make(map[string]any)
		if tt.accept != nil {
			settings["accept"] = tt.accept
		}
		if tt.language != nil {
			settings["language"] = tt.language
		}
		c, err := ParseSettings(settings)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%v: %v, want %s", settings, err, tt.wrong)
			}
			continue
		}
		if got := c.DriverSettings(nil); err != nil || got.Accept != tt.want || c.Language != tt.in {
			t.Errorf("%v: accept %v, language %q, %v; want %v, %q", settings, got.Accept, c.Language, err, tt.want, tt.in)
		}
	}
}
