// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// roomMapper runs a mapper of a room that is too hot until the test or the returned function ends it.
func roomMapper(t *testing.T, edge *edgecoretest.EdgeCore, room *fakeDriver, ad config.AnomalyDetection) (stop func()) {
	t.Helper()
	_, stop = runMapper(t, Options{
		Driver: room,
		Config: config.Fixed(config.Config{
			GRPCServer:       config.GRPCServer{SocketPath: socketPath(t)},
			Common:           config.Common{Name: "room-mapper", Protocol: "room", EdgeCoreSock: edge.Socket()},
			AnomalyDetection: ad,
		}),
		Reporter: ReporterOptions{Limiter: rate.NewLimiter(rate.Inf, 1), Linger: time.Millisecond},
	})
	return stop
}

// What changes while no mapper runs leaves no verdict on show: the next one knows which twins the last one reported.
func TestVerdictTwinsAreClearedAfterARestart(t *testing.T) {
	property := verdictManifests[strings.Index(verdictManifests, "  - name: temperature\n"):strings.Index(verdictManifests, "  - name: temperature-anomaly\n")]
	change := func(old, next string) string {
		t.Helper()
		if strings.Count(verdictManifests, old) != 1 {
			t.Fatalf("%q is not there once", old)
		}
		return strings.Replace(verdictManifests, old, next, 1)
	}
	const critical = "critical:range:1.00"
	for name, after := range map[string]struct {
		manifests string
		options   map[string]any // of the sink
		want      string
	}{
		"nothing changes":           {verdictManifests, nil, critical},
		"the property goes":         {change(property, ""), nil, VerdictOff},
		"detection is removed":      {change("    pushMethod:\n      anomalyDetection: {detector: range, sinks: dmi, heartbeat: 200ms}\n", ""), nil, VerdictOff},
		"verdicts go elsewhere":     {change("sinks: dmi", "sinks: log"), nil, VerdictOff},
		"twins are switched off":    {verdictManifests, map[string]any{"twins": false}, VerdictOff},
		"the twin is read now":      {strings.Replace(change(property, ""), "    reportToCloud: true\n", "    reportToCloud: true\n    visitors: {protocolName: room, configData: {register: 4}}\n", 1), nil, "99"},
		"a model without that, too": {strings.Replace(change(property, ""), "  - {name: temperature, type: FLOAT, accessMode: ReadOnly, minimum: \"0\", maximum: \"40\"}\n", "", 1), nil, VerdictOff},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			edge := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
			if err := edge.Apply(within(t), strings.NewReader(verdictManifests)); err != nil {
				t.Fatal(err)
			}
			hot := func() *fakeDriver {
				return &fakeDriver{read: func(context.Context, *fakeClient, string) (any, error) { return 99., nil }}
			}
			ad := config.AnomalyDetection{DeviceSinks: []string{"dmi", "log"}, StateDir: t.TempDir()}
			stop := roomMapper(t, edge, hot(), ad)
			if err := edge.WaitTwin(within(t), "default", "room-1", "temperature-anomaly", critical); err != nil {
				t.Error(err)
			}
			// What a kill -9 would leave now is what the next mapper finds.
			waittest.Eventually(t, "the file of carriers is there", func() bool {
				_, err := os.Stat(filepath.Join(ad.StateDir, carriersFile))
				return err == nil
			})
			left := filepath.Join(t.TempDir(), "left")
			if err := os.CopyFS(left, os.DirFS(ad.StateDir)); err != nil {
				t.Fatal(err)
			}
			stop()
			if err := edge.Apply(within(t), strings.NewReader(after.manifests)); err == nil { // is taken, and cannot be passed on
				t.Error("there still is a mapper")
			}

			ad.StateDir = left
			if after.options != nil {
				ad.SinkOptions = map[string]map[string]any{VerdictsSink: after.options}
			}
			room := hot()
			defer roomMapper(t, edge, room, ad)()
			before, _ := edge.EdgeTwin("default", "room-1", "temperature-anomaly")
			if err := edge.Wait(within(t), func() bool {
				twin, _ := edge.EdgeTwin("default", "room-1", "temperature-anomaly")
				return twin.Reports > before.Reports && twin.Reported == after.want
			}); err != nil {
				twin, _ := edge.EdgeTwin("default", "room-1", "temperature-anomaly")
				t.Errorf("the twin is %+v, want %q: %v", twin, after.want, err)
			}
			if after.want != critical {
				if err := edge.WaitTwin(within(t), "default", "room-1", "temperature-anomaly", after.want); err != nil {
					t.Error(err)
				}
			}
			if n := room.count("room-1/temperature-anomaly"); (n > 0) != (name == "the twin is read now") {
				t.Errorf("the twin was read %d times from the device", n)
			}
		})
	}
}

func TestCarriers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made by the first save")
	opened := func(t *testing.T) *carriers {
		t.Helper()
		c := newCarriers()
		if err := c.open(dir); err != nil {
			t.Error(err)
		}
		return c
	}
	saved := func(t *testing.T, c *carriers) {
		t.Helper()
		if err := c.save(); err != nil {
			t.Error(err)
		}
	}
	first := opened(t)
	first.set("ns/a", []string{"x-anomaly", "y-anomaly"})
	first.set("ns/b", []string{"x-anomaly"})
	saved(t, first)

	second := opened(t)
	if !second.has("ns/a", "y-anomaly") || !second.has("ns/b", "x-anomaly") || second.has("ns/b", "y-anomaly") {
		t.Errorf("it has %v", second.names)
	}
	second.set("ns/a", []string{"x-anomaly"})
	second.set("ns/b", nil) // the Device was removed
	saved(t, second)
	if third := opened(t); third.count != 1 || len(third.names) != 1 || !third.has("ns/a", "x-anomaly") {
		t.Errorf("it has %v", third.names)
	}

	t.Run("what did not change is not written", func(t *testing.T) {
		c := opened(t)
		file := filepath.Join(dir, carriersFile)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		c.set("ns/a", []string{"x-anomaly"})
		saved(t, c)
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("stat: %v", err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		file := filepath.Join(dir, carriersFile)
		if err := os.WriteFile(file, []byte(`{"ns/a":["x-an`), 0o600); err != nil {
			t.Fatal(err)
		}
		c := newCarriers()
		if err := c.open(dir); err == nil || !strings.Contains(err.Error(), "damaged and set aside") {
			t.Errorf("error %v", err)
		}
		if _, err := os.Stat(file + ".damaged"); err != nil {
			t.Error(err)
		}
		c.set("ns/a", []string{"x-anomaly"})
		saved(t, c)
		if !opened(t).has("ns/a", "x-anomaly") {
			t.Error("nothing is remembered any more")
		}
	})
	t.Run("what is no such twin", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, carriersFile), []byte(`{"ns/a":["x"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := opened(t); c.count != 0 {
			t.Errorf("it has %v", c.names)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		c := newCarriers()
		names := make([]string, mostCarriers+1)
		for i := range names {
			names[i] = strings.Repeat("x", i%100) + string(rune('0'+i/100)) + verdictSuffix
		}
		c.set("ns/a", names)
		if c.count != mostCarriers {
			t.Errorf("%d twins", c.count)
		}
	})
	t.Run("a disk that takes nothing", func(t *testing.T) {
		blocked := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(blocked, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c := newCarriers()
		c.file = filepath.Join(blocked, carriersFile)
		c.set("ns/a", []string{"x-anomaly"})
		if err := c.save(); err == nil || !c.dirty {
			t.Errorf("error %v, dirty %v", err, c.dirty)
		}
	})
}
