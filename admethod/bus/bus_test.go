// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/bus/embedded"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
)

var told = map[string]any{"detector": "auto", "heartbeat": "30s"} // each verdict, as readings are a minute apart

// embeddedBus is a bus in the process.
func embeddedBus(tb testing.TB, dir string, c bus.Config) (*bus.Bus, func()) {
	tb.Helper()
	s, err := embedded.Start(dir)
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := nats.Connect("", append(bus.Connect("test"), s.Option())...)
	if err != nil {
		tb.Fatal(err)
	}
	over := false
	stop := func() {
		if !over {
			over = true
			conn.Close()
			s.Stop()
		}
	}
	tb.Cleanup(stop)
	return opened(tb, conn, c), stop
}

// A bus in the process says what one process without a bus says, also when it is stopped and begun anew in between.
func TestEmbeddedSaysWhatOneProcessSays(t *testing.T) {
	p := &plant{series: 60, seed: 1}
	const steps = 80
	want := p.alone(t, told, steps)
	dir := t.TempDir()
	step := 0
	for life := range 3 {
		b, closeBus := embeddedBus(t, dir, bus.Config{Partitions: 8})
		w := b.Worker(bus.WorkerConfig{Intake: intake.Config{Defaults: told, MaxSeries: 1000}, Lease: time.Second})
		stopWorker := background(t, w.Run)
		pub := b.Publisher(intake.Config{Defaults: told})
		stopPublisher := background(t, pub.Run)
		to := pub.Intake(bus.Origin{Name: "plant", Namespaces: []string{"*"}})
		for ; step < steps*(life+1)/3; step++ {
			if err := to.Take(t.Context(), p.step(step)); err != nil {
				t.Fatal(err)
			}
		}
		if life == 2 {
			compare(t, want, onBus(t, b, want.all, 30*time.Second))
		}
		stopPublisher()
		stopWorker()
		closeBus()
	}
}

// The bus in the process is what who has no cluster takes: it costs next to nothing. It is measured in a process of its own.
func TestEmbeddedIsLight(t *testing.T) {
	p := begin(t, role{Light: &light{Dir: t.TempDir(), Report: filepath.Join(t.TempDir(), "report")}})
	<-p.ended
	data, err := os.ReadFile(p.role.Light.Report)
	if err != nil {
		t.Fatal(err)
	}
	var got measured
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d partitions are judged after %v, of the processor %v, with %.1f MB more", got.Partitions, got.Start.Round(time.Millisecond), got.CPU.Round(time.Millisecond), float64(got.Bytes)/1e6)
	if got.Partitions != 64 {
		t.Errorf("%d partitions are judged, want 64", got.Partitions)
	}
	if raceDetector {
		return
	}
	if got.Bytes > 40e6 {
		t.Errorf("the process has %d bytes more, want at most 40 MB", got.Bytes)
	}
	if got.CPU > 3*time.Second { // it takes a fifth of that where nobody else wants the processor
		t.Errorf("it takes %v of the processor to start", got.CPU)
	}
}
