// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detectserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// What detectors learned survives a restart, and but for the time since the last snapshot also kill -9.
func TestRestartKeepsWhatWasLearned(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for name, kill := range map[string]syscall.Signal{"drained": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			server := Spawn(t, Child{GRPC: "127.0.0.1:0", StateDir: dir})
			stream := dial(t, server.GRPC, insecure.NewCredentials())
			first, err := ask(t, stream, reading(0, "20"))
			if err != nil || first.Severity != pb.Severity_SEVERITY_UNKNOWN {
				t.Fatalf("a new detector answers %v, %v; want it to warm up", first, err)
			}
			for i := 1; i < 300; i++ {
				if _, err := ask(t, stream, reading(i, fmt.Sprint(20+float64(i%7)/10))); err != nil {
					t.Fatal(err)
				}
			}
			if kill == syscall.SIGKILL { // two snapshots on, the last reading is in one of them
				waitForSnapshots(t, filepath.Join(dir, "inprocess.snapshot"), 2)
			}
			server.End(kill)
			server = Spawn(t, Child{GRPC: "127.0.0.1:0", StateDir: dir})
			stream = dial(t, server.GRPC, insecure.NewCredentials())
			got, err := ask(t, stream, reading(300, "900"))
			if err != nil || got.Status == "ok" {
				t.Errorf("after the restart a spike is answered with %v, %v", got, err)
			}
			server.End(syscall.SIGTERM)
		})
	}
}

func waitForSnapshots(t *testing.T, path string, n int) {
	t.Helper()
	var last time.Time
	seen := -1
	waittest.Eventually(t, "snapshots", func() bool {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
			seen++
		}
		return seen >= n
	})
}

// offset expects what its model says.
type offset struct {
	by    float64
	model string
}

func (o offset) Detect(row driver.Row, out *driver.Result) {
	out.Expected, out.Model, out.Confidence = row[0].Value+o.by, o.model, 1
	out.Judge(0, driver.KindNone)
}

// A client names a model; a new version of it is used without a restart.
func TestModelOfASeries(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "room.model")
	offsets := driver.NewFactory(driver.Info{Name: "offset", Summary: "for tests"}, func() struct{} { return struct{}{} },
		func(s driver.Settings, _ struct{}) (driver.Detector, error) {
			by, err := strconv.ParseFloat(string(s.Model), 64)
			return offset{by, s.ModelName}, err
		})
	write(t, path, []byte("1"))
	address, _ := serve(t, Config{Insecure: true, Config: intake.Config{ModelDir: dir, Drivers: driver.NewRegistry(offsets)}})
	stream := dial(t, address, insecure.NewCredentials())
	m := described(of("p", 0, 20), "offset")
	m.Series.Model = "room.model"
	got, err := ask(t, stream, m)
	if err != nil || got.GetExpected() != 21 || !strings.HasPrefix(got.Model, "room@") {
		t.Fatalf("%v, %v; want the model's word", got, err)
	}
	outside := described(of("q", 0, 20), "offset")
	outside.Series.Model = "../room.model"
	if got, err := ask(t, stream, outside); err != nil || !strings.Contains(got.Message, "below the model directory") {
		t.Errorf("a model elsewhere: %v, %v", got, err)
	}
	if testing.Short() {
		return
	}
	write(t, path, []byte("400"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		got, err := ask(t, stream, m)
		if err != nil {
			t.Fatal(err)
		}
		if got.GetExpected() == 420 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the new model is not used: %v", got)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
