// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/lint"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const models = `---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: sensor}
spec:
  protocol: modbus
  properties:
  - {name: temperature, type: DOUBLE, accessMode: ReadOnly, minimum: "-40", maximum: "85"}
  - {name: humidity, type: FLOAT, accessMode: ReadOnly}
  - {name: switch, type: STRING, accessMode: ReadWrite}
  - {name: level, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "5"}
`

// deviceWith is a Device with one property whose anomalyDetection holds the given lines. They start at line 18.
func deviceWith(config ...string) string {
	return `apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata:
  name: sensor-1
  namespace: default
spec:
  deviceModelRef:
    name: sensor
  nodeName: edge
  protocol: {protocolName: modbus, configData: {port: 502}}
  properties:
  - name: temperature
    reportCycle: 1000
    collectCycle: 1000
    visitors: {protocolName: modbus, configData: {register: 2}}
    pushMethod:
      anomalyDetection:
        ` + strings.Join(config, "\n        ") + "\n"
}

func findings(t *testing.T, manifests ...string) []lint.Finding {
	t.Helper()
	l := lint.New(pipeline.Options{})
	for i, m := range manifests {
		if err := l.Read(fmt.Sprintf("f%d.yaml", i), strings.NewReader(m)); err != nil {
			t.Fatal(err)
		}
	}
	found, _ := l.Findings()
	return found
}

// brief is a finding in short: the place and the rule. Notices are left out: a test that gives no model gets one.
func brief(found []lint.Finding) []string {
	var out []string
	for _, f := range found {
		if f.Severity == lint.Notice {
			continue
		}
		out = append(out, fmt.Sprintf("%s:%d %s %s", f.File, f.Line, f.Severity, f.Rule))
	}
	return out
}

func TestAnomalyDetection(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config []string
		want   []string
		says   string
	}{
		{"a map", []string{"quality:", "  persist: 4"}, []string{"f0.yaml:19 error nested-value"}, "drops the whole Device"},
		{"a list", []string{"sinks: [log]"}, []string{"f0.yaml:18 error nested-value"}, "--fix"},
		{"an empty map", []string{"detector: auto", "quality: {}"}, []string{"f0.yaml:19 error nested-value"}, "drops the whole Device"},
		{"the key data", []string{"data: x"}, []string{"f0.yaml:18 error data-key"}, "data"},
		{"the key Data", []string{"threshold: 0.9", "Data: x"}, []string{"f0.yaml:19 error data-key"}, "Data"},
		{"null", []string{"detector: null"}, []string{"f0.yaml:18 error null"}, "drops the whole Device"},
		{"2^24 + 1", []string{"detector: range", "detector.upper: 16777217"}, []string{"f0.yaml:19 warning float32"}, "1.6777216e+07"},
		{"many digits", []string{"minDeviation: 0.123456789"}, []string{"f0.yaml:18 warning float32"}, "0.12345679"},
		{"over float32", []string{"minDeviation: 1e39"}, []string{"f0.yaml:18 error value", "f0.yaml:18 error float32"}, "+Inf"},
		{"under float32", []string{"minDeviation: 1e-50"}, []string{"f0.yaml:18 error float32"}, "arrives as 0"},
		{"a typo", []string{"treshold: 0.9"}, []string{"f0.yaml:18 error unknown-key"}, `did you mean "threshold"?`},
		{"a typo in a detector's key", []string{"detector: ewma", "detector.alfa: 0.1"}, []string{"f0.yaml:19 error unknown-key"}, "alpha"},
		{"a typo before the dot", []string{"detecto.window: 60"}, []string{"f0.yaml:18 error unknown-key"}, `did you mean "detector.window"?`},
		{"an unknown detector", []string{"detector: autoo"}, []string{"f0.yaml:18 error unknown-name"}, "autoo"},
		{"an unknown adapter", []string{"adMethodName: carrier-pigeon"}, []string{"f0.yaml:18 error unknown-name"}, "carrier-pigeon"},
		{"an unknown sink", []string{"sinks: log,nowhere"}, []string{"f0.yaml:18 error unknown-name"}, "nowhere"},
		{"a key that the adapter does not know", []string{"inprocess.lanes: 3"}, []string{"f0.yaml:18 error unknown-key"}, "inprocess.lanes"},
		{"a key of an adapter that is not used", []string{"grpc.target: plant-a"}, []string{"f0.yaml:18 warning no-effect"}, "adMethodName: grpc"},
		{"an address", []string{"adMethodName: grpc", "grpc.address: localhost:6804"}, []string{"f0.yaml:19 error not-device"}, "write grpc.target: NAME"},
		{"a file", []string{"adMethodName: http", "http.target: plant-a", "http.token: /etc/shadow"}, []string{"f0.yaml:20 error not-device"}, "adapterOptions.http.targets.NAME (token there)"},
		{"a port to listen on", []string{"adMethodName: http", "http.callback.listen: 0.0.0.0:80"}, []string{"f0.yaml:19 error not-device"}, "write http.target: NAME"},
		{"a file within the JSON text", []string{`config: '{"adMethodName":"grpc","grpc":{"tls":{"ca":"/dev/zero"}}}'`}, []string{"f0.yaml:18 error not-device"}, "write grpc.target: NAME"},
		{"a key of an adapter that is not used and not its own", []string{"grpc.spool.size: 9"}, []string{"f0.yaml:18 warning no-effect", "f0.yaml:18 error not-device"}, ""},
		{"a typo in an adapter's key", []string{"adMethodName: grpc", "grpc.tarqet: plant-a"}, []string{"f0.yaml:19 error unknown-key"}, `did you mean "target"?`},
		{"an unknown fallback", []string{"adMethodName: grpc", "grpc.fallback: autoo"}, []string{"f0.yaml:19 error value"}, "unknown detector"},
		{"a typo in a fallback's key", []string{"adMethodName: grpc", "grpc.fallback: ewma", "grpc.fallback.alfa: 0.1"}, []string{"f0.yaml:20 error unknown-key"}, "alpha"},
		{"out of a fallback's range", []string{"adMethodName: http", "http.fallback: mad", "http.fallback.window: -4"}, []string{"f0.yaml:20 error value"}, "http.fallback.window"},
		{"out of range", []string{"threshold: 7"}, []string{"f0.yaml:18 error value"}, "at most 0.9999"},
		{"out of a detector's range", []string{"detector: mad", "detector.window: -4"}, []string{"f0.yaml:19 error value"}, "detector.window"},
		{"a fraction for an integer", []string{"clear: 1.5"}, []string{"f0.yaml:18 error value"}, "whole number"},
		{"no unit", []string{`heartbeat: "60"`}, []string{"f0.yaml:18 error value"}, "unit"},
		{"no window", []string{`mute: "noon"`}, []string{"f0.yaml:18 error value"}, "mute"},
		{"a model elsewhere", []string{"model: ../../etc/passwd"}, []string{"f0.yaml:18 error value"}, "model directory"},
		{"in the JSON text", []string{`config: '{"detector":{"windo":60}}'`}, []string{"f0.yaml:18 error unknown-key"}, "windo"},
		{"no JSON text", []string{`config: '{"detector":'`}, []string{"f0.yaml:18 error value"}, "JSON"},
		{"all at once", []string{"treshold: 0.9", "detector: autoo", "clear: 0", "data: x"}, []string{
			"f0.yaml:18 error unknown-key", "f0.yaml:19 error unknown-name", "f0.yaml:20 error value", "f0.yaml:21 error data-key",
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := findings(t, deviceWith(tt.config...), models)
			if diff := cmp.Diff(tt.want, brief(found)); diff != "" {
				t.Fatalf("findings (-want +got):\n%s%+v", diff, found)
			}
			if said := found[0].Message + " " + found[0].Remedy; !strings.Contains(said, tt.says) {
				t.Errorf("says %q, want it to mention %q", said, tt.says)
			}
		})
	}
}

func TestDevices(t *testing.T) {
	good := deviceWith("detector: auto")
	member := func(name, namespace, property string, cycle int, config string) string {
		return fmt.Sprintf(`---
apiVersion: devices.kubeedge.io/v1beta1
metadata: {name: %s, namespace: %s}
kind: Device
spec:
  <<: {nodeName: edge, protocol: {protocolName: modbus}, deviceModelRef: {name: sensor}}
  properties:
  - name: %s
    reportCycle: %d
    visitors: {configData: {a: b}}
    pushMethod: {anomalyDetection: {group: room, %s}}
`, name, namespace, property, cycle, config)
	}
	for _, tt := range []struct {
		name      string
		manifests []string
		want      []string
	}{
		{"not in the model", []string{strings.Replace(good, "name: temperature", "name: temprature", 1), models}, []string{"f0.yaml:12 error model-property"}},
		{"a model that was not given", []string{strings.Replace(good, "name: temperature", "name: temprature", 1)}, nil},
		{"no model named", []string{strings.Replace(good, "  deviceModelRef:\n    name: sensor\n", "", 1)}, []string{"f0.yaml:7 error model"}},
		{"mqtt beside", []string{strings.Replace(good, "pushMethod:", "pushMethod:\n      mqtt: {topic: t}", 1)}, []string{"f0.yaml:17 warning push-beside"}},
		{"http beside", []string{strings.Replace(good, "pushMethod:", "pushMethod:\n      http: {port: 80}", 1)}, []string{"f0.yaml:17 warning push-beside"}},
		{"a database beside", []string{strings.Replace(good, "pushMethod:", "pushMethod:\n      dbMethod: {redis: {}}", 1)}, nil},
		{"no visitors", []string{strings.Replace(good, "    visitors: {protocolName: modbus, configData: {register: 2}}\n", "", 1)}, []string{"f0.yaml:12 warning visitors"}},
		{"nested visitors", []string{strings.Replace(good, "register: 2", "register: {a: 2}", 1)}, []string{"f0.yaml:15 error nested-value"}},
		{"ReadWrite without desired", []string{strings.Replace(good, "name: temperature", "name: level", 1), models}, []string{"f0.yaml:12 warning desired"}},
		{"a value that no twin carries", []string{strings.Replace(good, "name: temperature", "name: level\n    desired: {value: \"{on}\"}", 1), models}, []string{"f0.yaml:13 error twin-value"}},
		{"a value that is no text", []string{strings.Replace(good, "name: temperature", "name: level\n    desired: {value: 3}", 1), models}, []string{"f0.yaml:13 error type"}},
		{"a property twice", []string{strings.Replace(good, "  properties:\n", "  properties:\n  - {name: temperature}\n", 1)}, []string{"f0.yaml:13 error duplicate"}},
		{"an old version", []string{strings.Replace(good, "v1beta1", "v1alpha2", 1)}, []string{"f0.yaml:1 warning api-version"}},
		{"a bad name", []string{strings.Replace(good, "sensor-1", "Sensor_1", 1)}, []string{"f0.yaml:4 error name"}},
		{"no YAML", []string{"kind: [", good}, []string{"f0.yaml:1 error yaml"}},
		{"broken after a good document", []string{good + "---\na: {\n"}, []string{"f0.yaml:20 error yaml"}},
		{"a group of one", []string{deviceWith("group: room", "detector: autogroup")}, []string{"f0.yaml:18 warning group-alone"}},
		{"a detector that takes no groups", []string{
			member("a", "default", "temperature", 1000, "detector: ewma"), member("b", "default", "temperature", 1000, "detector: ewma"),
		}, []string{"f0.yaml:11 error config", "f1.yaml:11 error config"}},
		{"members that differ", []string{
			member("a", "default", "temperature", 1000, "detector: pca"), member("b", "default", "temperature", 1000, "detector: knn"),
		}, []string{"f1.yaml:11 error group-differs"}},
		{"members that cannot align", []string{
			member("a", "default", "temperature", 1000, "detector: pca, rows.maxAge: 5s"), member("b", "default", "temperature", 10000, "detector: pca, rows.maxAge: 5s"),
		}, []string{"f0.yaml:11 error group-align", "f1.yaml:11 error group-align"}},
		{"members far apart", []string{
			member("a", "default", "temperature", 1000, "detector: pca"), member("b", "default", "temperature", 10000, "detector: pca"),
		}, []string{"f0.yaml:11 warning group-align"}},
		{"a group over two namespaces", []string{
			member("a", "x", "temperature", 1000, "detector: pca") + member("b", "x", "humidity", 1000, "detector: pca"),
			member("c", "y", "temperature", 1000, "detector: pca") + member("d", "y", "humidity", 1000, "detector: pca"),
		}, []string{
			"f0.yaml:11 warning group-namespaces", "f0.yaml:22 warning group-namespaces",
			"f1.yaml:11 warning group-namespaces", "f1.yaml:22 warning group-namespaces",
		}},
		{"bounds in the wrong order", []string{strings.Replace(models, `"-40"`, `"100"`, 1)}, []string{"f0.yaml:8 error model-bounds"}},
		{"bounds that are no numbers", []string{strings.Replace(models, `"-40"`, `"cold"`, 1)}, []string{"f0.yaml:8 warning model-bounds"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := findings(t, tt.manifests...)
			if diff := cmp.Diff(tt.want, brief(found)); diff != "" {
				t.Errorf("findings (-want +got):\n%s%+v", diff, found)
			}
		})
	}
}

// What lint knows of adapters and sinks comes from the registries, so that one that is linked is one that it knows.
// The committed policy, which others read as a file, is the one of the adapters of this project.
func TestPolicyIsCurrent(t *testing.T) {
	committed, err := os.ReadFile("policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := lint.Policy(pipeline.Options{})
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("policy.yaml", []byte(got), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(committed), got); diff != "" {
		t.Errorf("UPDATE=1 go test writes it anew (-committed +current):\n%s", diff)
	}
	if !strings.Contains(got, "'grpc.target'") || strings.Contains(got, "address'") {
		t.Error("the policy lets addresses pass, or keeps targets out")
	}
	allowing := lint.Policy(pipeline.Options{AdapterOptions: map[string]map[string]any{"grpc": {"allow.ns": "*.svc"}}})
	if !strings.Contains(allowing, "'grpc.address'") || strings.Contains(allowing, "'http.address'") {
		t.Error("the policy of an operator who allows addresses over grpc does not")
	}
}

func TestRegistries(t *testing.T) {
	for _, f := range admethod.Adapters.Items() {
		if f.Params == nil {
			continue
		}
		for _, p := range f.Params() {
			key := f.Name + "." + p.Key
			found := findings(t, deviceWith("adMethodName: "+f.Name, fmt.Sprintf("%q: x", key+"x")))
			if !slices.ContainsFunc(found, func(f lint.Finding) bool {
				return f.Rule == "unknown-key" && f.Line == 19 && strings.Contains(f.Message, "did you mean")
			}) {
				t.Errorf("%sx: %+v", key, found)
			}
		}
	}
	for _, f := range admethod.Sinks.Items() {
		if found := brief(findings(t, deviceWith("sinks: "+f.Name))); len(found) != 0 {
			t.Errorf("sink %s: %+v", f.Name, found)
		}
	}

	type config struct {
		Loft string `param:"loft" scope:"device" doc:"where it is at home"`
	}
	adapters, sinks := new(admethod.AdapterRegistry), new(admethod.SinkRegistry)
	adapters.Register("pigeon", admethod.AdapterFactory{
		Name: "pigeon", Params: func() []params.Param { return params.Describe(config{}) },
		Check: func(settings map[string]any) error { return params.Decode(new(config), settings) },
	})
	sinks.Register("bell", admethod.SinkFactory{Name: "bell"})
	for manifest, want := range map[string][]string{
		deviceWith("adMethodName: pigeon", "pigeon.loft: roof", "sinks: bell"):    nil,
		deviceWith("adMethodName: pigeon", "pigeon.lofd: roof", "sinks: bell"):    {"f.yaml:19 error unknown-key"},
		deviceWith("adMethodName: pigeon", "pigeon.loft: roof", "sinks: bel"):     {"f.yaml:20 error unknown-name"},
		deviceWith("adMethodName: inprocess", "pigeon.loft: roof", "sinks: bell"): {"f.yaml:18 error unknown-name", "f.yaml:19 warning no-effect"},
	} {
		l := lint.New(pipeline.Options{Adapters: adapters, Sinks: sinks})
		if err := l.Read("f.yaml", strings.NewReader(manifest)); err != nil {
			t.Fatal(err)
		}
		found, _ := l.Findings()
		if diff := cmp.Diff(want, brief(found)); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", manifest, diff)
		}
	}
}

// Manifests of every shape that works pass without a word.
func TestValidManifestsPass(t *testing.T) {
	valid := map[string]string{
		"nothing": "", "comment": "# nothing\n", "other kinds": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {data: x}\n",
		"models alone":      models,
		"without detection": strings.Split(deviceWith(), "    pushMethod:")[0],
		"null detection":    strings.Replace(deviceWith(), "anomalyDetection:", "anomalyDetection: null", 1),
		"empty detection":   strings.Replace(deviceWith(), "anomalyDetection:\n        \n", "anomalyDetection: {}\n", 1),
		"no namespace":      strings.Replace(deviceWith("detector: auto"), "  namespace: default\n", "", 1),
		"windows line ends": strings.ReplaceAll(deviceWith("detector: auto"), "\n", "\r\n"),
		"comments":          deviceWith("# the detector", "detector: auto # as it is"),
		"quoted keys":       deviceWith(`"detector": "auto"`),
		"flow style":        strings.Replace(deviceWith(), "anomalyDetection:", "anomalyDetection: {detector: ewma, detector.alpha: 0.1}", 1),
		"an anchor": strings.Replace(deviceWith("<<: *ad"), "  properties:\n",
			"  properties:\n  - name: humidity\n    visitors: {configData: {register: 3}}\n    pushMethod: {anomalyDetection: &ad {detector: ewma}}\n", 1),
		"a list of manifests": "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(deviceWith("detector: auto")), "\n", "\n  ") + "\n",
		"ReadWrite":           strings.Replace(deviceWith("detector: states"), "name: temperature", "name: switch\n    desired: {value: \"ON\"}", 1) + models,
		"desired empty":       strings.Replace(deviceWith("detector: auto"), "name: temperature", "name: switch\n    desired: {value: \"\"}", 1) + models,
		"a chinese comment":   deviceWith("# 检测器", "detector: auto"),
		"a group": deviceWith("group: room", "detector: autogroup") + "---\n" + strings.Replace(
			strings.Replace(deviceWith("group: room", "detector: autogroup"), "sensor-1", "sensor-2", 1), "name: temperature", "name: humidity", 1) + models,
	}
	asJSON, err := yaml.YAMLToJSON([]byte(deviceWith("detector: auto", "threshold: 0.9")))
	if err != nil {
		t.Fatal(err)
	}
	valid["JSON"] = string(asJSON)
	for _, config := range []string{
		"threshold: 0.95", `threshold: "0.95"`, "threshold: 0.5", "sensitivity: high", "direction: up", "minDeviation: 0.25",
		`mute: "22:00-06:00"`, `mute: "Sat-Sun,12:00-12:30"`, "timezone: Europe/Berlin", "clear: 5", "clear: 5.0", `clear: "5"`, "heartbeat: 5m",
		"sinks: log", "quality.cycle: 10s", "quality.missing: 0", "quality.late: 2.5", "quality.persist: 4", "rows.evaluate: each",
		"model: room.model", "model: site/room.model", "adMethodName: inprocess",
		`config: '{"detector":{"window":60}}'`, `config: '{}'`, "detector: ewma", "detector: auto",
	} {
		if strings.HasPrefix(config, "config: '{\"detector") {
			valid[config] = deviceWith("detector: mad", config)
			continue
		}
		valid[config] = deviceWith(config)
	}
	for _, f := range driver.Default.Factories() {
		if f.Info().Members < 2 {
			valid["detector "+f.Info().Name] = deviceWith("detector: " + f.Info().Name)
		}
	}
	if len(valid) < 50 {
		t.Errorf("%d manifests, want at least 50 shapes", len(valid))
	}
	for name, manifest := range valid {
		t.Run(name, func(t *testing.T) {
			if found := brief(findings(t, manifest)); len(found) > 0 {
				t.Error(found)
			}
		})
	}
}

func TestFix(t *testing.T) {
	before, err := os.ReadFile("testdata/fix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fixed, changes, err := lint.Fix(before, nil)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/fix.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), string(fixed)); diff != "" {
		t.Errorf("fixed (-want +got):\n%s", diff)
	}
	if changes != 4 {
		t.Errorf("%d changes, want 4", changes)
	}
	if found := brief(findings(t, string(fixed))); len(found) != 0 {
		t.Errorf("after the fix: %+v", found)
	}
	again, changes, err := lint.Fix(fixed, nil)
	if err != nil || changes != 0 || !bytes.Equal(again, fixed) {
		t.Errorf("a second fix: %d changes, error %v", changes, err)
	}
	if same, changes, err := lint.Fix([]byte(deviceWith("detector: auto", "", "")), nil); changes != 0 || err != nil || string(same) != deviceWith("detector: auto", "", "") {
		t.Errorf("what needs no fix was changed: %d, %v", changes, err)
	}
}

func TestWrite(t *testing.T) {
	found := []lint.Finding{{
		File: "a,b:c.yaml", Line: 3, Column: 5, Severity: lint.Error, Rule: "value", Object: "default/d", Property: "p",
		Message: "50%\nor so", Remedy: "less",
	}}
	for _, c := range []struct {
		write func(io.Writer, []lint.Finding) error
		want  string
	}{
		{lint.WriteText, "a,b:c.yaml:3:5: error [value] default/d/p: 50%\nor so\n    remedy: less\n"},
		{lint.WriteGitHub, "::error file=a%2Cb%3Ac.yaml,line=3,col=5,title=value::default/d/p: 50%25%0Aor so%0Aremedy: less\n"},
	} {
		var b bytes.Buffer
		if err := c.write(&b, found); err != nil || b.String() != c.want {
			t.Errorf("%v\ngot  %q\nwant %q", err, b.String(), c.want)
		}
	}
}

func FuzzLint(f *testing.F) {
	f.Add(deviceWith("detector: auto") + models)
	f.Add(deviceWith("detector: {window: 60, names: [a]}", "threshold: 16777217", "data: x"))
	f.Add("a: &a [*a]\n")
	f.Add("<<: &a {<<: *a}\nkind: Device\napiVersion: devices.kubeedge.io/v1beta1\n")
	f.Fuzz(func(t *testing.T, manifest string) {
		l := lint.New(pipeline.Options{})
		if err := l.Read("f", strings.NewReader(manifest)); err != nil {
			t.Fatal(err)
		}
		found, _ := l.Findings()
		for _, finding := range found {
			if finding.Line < 1 || finding.Message == "" {
				t.Errorf("%+v", finding)
			}
		}
		fixed, changes, err := lint.Fix([]byte(manifest), nil)
		if err != nil || changes == 0 {
			return
		}
		if _, again, err := lint.Fix(fixed, nil); err != nil || again != 0 {
			t.Errorf("the fix needs another: %d changes, error %v\n%s", again, err, fixed)
		}
	})
}
