// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

func verdictOn(device, property string, severity driver.Severity) driver.Result {
	r := driver.Result{
		Key: driver.Key{Namespace: "ns", Device: device, Property: property}, At: time.Unix(1, 0),
		Severity: severity, Score: 0.1,
	}
	if severity.Anomalous() {
		r.Kind, r.Score = driver.KindJump, 0.97
	}
	return r
}

func write(t *testing.T, v *Verdicts, results ...driver.Result) {
	t.Helper()
	if err := v.Write(t.Context(), results); err != nil {
		t.Fatal(err)
	}
}

func TestVerdictsState(t *testing.T) {
	const anything = "anything"
	type verdicts map[string]driver.Severity
	for _, tt := range []struct {
		name     string
		config   VerdictsConfig
		own      string
		verdicts verdicts
		want     string
	}{
		{"nobody knows", VerdictsConfig{}, "", nil, ""},
		{"no verdict", VerdictsConfig{}, "ok", nil, "ok"},
		{"critical", VerdictsConfig{}, "ok", verdicts{"a": driver.Critical}, "unhealthy"},
		{"critical while online", VerdictsConfig{}, "online", verdicts{"a": driver.Critical}, "unhealthy"},
		{"critical, and the driver does not know", VerdictsConfig{}, "unknown", verdicts{"a": driver.Critical}, "unhealthy"},
		{"critical, before the driver said anything", VerdictsConfig{}, "", verdicts{"a": driver.Critical}, "unhealthy"},
		{"the worst counts", VerdictsConfig{}, "ok", verdicts{"a": driver.Normal, "b": driver.Critical, "c": driver.Unknown}, "unhealthy"},
		{"the device as a whole", VerdictsConfig{}, "ok", verdicts{"": driver.Critical, "a": driver.Normal}, "unhealthy"},
		{"offline wins", VerdictsConfig{}, "offline", verdicts{"a": driver.Normal}, "offline"},
		{"offline wins over critical", VerdictsConfig{}, "offline", verdicts{"a": driver.Critical}, "offline"},
		{"unhealthy by itself", VerdictsConfig{}, "unhealthy", verdicts{"a": driver.Normal}, "unhealthy"},
		{"warning is not critical", VerdictsConfig{}, "ok", verdicts{"a": driver.Warning}, "ok"},
		{"warning is enough", VerdictsConfig{Severity: "warning"}, "ok", verdicts{"a": driver.Warning}, "unhealthy"},
		{"normal", VerdictsConfig{}, "online", verdicts{"a": driver.Normal}, "online"},
		{"normal, and the driver does not know", VerdictsConfig{}, "unknown", verdicts{"a": driver.Normal}, "ok"},
		{"normal, before the driver said anything", VerdictsConfig{}, "", verdicts{"a": driver.Normal}, ""},
		{"warming up has no say", VerdictsConfig{}, "unknown", verdicts{"a": driver.Unknown}, "unknown"},
		{"switched off", VerdictsConfig{Severity: anything}, "ok", verdicts{"a": driver.Critical}, "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := NewVerdicts()
			c := DefaultVerdictsConfig()
			switch tt.config.Severity {
			case anything:
				c.State = false
			case "warning":
				c.Severity = "warning"
			}
			v.configure(c)
			for property, severity := range tt.verdicts {
				write(t, v, verdictOn("a", property, severity), verdictOn("b", property, driver.Critical))
			}
			if got := v.state(driver.Key{Namespace: "ns", Device: "a"}, tt.own); got != tt.want {
				t.Errorf("state %q, want %q", got, tt.want)
			}
		})
	}
}

// A device is unhealthy from the beginning of an incident to its end, without a break, whatever single verdicts say.
func TestVerdictsHoldForAnIncident(t *testing.T) {
	v, device := NewVerdicts(), driver.Key{Namespace: "ns", Device: "a"}
	during := func(phase driver.Phase, severity, worst driver.Severity) driver.Result {
		r := verdictOn("a", "x", severity)
		r.Incident = driver.Incident{ID: 1, Phase: phase, Severity: worst, Kind: driver.KindLevel}
		return r
	}
	for i, step := range []struct {
		verdict     driver.Result
		state, twin string
	}{
		{verdictOn("a", "x", driver.Normal), "ok", "normal"},
		{during(driver.Began, driver.Warning, driver.Warning), "ok", "warning:level:0.97"},
		{during(driver.Lasts, driver.Critical, driver.Critical), "unhealthy", "critical:level:0.97"},
		{during(driver.Lasts, driver.Warning, driver.Critical), "unhealthy", "critical:level:0.97"},
		{during(driver.Lasts, driver.Unknown, driver.Critical), "unhealthy", "critical:level:0.10"},
		{during(driver.Lasts, driver.Normal, driver.Critical), "unhealthy", "critical:level:0.10"},
		{during(driver.NewNormal, driver.Normal, driver.Critical), "ok", "normal"},
		{during(driver.Abandoned, driver.Unknown, driver.Critical), "ok", "unknown"},
	} {
		write(t, v, step.verdict)
		if got := v.state(device, "ok"); got != step.state {
			t.Errorf("step %d: state %q, want %q", i, got, step.state)
		}
		if o, _ := v.latest(driver.Key{Namespace: "ns", Device: "a", Property: "x"}); o.text != step.twin {
			t.Errorf("step %d: twin %q, want %q", i, o.text, step.twin)
		}
	}
}

func TestVerdictText(t *testing.T) {
	for want, r := range map[string]driver.Result{
		"critical:jump:0.97":       {Severity: driver.Critical, Kind: driver.KindJump, Score: 0.9712},
		"warning:outOfOrder:0.95":  {Severity: driver.Warning, Kind: driver.KindOutOfOrder, Score: 0.95},
		"normal":                   {Severity: driver.Normal, Score: 0.2},
		"unknown":                  {Score: math.NaN()},
		"unknown:failed":           {Kind: driver.KindFailed, Score: math.NaN()},
		"critical:-:1.00":          {Severity: driver.Critical, Score: math.Inf(1)},
		"critical:my_kind_1:0.00":  {Severity: driver.Critical, Kind: "my kind:1", Score: -3},
		"critical:-:0.99":          {Severity: driver.Critical, Kind: "跳跃", Score: 0.99},
		"severity77:state/on:0.50": {Severity: 77, Kind: "state|on", Score: 0.5},
	} {
		if got := VerdictText(&r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

var legalText = regexp.MustCompile(`^[a-zA-Z0-9-_.,:/@#]{1,512}$`)

// Whatever a detector says, EdgeCore takes the twin.
func FuzzVerdictText(f *testing.F) {
	f.Add(uint8(3), "jump", 0.97)
	f.Add(uint8(0), "failed", math.NaN())
	f.Add(uint8(2), "{\"a\": [1, 2]}", math.Inf(-1))
	f.Add(uint8(9), strings.Repeat("ä:", 400), 1e300)
	f.Fuzz(func(t *testing.T, severity uint8, kind string, score float64) {
		r := driver.Result{Severity: driver.Severity(severity), Kind: driver.Kind(kind), Score: score}
		text := VerdictText(&r)
		if !legalText.MatchString(text) || LegalTwinValue(text) != text {
			t.Errorf("%q is not legal", text)
		}
		fields := strings.Split(text, ":")
		if len(fields) > 3 || len(text) > 100 {
			t.Errorf("%q: want three fields at most, and short", text)
		}
		if severity <= uint8(driver.Critical) && fields[0] != r.Severity.String() {
			t.Errorf("%q does not begin with the severity", text)
		}
		if len(fields) == 3 && (math.IsNaN(score) || severity == uint8(driver.Normal)) {
			t.Errorf("%q tells a score that is not there, or not worth telling", text)
		}
	})
}

// verdictPanel runs a device with a property, the twin of its verdicts, and another one of that name with a visitor.
func verdictPanel(t *testing.T, room *fakeDriver) (*Panel, *Verdicts, *fakeReporter) {
	t.Helper()
	v, r := NewVerdicts(), &fakeReporter{}
	dev := fakeDevice("a", "x", "x-anomaly", "y", "y-anomaly", "z-anomaly")
	dev.Properties[3].Visitors = json.RawMessage(`{"protocolName":"fake","configData":{"register":3}}`)
	p := startPanel(t, PanelOptions{Driver: room, Reporter: r, Verdicts: v}, dev)
	return p, v, r
}

// The twin of verdicts is the mapper's, not the device's: it is never read. One with a visitor, or of no other property,
// is the device's.
func TestVerdictTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &fakeDriver{}
		p, v, r := verdictPanel(t, room)
		advance(500 * time.Millisecond)
		for property, want := range map[string]int{"x": 1, "x-anomaly": 0, "y": 1, "y-anomaly": 1, "z-anomaly": 1} {
			if n := room.count("a/" + property); n != want {
				t.Errorf("%s was read %d times, want %d", property, n, want)
			}
		}
		if value, _, err := p.GetTwinResult("ns/a", "x-anomaly"); err != nil || value != "" {
			t.Errorf("twin before the first verdict: %q, %v", value, err)
		}
		write(t, v, verdictOn("a", "x", driver.Critical), verdictOn("a", "y", driver.Warning), verdictOn("a", "z", driver.Warning),
			verdictOn("a", "", driver.Warning), verdictOn("other", "x", driver.Critical))
		twins, _, _ := r.all()
		verdicts := slices.DeleteFunc(twins, func(s string) bool { return !strings.Contains(s, "critical") && !strings.Contains(s, "warning") })
		if diff := cmp.Diff([]string{"x-anomaly=critical:jump:0.97"}, verdicts); diff != "" {
			t.Errorf("twins (-want +got):\n%s", diff)
		}
		if value, kind, err := p.GetTwinResult("ns/a", "x-anomaly"); err != nil || value != "critical:jump:0.97" || kind != "float" {
			t.Errorf("twin: %q, %q, %v", value, kind, err)
		}
		if err := p.UpdateDevTwins("ns/a", nil); err != nil {
			t.Error(err)
		}
		if raw, err := p.DealDeviceTwinGet("ns/a", ""); err != nil {
			t.Errorf("all twins: %s, %v", raw, err)
		}
		if err := p.WriteDevice("m", "ns/a", "x-anomaly", "1"); err == nil {
			t.Error("a verdict was written")
		}

		// The property comes and goes with the Device; the verdict that is known is reported at once.
		p.UpdateDev(nil, fakeDevice("a", "x"))
		write(t, v, verdictOn("a", "x", driver.Normal))
		p.UpdateDev(nil, fakeDevice("a", "x", "x-anomaly"))
		synctest.Wait()
		twins, _, _ = r.all()
		if got := twins[len(twins)-1]; got != "x-anomaly=normal" {
			t.Errorf("last twin %q", got)
		}

		// As other twins, it is reported if the Device says so.
		quiet := fakeDevice("a", "x", "x-anomaly")
		quiet.Properties[1].ReportToCloud = false
		p.UpdateDev(nil, quiet)
		write(t, v, verdictOn("a", "x", driver.Critical))
		if after, _, _ := r.all(); slices.Contains(after[len(twins):], "x-anomaly=critical:jump:0.97") {
			t.Error("reported although reportToCloud is not set")
		}
	})
}

// A verdict does not outlive what it is on: its twin is off when detection is removed, when the property goes, and from
// the start where nothing is watched, as after a restart of the mapper. It is off once.
func TestVerdictTwinsAreCleared(t *testing.T) {
	watched := func(properties ...string) *common.DeviceInstance {
		dev := fakeDevice("a", properties...)
		dev.Properties[0].PushMethod.AnomalyDetectionEnabled = true
		return dev
	}
	for name, after := range map[string]*common.DeviceInstance{
		"detection is removed": fakeDevice("a", "x", "x-anomaly"),
		"the property goes":    fakeDevice("a", "x-anomaly", "y"),
		"watched on":           watched("x", "x-anomaly", "y"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, r := NewVerdicts(), &fakeReporter{}
				room := &fakeDriver{}
				p := startPanel(t, PanelOptions{Driver: room, Reporter: r, Verdicts: v, Detection: &fakeDetection{}}, watched("x", "x-anomaly"))
				advance(time.Second)
				write(t, v, verdictOn("a", "x", driver.Critical))
				before, _, _ := r.all()
				if !slices.Contains(before, "x-anomaly=critical:jump:0.97") || slices.Contains(before, "x-anomaly=off") {
					t.Fatalf("twins %v", before)
				}
				p.UpdateDev(nil, after)
				advance(time.Second)
				write(t, v, verdictOn("a", "x", driver.Critical)) // was on its way
				v.Forget(driver.Key{Namespace: "ns", Device: "a", Property: "x"})
				advance(3 * time.Second)
				twins, _, _ := r.all()
				verdicts := slices.DeleteFunc(twins[len(before):], func(s string) bool { return !strings.HasPrefix(s, "x-anomaly") })
				want := []string{"x-anomaly=off"}
				if name == "watched on" {
					want = []string{"x-anomaly=critical:jump:0.97"}
				}
				if diff := cmp.Diff(want, slices.Compact(verdicts)); diff != "" {
					t.Errorf("twins (-want +got):\n%s", diff)
				}
				if n := room.count("a/x-anomaly"); n != 0 {
					t.Errorf("the twin was read %d times from the device", n)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := &fakeReporter{}
		startPanel(t, PanelOptions{Driver: &fakeDriver{}, Reporter: r, Verdicts: NewVerdicts(), Detection: &fakeDetection{}}, fakeDevice("a", "x", "x-anomaly"))
		advance(time.Second)
		if twins, _, _ := r.all(); !slices.Contains(twins, "x-anomaly=off") {
			t.Errorf("twins from the start: %v", twins)
		}
	})
}

func TestVerdictStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		room := &fakeDriver{state: func(context.Context) (string, error) {
			if down.Load() {
				return "", ErrNotConnected
			}
			return common.DeviceStatusOK, nil
		}, connect: func(context.Context, *common.DeviceInstance) error {
			if down.Load() {
				return ErrNotConnected
			}
			return nil
		}}
		p, v, r := verdictPanel(t, room)
		states := func() string { // without repetitions
			_, states, _ := r.all()
			return strings.Join(slices.Compact(states), " ")
		}
		want := func(what, want string) {
			t.Helper()
			if got := states(); got != want {
				t.Errorf("%s: states %q, want %q", what, got, want)
			}
		}
		advance(time.Second)
		want("connected", "a=ok")
		write(t, v, verdictOn("a", "x", driver.Critical))
		want("critical", "a=ok a=unhealthy")
		if state, err := p.DeviceState("ns/a"); err != nil || state != "unhealthy" {
			t.Errorf("state %q, %v", state, err)
		}
		advance(time.Minute) // the driver says ok all the time
		want("the driver does not overrule", "a=ok a=unhealthy")

		down.Store(true)
		advance(20 * time.Second)
		want("offline", "a=ok a=unhealthy a=offline")
		write(t, v, verdictOn("a", "x", driver.Normal), verdictOn("a", "y", driver.Critical))
		want("offline wins", "a=ok a=unhealthy a=offline")
		down.Store(false)
		advance(2 * time.Minute)
		want("back, with y critical", "a=ok a=unhealthy a=offline a=unhealthy")
		v.Forget(driver.Key{Namespace: "ns", Device: "a", Property: "y"})
		want("y is no longer watched", "a=ok a=unhealthy a=offline a=unhealthy a=ok")

		// A verdict that does not change is said again, for a reporter that knows when that is worth it.
		_, before, _ := r.all()
		write(t, v, verdictOn("a", "x", driver.Normal))
		if _, after, _ := r.all(); len(after) != len(before)+1 {
			t.Errorf("%d reports of a verdict that is repeated", len(after)-len(before))
		}
	})
}

// A device that is removed is reported no more; one that comes back at once, as EdgeCore's updates may, is as it was.
func TestVerdictsOfDevicesThatGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, v, r := verdictPanel(t, &fakeDriver{})
		advance(time.Second)
		write(t, v, verdictOn("a", "x", driver.Critical))
		if err := p.RemoveDevice("ns/a"); err != nil {
			t.Fatal(err)
		}
		twins, states, _ := r.all()
		write(t, v, verdictOn("a", "x", driver.Critical)) // was on its way
		advance(time.Second)
		if moreTwins, moreStates, _ := r.all(); len(moreTwins) != len(twins) || len(moreStates) != len(states) {
			t.Errorf("reported after it was removed: %v, %v", moreTwins[len(twins):], moreStates[len(states):])
		}
		p.UpdateDev(nil, fakeDevice("a", "x", "x-anomaly"))
		advance(time.Second)
		moreTwins, moreStates, _ := r.all()
		if !slices.Contains(moreTwins[len(twins):], "x-anomaly=critical:jump:0.97") {
			t.Errorf("twins after it came back: %v", moreTwins[len(twins):])
		}
		if got := moreStates[len(states):]; len(got) == 0 || slices.Contains(got, "a=ok") {
			t.Errorf("states after it came back: %v", got)
		}
		if err := p.RemoveDevice("ns/a"); err != nil {
			t.Fatal(err)
		}
		v.Forget(driver.Key{Namespace: "ns", Device: "a", Property: "x"}) // the handler has waited long enough
		if len(v.devices) != 0 {
			t.Errorf("still remembered: %v", v.devices)
		}
	})
}

func TestVerdictsLink(t *testing.T) {
	v := NewVerdicts()
	sinks := v.Link(admethod.Sinks)
	f, err := sinks.Lookup("sink", VerdictsSink)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sinks.Lookup("sink", "log"); err != nil {
		t.Error(err)
	}
	if _, err := f.New(admethod.SinkSettings{Options: map[string]any{"severty": "warning"}}); err == nil || !strings.Contains(err.Error(), `did you mean "severity"`) {
		t.Errorf("wrong key: %v", err)
	}
	if s, err := f.New(admethod.SinkSettings{Options: map[string]any{"severity": "warning", "twins": false}}); err != nil || s != admethod.Sink(v) || v.least != driver.Warning || v.config.Twins {
		t.Errorf("%+v, %v", v.config, err)
	}
	// What is linked everywhere is for checks and documentation only.
	if f, err = admethod.Sinks.Lookup("sink", VerdictsSink); err != nil {
		t.Fatal(err)
	}
	if _, err := f.New(admethod.SinkSettings{}); err == nil {
		t.Error("a sink without a mapper")
	}
	if len(f.Params()) != 3 {
		t.Errorf("params %v", f.Params())
	}
}
