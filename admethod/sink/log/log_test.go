// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package log

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
)

func temperature(value, score float64, kind driver.Kind) driver.Result {
	var r driver.Result
	r.Reset(driver.Row{{
		Key: driver.Key{Namespace: "default", Device: "sensor-1", Property: "temperature"}, At: time.Unix(0, 0), Value: value,
	}})
	r.Threshold, r.Detector = driver.DefaultThreshold, "ewma"
	r.Judge(score, kind)
	return r
}

func ExampleLine() {
	r := temperature(35, 0.97, driver.KindSpike)
	r.Expected, r.Lower, r.Upper = 20.1, 18, 22.25
	fmt.Println(Line(&r))
	r = temperature(35, 0.5, driver.KindNone)
	r.Message = "all is well"
	fmt.Println(Line(&r))
	// Output:
	// default/sensor-1/temperature warning spike score=0.97 value=35 expected=20.1 normal=18…22.25 detector=ewma
	// default/sensor-1/temperature normal score=0.5 value=35 detector=ewma message="all is well"
}

// logged is what the sink logs of a batch, and of what is forgotten after it.
func logged(t *testing.T, batch []driver.Result, forget ...driver.Key) []string {
	t.Helper()
	log := logstest.Capture(t)
	s, err := Factory().New(admethod.SinkSettings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for _, key := range forget {
		s.(admethod.Forgetter).Forget(key)
	}
	return strings.Split(strings.TrimSpace(log.String()), "\n")
}

// incident is a verdict on the temperature some minutes after an incident began.
func incident(minute int, phase driver.Phase, score float64) driver.Result {
	r := temperature(31.5, score, driver.KindLevel)
	start := r.At
	r.At = start.Add(time.Duration(minute) * time.Minute)
	r.Incident = driver.Incident{ID: 0xbeef, Phase: phase, Start: start, Severity: driver.Critical, Kind: driver.KindLevel}
	if !phase.Open() {
		r.Incident.End = r.At
	} else {
		r.Message = "10 °C above what was expected"
	}
	return r
}

// One line when an incident begins, with the reason; one when it ends, with how long it lasted and how it ended.
func TestSinkLogsIncidents(t *testing.T) {
	normal := temperature(20, 0.1, driver.KindNone)
	for _, c := range []struct {
		name  string
		batch []driver.Result
		want  []string
	}{
		{"accepted", []driver.Result{
			normal, incident(0, driver.Began, 0.96), incident(1, driver.Lasts, 0.995), incident(2, driver.Lasts, 0.96), incident(360, driver.NewNormal, 0.2), normal,
		}, []string{
			`anomaly: default/sensor-1/temperature warning level score=0.96 value=31.5 detector=ewma message="10 °C above what was expected", incident 000000000000beef`,
			"anomaly ended: default/sensor-1/temperature: critical level: new normal after 6 h, incident 000000000000beef",
		}},
		{"returned", []driver.Result{incident(0, driver.Began, 0.96), incident(12, driver.Returned, 0.1)}, []string{
			"anomaly: default/sensor-1/temperature warning level", "level: back to normal after 12 min",
		}},
		{"met while it lasts", []driver.Result{incident(3, driver.Lasts, 0.96), incident(12, driver.Returned, 0.1)}, []string{
			"anomaly: default/sensor-1/temperature warning level", "level: back to normal after 12 min",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := logged(t, c.batch)
			if len(lines) != len(c.want) {
				t.Fatalf("%d lines, want %d:\n%s", len(lines), len(c.want), strings.Join(lines, "\n"))
			}
			for i, w := range c.want {
				if !strings.Contains(lines[i], w) {
					t.Errorf("line %d is %q, want %q in it", i, lines[i], w)
				}
			}
		})
	}
}

func TestSinkLogsWhatIsGone(t *testing.T) {
	r := incident(0, driver.Began, 0.96)
	lines := logged(t, []driver.Result{r}, r.Key, r.Key)
	if len(lines) != 2 || !strings.Contains(lines[1], "no longer followed after") {
		t.Errorf("got %q", lines)
	}
}

// A detector that fails is told once, not with every reading.
func TestSinkLogsFailureOnce(t *testing.T) {
	failed := temperature(20, math.NaN(), driver.KindNone)
	failed.Kind, failed.Message = driver.KindFailed, "the detector panicked"
	lines := logged(t, []driver.Result{failed, failed, temperature(20, 0.1, driver.KindNone), failed})
	if len(lines) != 2 || !strings.Contains(lines[0], "no verdict: default/sensor-1/temperature") {
		t.Errorf("got %q, want it twice", lines)
	}
}

func TestSinkRefusesOptions(t *testing.T) {
	if _, err := Factory().New(admethod.SinkSettings{Options: map[string]any{"level": 3}}); err == nil {
		t.Error("an option that does not exist is accepted")
	}
}

// A name that a Device or a detector chose can neither begin a line nor pass for another part of this one.
func TestNamesCannotForgeLines(t *testing.T) {
	const forged = "x\nW1129 13:00:00.000000 1 log.go:1] anomaly: default/boiler/t critical"
	r := temperature(35, 0.97, driver.Kind(forged))
	r.Key.Namespace, r.Key.Device, r.Key.Property = "a severity=normal", forged, forged
	r.Detector, r.Message = forged, forged
	r.Causes = []driver.Cause{{Key: r.Key, Weight: 1}}
	line := Line(&r)
	if strings.Contains(line, "\n") || strings.Count(line, strconv.Quote(forged)) != 7 || !strings.HasPrefix(line, `"a severity=normal"/`) {
		t.Errorf("%s", line)
	}
}
