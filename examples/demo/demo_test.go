// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/restful-light-mapper/verdictlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write golden files")

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func alarmAt(at time.Time, of stream, severity driver.Severity, kind driver.Kind, score float64) *verdictlog.Line {
	l := verdictlog.Line{
		At: at, Device: of.device, Property: of.property, Severity: severity, Kind: kind,
		Score: verdictlog.Number(score), Value: 8, Expected: 3, Detector: "auto",
	}
	return &l
}

// The table of a good run, and of one that went wrong.
func TestTable(t *testing.T) {
	for name, tt := range map[string]struct {
		outcomes []outcome
		alarms   []verdictlog.Line
	}{
		"good": {outcomes: []outcome{
			{
				fault: faults[0], injected: 12340 * time.Millisecond, readings: 22, after: 1100 * time.Millisecond,
				alarm:  alarmAt(noon, temperature, driver.Warning, driver.KindFreeze, 0.953),
				blamed: []string{"temperature-sensor-1"}, received: "temperature 21.05, state ok",
			},
			{
				fault: highSensor(), injected: 20 * time.Second, readings: 1, after: 40 * time.Millisecond,
				alarm:  alarmAt(noon, brightness, driver.Critical, driver.KindCausal, 1),
				blamed: []string{"brightness-sensor-1"}, received: "brightness 5, state ok",
			},
			{
				fault: darkLight(), injected: 30 * time.Second, readings: 8, after: 400 * time.Millisecond,
				alarm:  alarmAt(noon, brightness, driver.Warning, driver.KindCausal, 0.96),
				blamed: []string{"light-1"}, received: "powerstatus ON, brightness 0, state ok",
			},
		}},
		"bad": {
			outcomes: []outcome{
				{fault: faults[1], injected: time.Second, received: "temperature 23.4, state ok"},
				{
					fault: darkLight(), injected: 30 * time.Second, readings: 8, after: 400 * time.Millisecond,
					alarm:  alarmAt(noon, light1, driver.Warning, driver.KindCausal, 0.96),
					blamed: []string{"brightness-sensor-1", "light-1"}, received: "powerstatus ON, state ok",
				},
				{
					fault: paceFaults[0], injected: 40 * time.Second, readings: 1, after: time.Second,
					alarm:  alarmAt(noon, paceFaults[0].of, driver.Critical, driver.KindSpike, 0.99),
					blamed: []string{paceFaults[0].of.device}, received: "temperature 33, state ok",
					lapse: "30 of the 31 verdicts since were normal, and 1 incidents have ended, while it lasts",
				},
			},
			alarms: []verdictlog.Line{*alarmAt(noon.Add(1500*time.Millisecond), brightness, driver.Warning, driver.KindSpike, 0.97)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := table(tt.outcomes) + "\n" + strings.Join(failures(tt.outcomes, tt.alarms, newAccount(io.Discard, noon).since), "\n") + "\n"
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-golden +got):\n%s", diff)
			}
		})
	}
}

// feed gives a watch the verdicts of a stream, one every 50 ms.
type feed struct {
	t  *testing.T
	w  *watch
	at time.Time
}

func (f *feed) verdicts(n int, of stream, severity driver.Severity, detector string) {
	f.t.Helper()
	for range n {
		f.at = f.at.Add(50 * time.Millisecond)
		l := verdictlog.Line{At: f.at, Device: of.device, Property: of.property, Severity: severity, Detector: detector}
		if severity.Anomalous() {
			l.Kind = driver.KindJump
		}
		raw, err := json.Marshal(l)
		if err != nil {
			f.t.Fatal(err)
		}
		f.w.take(raw)
	}
}

// An alarm belongs to a fault if its reading was taken after the injection, and is a false one if before, whenever the
// verdict arrives.
func TestWatchTellsAlarmsFromFalseOnes(t *testing.T) {
	var told []string
	w := newWatch(func(i incident) {
		told = append(told, fmt.Sprintf("%v over=%v baseless=%v", i.stream, i.over, i.baseless))
	})
	f := &feed{t: t, w: w, at: time.Now().Add(-time.Hour)}
	f.verdicts(10, temperature, driver.Unknown, "auto")
	f.verdicts(calmReadings-1, temperature, driver.Normal, "auto")
	if w.calm(temperature) {
		t.Error("calm too early")
	}
	f.verdicts(1, temperature, driver.Normal, "auto")
	if !w.calm(temperature) || w.readings(temperature) != calmReadings+10 {
		t.Errorf("calm %v after %d readings", w.calm(temperature), w.readings(temperature))
	}

	w.disturb(temperature)
	f.verdicts(1, temperature, driver.Warning, "auto") // read before the injection
	if n := len(w.falseAlarms()); n != 1 {
		t.Errorf("%d false alarms, want 1", n)
	}
	f.verdicts(calmReadings, temperature, driver.Normal, "auto")
	if alarm, _ := w.raised(temperature); alarm != nil {
		t.Errorf("alarm %+v before the injection counts", alarm)
	}

	f.at = time.Now()
	f.verdicts(2, temperature, driver.Normal, "auto")
	f.verdicts(1, brightness, driver.Normal, "range")
	f.verdicts(3, temperature, driver.Critical, "auto")
	alarm, readings := w.raised(brightness, temperature)
	if alarm == nil || alarm.Severity != driver.Critical || readings != 3 {
		t.Errorf("alarm %+v after %d readings, want a critical one after 3", alarm, readings)
	}
	f.verdicts(1, brightness, driver.Warning, "range") // not disturbed
	if n := len(w.falseAlarms()); n != 2 {
		t.Errorf("%d false alarms, want 2", n)
	}

	// Readings that do not arrive are no business of the detector, but nothing is calm before they do.
	f.verdicts(1, temperature, driver.Warning, driver.QualityStage)
	f.verdicts(calmReadings, temperature, driver.Normal, "auto")
	if w.calm(temperature) {
		t.Error("calm while readings are missing")
	}
	f.verdicts(1, temperature, driver.Normal, driver.QualityStage)
	if !w.calm(temperature) {
		t.Error("not calm when all is normal again")
	}
	w.settled(temperature)
	f.at = time.Now()
	f.verdicts(1, temperature, driver.Warning, "auto")
	if n := len(w.falseAlarms()); n != 3 {
		t.Errorf("%d false alarms, want 3", n)
	}
	want := []string{
		"temperature-sensor-1 temperature over=false baseless=true", "temperature-sensor-1 temperature over=true baseless=false",
		"temperature-sensor-1 temperature over=false baseless=false", "brightness-sensor-1 brightness over=false baseless=true",
		"temperature-sensor-1 temperature over=true baseless=false", "temperature-sensor-1 temperature over=false baseless=true",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// The devices that are blamed are those of the latest verdicts; a change is told, the same again is not.
// An incident is told in one line when it ends: what, how long, how it ended, who is blamed, and why.
func TestWatchTellsIncidents(t *testing.T) {
	w := newWatch(func(incident) {})
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	end := noon.Add(90 * time.Second)
	line := func(i *verdict.Incident, message string) {
		raw, err := json.Marshal(verdictlog.Line{
			At: noon, Device: temperature.device, Property: temperature.property, Severity: driver.Warning, Detector: "auto",
			Incident: i, Message: message,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.take(raw)
	}
	open := verdict.Incident{ID: verdict.ID(7), Phase: driver.Began, Start: noon, Severity: driver.Warning, Kind: driver.KindSpike}
	line(&open, "10 °C above what was expected")
	line(nil, "")
	over := open
	over.Phase, over.End, over.Duration, over.Severity, over.Kind = driver.Returned, &end, 90, driver.Critical, driver.KindLevel
	over.Cause = &verdict.Blamed{Device: temperature.device, Property: temperature.property}
	line(&over, "")
	all := w.ended()
	got := incidentLines(all, func(at time.Time) time.Duration { return at.Sub(noon.Add(-5 * time.Second)) })
	want := "Incidents that were told: 1\n\n     5.0 s  temperature-sensor-1 temperature: critical level, lasted 1 min 30 s, returned, " +
		"blamed: temperature-sensor-1: 10 °C above what was expected\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWatchKnowsWhoIsBlamed(t *testing.T) {
	told := 0
	w := newWatch(func(incident) { told++ })
	w.disturb(group...)
	verdict := func(of stream, severity driver.Severity, causes ...stream) {
		l := verdictlog.Line{At: time.Now(), Device: of.device, Property: of.property, Severity: severity, Detector: "bayesnet"}
		for _, c := range causes {
			l.Causes = append(l.Causes, verdictlog.Cause{Device: c.device, Property: c.property})
		}
		w.judge(of, l)
	}
	for range 3 {
		verdict(brightness, driver.Warning, light1, brightness)
		verdict(light1, driver.Warning, light1, brightness)
	}
	if diff := cmp.Diff([]string{"brightness-sensor-1", "light-1"}, w.blamed(group...)); diff != "" || told != 2 {
		t.Errorf("told %d times, want 2; blamed (-want +got):\n%s", told, diff)
	}
	verdict(brightness, driver.Normal)
	verdict(light1, driver.Warning, light1)
	if diff := cmp.Diff([]string{"light-1"}, w.blamed(group...)); diff != "" || told != 3 {
		t.Errorf("told %d times, want 3; blamed (-want +got):\n%s", told, diff)
	}
	verdict(light2, driver.Critical) // a detector of a single property names nobody
	if diff := cmp.Diff([]string{"light-2"}, w.blamed(light2)); diff != "" {
		t.Errorf("blamed (-want +got):\n%s", diff)
	}
	if blamed := w.blamed(brightness); blamed != nil {
		t.Errorf("blamed %v", blamed)
	}
}

func TestWatchRefusesWhatItCannotTrust(t *testing.T) {
	for line, want := range map[string]string{
		`{"device":`: "unexpected end of JSON input",
		`{"device":"d","severity":"normal","score":0,"lost":3}`:                                                "3 verdicts were lost",
		`{"device":"d","property":"p","severity":"unknown","kind":"failed","message":"detector: unknown key"}`: "d/p is not watched: detector: unknown key",
	} {
		w := newWatch(func(incident) {})
		w.take([]byte(line))
		if err := w.wait(t.Context(), time.Minute, func() bool { return true }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", line, err, want)
		}
	}
	w := newWatch(func(incident) {})
	if err := w.wait(t.Context(), time.Millisecond, func() bool { return false }); !errors.Is(err, errTimeout) {
		t.Errorf("error %v, want %v", err, errTimeout)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	if err := w.wait(ended, time.Minute, func() bool { return false }); !errors.Is(err, errInterrupted) {
		t.Errorf("error %v, want %v", err, errInterrupted)
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := &lines{take: func(line []byte) { got = append(got, string(line)) }}
	for _, part := range []string{"a", "b\nc\n", "\nd"} {
		if n, err := io.WriteString(l, part); n != len(part) || err != nil {
			t.Errorf("wrote %d of %q: %v", n, part, err)
		}
	}
	if diff := cmp.Diff([]string{"ab", "c", ""}, got); diff != "" {
		t.Error(diff)
	}
}

func startShell(t *testing.T, script string, stdout io.Writer) *process {
	t.Helper()
	p, err := start(command{name: "sh", path: "/bin/sh", args: []string{"-c", script}, stdout: stdout}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ready waits for a line on the child's standard output.
func ready(t *testing.T, script string) *process {
	t.Helper()
	up := make(chan struct{})
	p := startShell(t, script, &lines{take: func([]byte) { close(up) }})
	<-up
	return p
}

func TestProcessEnds(t *testing.T) {
	p := ready(t, `trap 'echo bye >&2; exit 0' TERM; sleep 5 >/dev/null 2>&1 & echo up; wait`)
	if err := p.stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := p.stop(10 * time.Second); err != nil {
		t.Errorf("stop twice: %v", err)
	}
	if log := p.tail(1); log != "bye" {
		t.Errorf("log ends with %q", log)
	}
}

// A child that does not listen is killed, and its own children with it.
func TestProcessIsKilled(t *testing.T) {
	p := ready(t, `trap '' TERM; sh -c "trap '' TERM; sleep 1000" & echo up; wait; sleep 1000`)
	began := time.Now()
	err := p.stop(10 * time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "had to be killed") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestProcessTellsItsEnd(t *testing.T) {
	ended := make(chan error, 1)
	p, err := start(command{
		name: "sh", path: "/bin/sh", args: []string{"-c", "echo line1 >&2; echo line2 >&2; exit 3"},
		onEnd: func(err error) { ended <- err },
	}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || err.Error() != "exit status 3" {
		t.Errorf("end: %v", err)
	}
	if err := p.stop(time.Second); err == nil || err.Error() != "sh: exit status 3" {
		t.Errorf("stop: %v", err)
	}
	if log := p.tail(1); log != "line2" {
		t.Errorf("log ends with %q", log)
	}
	if _, err := start(command{name: "none", path: "/no/such/program"}, t.TempDir()); err == nil {
		t.Error("started a program that does not exist")
	}
}

// The manifests are played as they are, but for the address and the speed. Devices that are watched as a group replace
// those that are not.
func TestPatch(t *testing.T) {
	m, err := readManifests(filepath.Join("..", "restful-light-mapper", "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Models) != 3 || len(m.Devices) != len(watched) {
		t.Errorf("%d models and %d devices, want 3 and %d", len(m.Models), len(m.Devices), len(watched))
	}
	for _, d := range m.Devices {
		patch(d, "http://127.0.0.1:1")
		p := d.Spec.Properties[0]
		if d.Spec.Protocol.ConfigData.Data["baseURL"] != "http://127.0.0.1:1" || p.CollectCycle != 50 || p.ReportCycle < 50 {
			t.Errorf("%s: %v, cycles %d and %d", d.Name, d.Spec.Protocol.ConfigData.Data, p.CollectCycle, p.ReportCycle)
		}
		want := map[string]any{"detector": "bayesnet", "group": "room", "model": modelName}
		if d.Name == temperature.device {
			want = map[string]any{"detector": "auto", "group": nil, "model": nil}
		}
		data := p.PushMethod.AnomalyDetection.Data
		for key, value := range want {
			if data[key] != value || data["quality.missing"] != 80 {
				t.Errorf("%s: anomalyDetection %v, want %v", d.Name, data, want)
			}
		}
	}
}

func TestAccount(t *testing.T) {
	var b bytes.Buffer
	a := newAccount(&b, time.Now())
	a.incident(incident{stream: temperature, line: *alarmAt(noon, temperature, driver.Critical, driver.KindJump, 1)})
	const want = "verdict   temperature-sensor-1 temperature: critical jump, score 1.000, read 8, expected 3 (auto)\n"
	if !strings.HasSuffix(b.String(), want) || strings.Contains(b.String(), "\x1b") {
		t.Errorf("got %q, want it to end with %q and to be without colour", b.String(), want)
	}
	a.colour = true
	if got := a.paint(red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("painted %q", got)
	}
}
