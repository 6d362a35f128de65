// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// While the disk is full, the status of the mapper says what is at risk, of learned state as of the history;
// once there is room it says that all is well. Detection goes on.
func TestStatusOfAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no permission to mount a disk of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 8<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	address := proctest.FreeAddress(t)
	h, err := pipeline.NewHandler(pipeline.Options{
		StateDir: filepath.Join(dir, "state"), DefaultSinks: []string{"api", "history"},
		SinkOptions: map[string]map[string]any{
			"api": {"address": address}, "history": {"path": filepath.Join(dir, "history", "verdicts.db")},
		},
		AdapterOptions: map[string]map[string]any{"inprocess": {"snapshot": "1s"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Shutdown(t.Context()) })
	b := sinktest.Watch(t, h, driver.Key{Namespace: "n", Device: "d", Property: "p"}, map[string]any{"detector": "ewma"}, admethod.Meta{})
	defer b.Close()
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	readings := 0
	status := func() (s httpapi.Status, troubles string) {
		b.Observe(time.Now(), float64(readings%7))
		readings++
		resp, err := client.Get("http://" + address + "/v1/status")
		if err != nil {
			return s, "not yet"
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
			t.Fatal(err)
		}
		for _, trouble := range s.Troubles {
			troubles += fmt.Sprintf("%s: %s (%s)\n", trouble.Part, trouble.Error, trouble.Risk)
		}
		return s, troubles
	}
	waittest.Eventually(t, "state and history are told to be at risk", func() bool {
		s, troubles := status()
		return s.State == "trouble" && strings.Contains(troubles, "learned state: ") && strings.Contains(troubles, "no space left") &&
			strings.Contains(troubles, "sink history: ") && strings.Contains(troubles, "disk is full")
	})
	_, troubles := status()
	t.Log(troubles)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "all is well once there is room", func() bool {
		s, troubles := status()
		return s.State == "ok" && troubles == "" && s.Readings.Observed > 0
	})
}
