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
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// The section anomalyDetection of the mapper's file is read again as a whole: what its sinks and the handler are told
// takes effect without a restart, properties are watched on, and what cannot be used changes nothing.
func TestRunFollowsItsFile(t *testing.T) {
	edge := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
	if err := edge.Apply(within(t), strings.NewReader(verdictManifests)); err != nil {
		t.Fatal(err)
	}
	file, socket := filepath.Join(t.TempDir(), "config.yaml"), socketPath(t)
	write := func(section string) {
		t.Helper()
		content := "grpc_server: {socket_path: " + socket + "}\ncommon: {name: room-mapper, protocol: room, edgecore_sock: " + edge.Socket() + "}\n" +
			"anomalyDetection: " + section + "\n"
		if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	state := t.TempDir()
	write("{stateDir: " + state + ", sinks: [dmi], sinkOptions: {dmi: {state: false}}}")
	store, err := config.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	mapper, stop := runMapper(t, Options{
		Driver: &fakeDriver{read: func(context.Context, *fakeClient, string) (any, error) { return 99.0, nil }},
		Config: store, ConfigInterval: 5 * time.Millisecond,
		Reporter: ReporterOptions{Limiter: rate.NewLimiter(rate.Inf, 1), Linger: time.Millisecond},
	})
	defer stop()
	key := driver.Key{Namespace: "default", Device: "room-1", Property: "temperature"}
	if err := edge.WaitTwin(within(t), "default", "room-1", "temperature-anomaly", "critical:range:1.00"); err != nil {
		t.Fatal(err)
	}
	if err := edge.WaitState(within(t), "default", "room-1", "ok"); err != nil { // verdicts are not to change it
		t.Error(err)
	}

	first := mapper.Handler()
	write("{stateDir: " + state + ", sinks: [dmi], sinkOptions: {dmi: {state: true}}}")
	if err := edge.WaitState(within(t), "default", "room-1", "unhealthy"); err != nil {
		t.Error(err)
	}
	second := mapper.Handler()
	if second == first {
		t.Error("the handler is the old one")
	}

	// Neither what is broken nor what makes no handler ends detection.
	for _, wrong := range []string{"{stateDir: " + state + ", sinks: [nowhere]}", "{sinks: {"} {
		write(wrong)
		seen := second.Stats().Bindings[key].Readings
		waittest.Eventually(t, "the second mapper reads", func() bool { return second.Stats().Bindings[key].Readings > seen+20 })
		if mapper.Handler() != second {
			t.Errorf("%s: another handler", wrong)
		}
	}
	write("{stateDir: " + state + ", sinks: [dmi], sinkOptions: {dmi: {state: false}}}")
	if err := edge.WaitState(within(t), "default", "room-1", "ok"); err != nil {
		t.Error(err)
	}
}
