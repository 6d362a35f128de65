// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package params_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// shade is a setting with a notation of its own.
type shade int

func (s *shade) UnmarshalText(text []byte) error {
	if string(text) != "dark" {
		return errors.New("dark")
	}
	*s = 7
	return nil
}

func (s shade) MarshalText() ([]byte, error) { return []byte("dark"), nil }

type common struct {
	Name string `param:"name" doc:"what it is called"`
}

type config struct {
	common
	Common2  common2
	On       bool          `param:"on" doc:"whether it runs"`
	Window   int           `param:"window" min:"2" max:"1000" doc:"readings"`
	Small    int8          `param:"small"`
	Size     uint16        `param:"size"`
	Rate     float64       `param:"rate" min:"0" max:"1" doc:"share"`
	Single   float32       `param:"single"`
	Free     float64       `param:"free" doc:"unset unless given"`
	Rest     time.Duration `param:"rest" min:"1s" max:"1h" doc:"between two alerts"`
	Side     string        `param:"side" enum:"up,down,both"`
	Sinks    []string      `param:"sinks"`
	Shade    shade         `param:"shade"`
	Weird    []int         `param:"weird"`
	Internal int
	TLS      struct {
		CA   string `param:"ca" doc:"certificate authority"`
		Deep struct {
			Depth int `param:"depth" max:"9"`
		} `param:"deep"`
	} `param:"tls"`
}

type common2 struct{ Untagged string }

func defaults() config {
	return config{Window: 60, Rate: 0.5, Free: math.NaN(), Rest: 10 * time.Second, Side: "both", Sinks: []string{"log"}}
}

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]any
		change   func(c *config) // of the defaults
	}{
		"nothing":              {nil, func(*config) {}},
		"integer":              {map[string]any{"window": 5}, func(c *config) { c.Window = 5 }},
		"integer as float":     {map[string]any{"window": 5.0}, func(c *config) { c.Window = 5 }},
		"integer as float32":   {map[string]any{"window": float32(5)}, func(c *config) { c.Window = 5 }},
		"integer as text":      {map[string]any{"window": " 5 "}, func(c *config) { c.Window = 5 }},
		"integer as 5.0 text":  {map[string]any{"window": "5.0"}, func(c *config) { c.Window = 5 }},
		"integer as JSON":      {map[string]any{"window": json.Number("5")}, func(c *config) { c.Window = 5 }},
		"small negative":       {map[string]any{"small": -128}, func(c *config) { c.Small = -128 }},
		"unsigned":             {map[string]any{"size": uint64(65535)}, func(c *config) { c.Size = 65535 }},
		"number":               {map[string]any{"rate": "0.25"}, func(c *config) { c.Rate = 0.25 }},
		"float32 as written":   {map[string]any{"rate": float32(0.1)}, func(c *config) { c.Rate = 0.1 }},
		"number at its bound":  {map[string]any{"rate": 1}, func(c *config) { c.Rate = 1 }},
		"unset becomes set":    {map[string]any{"free": 0}, func(c *config) { c.Free = 0 }},
		"boolean":              {map[string]any{"on": true}, func(c *config) { c.On = true }},
		"boolean as text":      {map[string]any{"on": "true"}, func(c *config) { c.On = true }},
		"duration":             {map[string]any{"rest": "1m30s"}, func(c *config) { c.Rest = 90 * time.Second }},
		"duration as such":     {map[string]any{"rest": time.Minute}, func(c *config) { c.Rest = time.Minute }},
		"enumeration":          {map[string]any{"side": "up"}, func(c *config) { c.Side = "up" }},
		"text out of a number": {map[string]any{"name": 1e6}, func(c *config) { c.Name = "1000000" }},
		"list":                 {map[string]any{"sinks": "log, mqtt,,"}, func(c *config) { c.Sinks = []string{"log", "mqtt"} }},
		"list as such":         {map[string]any{"sinks": []any{"a", 2.0}}, func(c *config) { c.Sinks = []string{"a", "2"} }},
		"list of strings":      {map[string]any{"sinks": []string{"a"}}, func(c *config) { c.Sinks = []string{"a"} }},
		"own notation":         {map[string]any{"shade": "dark"}, func(c *config) { c.Shade = 7 }},
		"nested":               {map[string]any{"tls.ca": "ca.pem", "tls.deep.depth": 3}, func(c *config) { c.TLS.CA, c.TLS.Deep.Depth = "ca.pem", 3 }},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := defaults(), defaults()
			c.change(&want)
			if err := params.Decode(&got, c.settings); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmp.AllowUnexported(config{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"typo":                    {"windw", 5, `windw: unknown key; did you mean "window"?`},
		"untagged field":          {"Internal", 5, "Internal: unknown key"},
		"fraction for an integer": {"window", 5.5, "window: got 5.5, want a whole number (2 … 1000)"},
		"too small":               {"window", 1, "window: got 1, want at least 2"},
		"too large":               {"window", "1001", `window: got "1001", want at most 1000`},
		"words for a number":      {"window", "many", `window: got "many", want a whole number`},
		"boolean for a number":    {"rate", true, "rate: got true, want a finite number (0 … 1)"},
		"NaN":                     {"rate", math.NaN(), "want a finite number"},
		"infinite text":           {"free", "+Inf", "want a finite number"},
		"infinite integer":        {"window", math.Inf(1), "want a whole number"},
		"overflow":                {"small", 128, "want a whole number that fits int8"},
		"overflow of unsigned":    {"size", 65536, "want a whole number that fits uint16"},
		"overflow of float32":     {"single", 1e300, "want a number that fits float32"},
		"negative unsigned":       {"size", -1, "want a whole number that fits uint16"},
		"number for a boolean":    {"on", 1, "on: got 1, want true or false"},
		"duration without unit":   {"rest", 10, "want a duration with a unit"},
		"duration too short":      {"rest", "1ms", "rest: got \"1ms\", want at least 1s"},
		"zero duration":           {"rest", 0, "want at least 1s"},
		"not in the enumeration":  {"side", "left", "want one of up, down, both"},
		"own notation":            {"shade", "light", `shade: got "light", want dark`},
		"null":                    {"name", nil, "name: a value, got null"},
		"null for a number":       {"rate", nil, "rate: a value, got null"},
		"field of an odd type":    {"weird", "1,2", "want a setting of a supported type, not []int"},
		"nested out of bounds":    {"tls.deep.depth", 10, "tls.deep.depth: got 10, want at most 9"},
		"prefix is not a key":     {"tls", "x", "tls: unknown key"},
		"long values are cut":     {"window", strings.Repeat("é", 100), strings.Repeat("é", 63) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			got := defaults()
			err := params.Decode(&got, map[string]any{c.key: c.value})
			var e *params.Error
			if !errors.As(err, &e) || e.Key != c.key || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, want a params.Error that says %s", err, c.want)
			}
			if diff := cmp.Diff(defaults(), got, cmpopts.EquateNaNs(), cmp.AllowUnexported(config{})); diff != "" {
				t.Errorf("a refused setting changed the configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeJoinsAllErrorsInOrder(t *testing.T) {
	c := defaults()
	err := params.Decode(&c, map[string]any{"window": 1, "rate": 2, "zzz": 3, "on": true})
	want := "rate: got 2, want at most 1\nwindow: got 1, want at least 2\nzzz: unknown key"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error is %v, want\n%s", err, want)
	}
	if !c.On || c.Window != 60 || c.Rate != 0.5 {
		t.Errorf("got %+v, want the sound setting applied and the others at their defaults", c)
	}
}

func TestDecodeNeedsAPointerToAStruct(t *testing.T) {
	var nilConfig *config
	for _, dst := range []any{nil, config{}, 5, new(int), nilConfig} {
		if err := params.Decode(dst, nil); err == nil {
			t.Errorf("%T is accepted", dst)
		}
	}
}

func TestDescribe(t *testing.T) {
	got := params.Describe(defaults())
	byKey := map[string]params.Param{}
	for _, p := range got {
		byKey[p.Key] = p
	}
	for _, want := range []params.Param{
		{Key: "name", Type: "text", Doc: "what it is called"},
		{Key: "on", Type: "boolean", Default: "false", Doc: "whether it runs"},
		{Key: "window", Type: "integer", Default: "60", Bounds: "2 … 1000", Doc: "readings"},
		{Key: "rate", Type: "number", Default: "0.5", Bounds: "0 … 1", Doc: "share"},
		{Key: "free", Type: "number", Doc: "unset unless given"},
		{Key: "rest", Type: "duration", Default: "10s", Bounds: "1s … 1h", Doc: "between two alerts"},
		{Key: "side", Type: "text", Default: "both", Bounds: "up | down | both"},
		{Key: "sinks", Type: "list", Default: "log"},
		{Key: "tls.ca", Type: "text", Doc: "certificate authority"},
		{Key: "tls.deep.depth", Type: "integer", Default: "0", Bounds: "≤ 9"},
	} {
		if diff := cmp.Diff(want, byKey[want.Key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Key, diff)
		}
	}
	c := defaults()
	if diff := cmp.Diff(got, params.Describe(&c)); diff != "" {
		t.Errorf("a pointer is described differently:\n%s", diff)
	}
	if keys := params.Keys(c); keys[0] != "name" || len(keys) != len(got) {
		t.Errorf("keys are %v, want one a parameter, in field order", keys)
	}
}

func TestDocumentedDefaultsDecode(t *testing.T) {
	want := defaults()
	want.Shade = 7 // its only notation
	settings := map[string]any{}
	for _, p := range params.Describe(want) {
		if p.Default != "" && p.Key != "weird" {
			settings[p.Key] = p.Default
		}
	}
	got := config{Free: math.NaN()}
	if err := params.Decode(&got, settings); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmp.AllowUnexported(config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFlatten(t *testing.T) {
	var nested map[string]any
	in := `{"detector":{"window":60,"tls":{"ca":"x"}},"sinks":["log",2,true],"threshold":0.9,"gone":null,"empty":{}}`
	if err := json.Unmarshal([]byte(in), &nested); err != nil {
		t.Fatal(err)
	}
	got, err := params.Flatten(nested)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"detector.window": 60.0, "detector.tls.ca": "x", "sinks": "log,2,true", "threshold": 0.9}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFlattenRefuses(t *testing.T) {
	deep := map[string]any{}
	for range 20 {
		deep = map[string]any{"a": deep}
	}
	for name, c := range map[string]struct {
		in   map[string]any
		want string
	}{
		"list of lists":   {map[string]any{"x": []any{[]any{1}}}, "x: got [1], want a list of scalars"},
		"list of objects": {map[string]any{"x": map[string]any{"y": []any{map[string]any{}}}}, "x.y: got map[], want a list of scalars"},
		"list with null":  {map[string]any{"x": []any{nil}}, "x: a list of scalars"},
		"too deep":        {deep, "nested at most 8 levels deep"},
	} {
		if _, err := params.Flatten(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one that says %s", name, err, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"threshold", "detector", "window", "up"}
	for name, want := range map[string]string{
		"treshold":                      "threshold",
		"THRESHOLD":                     "threshold",
		"detecotr":                      "detector", // two neighbours exchanged
		"windows":                       "window",
		"uo":                            "up",
		"":                              "",
		"colour":                        "",
		strings.Repeat("threshold", 30): "",
	} {
		if got := params.Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	if got := params.Nearest("x", nil); got != "" {
		t.Errorf("nothing is known, yet %q is near", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, in := range []string{
		`{"window":5,"rate":0.5,"rest":"10s"}`, `{"sinks":["a",["b"]],"tls":{"ca":null}}`, `{"shade":{"x":1}}`,
		`{"window":1e999}`, `{"size":-0.0,"small":"0x10","weird":[1]}`,
	} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var nested map[string]any
		if json.Unmarshal([]byte(in), &nested) != nil {
			return
		}
		c := defaults()
		_ = params.Decode(&c, nested) // raw, as from a careless caller: must not panic
		flat, err := params.Flatten(nested)
		if err != nil {
			return
		}
		c = defaults()
		err = params.Decode(&c, flat)
		if c.Window < 2 || c.Window > 1000 || !(c.Rate >= 0 && c.Rate <= 1) || c.Rest < time.Second || c.Rest > time.Hour ||
			c.TLS.Deep.Depth > 9 || math.IsInf(float64(c.Single), 0) {
			t.Errorf("%s: %+v is out of bounds", in, c)
		}
		if err != nil {
			again := defaults()
			if second := params.Decode(&again, flat); second == nil || second.Error() != err.Error() {
				t.Errorf("%s: error is %q at first, then %v", in, err, second)
			}
		}
	})
}

func FuzzNearest(f *testing.F) {
	f.Add("treshold")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, name string) {
		known := []string{"threshold", "detector", "window"}
		got := params.Nearest(name, known)
		if got != "" && got != known[0] && got != known[1] && got != known[2] {
			t.Errorf("Nearest(%q) = %q, which is not known", name, got)
		}
	})
}

func ExampleDecode() {
	type Config struct {
		Window int           `param:"window" min:"2" doc:"readings in the window"`
		Rest   time.Duration `param:"rest" doc:"shortest time between two alerts"`
	}
	c := Config{Window: 60, Rest: 10 * time.Second}
	fmt.Println(params.Decode(&c, map[string]any{"window": "120"}), c)

	err := params.Decode(&c, map[string]any{"windw": 5, "rest": 5})
	fmt.Println(err)
	// Output:
	// <nil> {120 10s}
	// rest: got 5, want a duration with a unit, such as "500ms" or "10s"
	// windw: unknown key; did you mean "window"?
}

func ExampleFlatten() {
	flat, err := params.Flatten(map[string]any{"tls": map[string]any{"ca": "ca.pem"}, "sinks": []any{"log", "mqtt"}})
	fmt.Println(flat, err)
	// Output: map[sinks:log,mqtt tls.ca:ca.pem] <nil>
}
