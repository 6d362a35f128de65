// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/reference"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

type stepConfig struct {
	Limit float64 `param:"limit" min:"0" doc:"largest normal step"`
	Mode  string  `param:"mode" enum:"up,down" doc:"direction"`
}

func registries() (*driver.Registry, *admethod.AdapterRegistry, *admethod.SinkRegistry, *source.Registry) {
	drivers := driver.NewRegistry(driver.NewFactory(
		driver.Info{Name: "step", Summary: "finds large steps", Source: "A Paper, section 2", Kinds: []driver.Kind{driver.KindJump, driver.KindSpike}, Members: 4},
		func() stepConfig { return stepConfig{Limit: 10, Mode: "up"} },
		func(driver.Settings, stepConfig) (driver.Detector, error) { return nil, nil },
	))
	adapters := new(admethod.AdapterRegistry)
	adapters.Register("pigeon", admethod.AdapterFactory{Name: "pigeon", Summary: "carries readings by air", Params: func() []params.Param {
		return []params.Param{{Key: "speed", Type: "duration", Default: time.Hour.String(), Doc: "a mile takes"}, {Key: "target", Type: "text", Scope: params.Device, Doc: "where to"}}
	}})
	sinks := new(admethod.SinkRegistry)
	sinks.Register("bin", admethod.SinkFactory{Name: "bin", Summary: "throws verdicts away"})
	sources := new(source.Registry)
	sources.Register("well", source.Factory{Name: "well", Summary: "draws readings", Params: func() []params.Param {
		return []params.Param{{Key: "buckets[].size", Type: "integer", Doc: "of one"}}
	}})
	return drivers, adapters, sinks, sources
}

func TestMarkdown(t *testing.T) {
	r := reference.Of(registries())
	text := r.Markdown()
	const detectors = "## Detectors\n\n### `step`\n\nFinds large steps.\n\nKinds: `jump`, `spike`. Watches up to 4 properties together.\n\n" +
		"Method: A Paper, section 2.\n\n" +
		"| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n" +
		"| `detector.limit` | number | `10` | ≥ 0 | largest normal step |\n" +
		"| `detector.mode` | text | `up` | up \\| down | direction |\n" +
		"\n## Adapters\n\nThe values of `adMethodName`. Their keys are the operator's, for all properties\n(`adapterOptions.NAME`) or for one target of that name (`adapterOptions.NAME.targets.TARGET`); a Device sets those that are\nmarked.\n\n### `pigeon`\n\nCarries readings by air.\n\n" +
		"| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n" +
		"| `pigeon.speed` | duration | `1h0m0s` |  | a mile takes |\n| `pigeon.target` | text |  |  | **Device:** where to |\n" +
		"\n## Sinks\n\nThe values of `sinks`; their settings belong in the mapper's own configuration.\n\n### `bin`\n\nThrows verdicts away.\n" +
		"\n## Sources\n\nWhat the detector that stands alone reads beside what is sent to it: the values of `type` under its `sources`. Of a\nkey such as `topics[].topic` there is one in each mapping of the list.\n\n### `well`\n\nDraws readings.\n\n" +
		"| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n| `buckets[].size` | integer |  |  | of one |\n"
	_, got, _ := strings.Cut(text, "\n## Detectors")
	if diff := cmp.Diff(detectors, "## Detectors"+got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, p := range params.Describe(admethod.DefaultConfig()) {
		if !strings.Contains(text, "| `"+p.Key+"` | "+p.Type) {
			t.Errorf("the key %s is not described", p.Key)
		}
	}
	// What Bind, lint and the admission policy go by is what the reference says.
	const device = "## What a Device may set"
	for _, key := range []string{"enabled", "config", "threshold", "mute", "quality.cycle", "detector.*", "pigeon.target"} {
		if _, table, _ := strings.Cut(text, device); !strings.Contains(table, "| `"+key+"` |") {
			t.Errorf("the key %s is not said to be a Device's", key)
		}
	}
	if _, table, _ := strings.Cut(text, device); strings.Contains(strings.Split(table, "## Detectors")[0], "pigeon.speed") {
		t.Error("a key of the operator is said to be a Device's")
	}
	for range 20 {
		again := reference.Of(registries())
		if again.Markdown() != text {
			t.Fatal("two runs differ")
		}
	}
}

func TestReplace(t *testing.T) {
	const begin, end = reference.BeginMark, reference.EndMark
	for name, c := range map[string]struct{ document, want, err string }{
		"replaces":         {"a\n" + begin + "\nold\n" + end + "\nb\n", "a\n" + begin + "\nnew\n" + end + "\nb\n", ""},
		"fills":            {begin + end, begin + "\nnew\n" + end, ""},
		"no begin":         {"a\n" + end, "", "no line " + begin},
		"no end":           {"a\n" + begin, "", "no line " + end},
		"end before begin": {end + begin, "", "no line " + end},
	} {
		got, err := reference.Replace(c.document, "new\n")
		if got != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %q and error %v, want %q and %q", name, got, err, c.want, c.err)
		}
	}
}

func ExampleDiff() {
	for _, line := range reference.Diff("a\nb\nc\n", "a\nB\nb2\nc\n") {
		fmt.Println(line)
	}
	// Output:
	// 2: - b
	// 2: + B
	// 3: + b2
}
