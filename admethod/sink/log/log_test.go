// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package log

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
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

// One line when it begins, one when it gets worse, one when it is over; heartbeats between say nothing.
func TestSinkLogsChanges(t *testing.T) {
	var log bytes.Buffer
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	klog.SetOutputBySeverity("INFO", &log) // gets what is more severe as well
	t.Cleanup(func() {
		klog.Flush()
		klog.SetOutput(io.Discard)
		klog.LogToStderr(true)
	})
	s, err := Factory().New(admethod.SinkSettings{})
	if err != nil {
		t.Fatal(err)
	}
	var batch []driver.Result
	for _, score := range []float64{0.1, 0.96, 0.96, 0.995, 0.2, 0.1} {
		batch = append(batch, temperature(20, score, driver.KindSpike))
	}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	klog.Flush()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	want := []string{"anomaly: default/sensor-1/temperature warning", "anomaly: default/sensor-1/temperature critical", "anomaly over: "}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), log.String())
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("line %d is %q, want %q in it", i, lines[i], w)
		}
	}
}

func TestSinkRefusesOptions(t *testing.T) {
	if _, err := Factory().New(admethod.SinkSettings{Options: map[string]any{"level": 3}}); err == nil {
		t.Error("an option that does not exist is accepted")
	}
}
