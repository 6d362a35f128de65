// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Verdicts that a worker gave are read from the bus.
func TestVerdictsOfTheBus(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not start")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	b, err := bus.Open(ctx, conn, bus.Config{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	settings := intake.Config{Defaults: map[string]any{"detector": "range", "detector.lower": 0, "detector.upper": 50}}
	pub := b.Publisher(settings)
	ended := make(chan error, 2)
	for _, run := range []func(context.Context) error{pub.Run, b.Worker(bus.WorkerConfig{Intake: settings, Lease: time.Second}).Run} {
		go func() { ended <- run(ctx) }()
	}
	defer func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	}()
	now := time.Now()
	var readings []source.Reading
	for i, v := range []float64{20, 99} {
		readings = append(readings, source.Reading{
			Key: driver.Key{Namespace: "default", Device: "pump.1", Property: "bar"}, At: now.Add(time.Duration(i-10) * time.Second), Value: v,
		})
	}
	if err := pub.Intake(bus.Origin{Name: "plant", Namespaces: []string{"*"}}).Take(ctx, readings); err != nil {
		t.Fatal(err)
	}
	limited, late := context.WithTimeout(ctx, time.Minute)
	defer late()
	err = b.Read(limited, bus.Reading{Filter: bus.Subject(readings[0].Key), Follow: true}, func(_ time.Time, data []byte) error {
		if strings.Contains(string(data), `"began"`) {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		code int
		rows int
	}{
		{"", exitOK, 2},
		{"--severity warning", exitOK, 1},
		{"--device pump* --since 1h --limit 1", exitOK, 1},
		{"--device light*", exitOK, 0},
		{"--incidents", exitUsage, 0},
		{"--url http://127.0.0.1:1", exitUsage, 0},
	} {
		code, stdout, stderr := adctl(t, "", strings.Fields("verdicts -o json --nats "+s.ClientURL()+" "+test.args)...)
		if rows := strings.Count(stdout, `"namespace"`); code != test.code || rows != test.rows {
			t.Errorf("%q: exit %d, %d verdicts, want %d and %d: %s%s", test.args, code, rows, test.code, test.rows, stdout, stderr)
		}
	}
}

var errSeen = errors.New("seen")
