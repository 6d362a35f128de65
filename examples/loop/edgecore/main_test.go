// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// It serves until it is told to end.
func TestServes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "dmi.sock")
	const manifests = "../../restful-light-mapper/manifests/"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--socket", socket, "--base-url", "http://127.0.0.1:1", "--speed", "5",
			manifests + "device-models.yaml", manifests + "devices-group.yaml"}, new(strings.Builder))
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		select {
		case <-tick.C:
		case err := <-done:
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"--speed", "0", "x.yaml"}, {"--socket", filepath.Join(t.TempDir(), "s"), "nowhere.yaml"}} {
		if err := run(t.Context(), args, new(strings.Builder)); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
