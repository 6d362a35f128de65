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
)

// With a bus in the process, what sources bring is judged and told as without one; the state directory keeps the bus, from
// which the program goes on when it is begun anew.
func TestBusInTheProcess(t *testing.T) {
	state := t.TempDir()
	config := "bus: {embedded: true, partitions: 4}\n" + strings.ReplaceAll(withSources, "%STATE%", state)
	file := filepath.Join(t.TempDir(), "config.yaml")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	found := func(what string) bool {
		files, _ := filepath.Glob(filepath.Join(state, "history*"))
		for _, name := range files {
			if raw, _ := os.ReadFile(name); strings.Contains(string(raw), what) {
				return true
			}
		}
		return false
	}
	// The source begins anew with the program, in the past: all that it brings is known then, or out of order.
	for life, what := range []string{`"phase":"began"`, `"outOfOrder"`} {
		ctx, end := context.WithCancel(within(t))
		ended := make(chan error, 1)
		var told strings.Builder
		go func() { ended <- run(ctx, []string{"--config", file}, &told) }()
		for !found(what) {
			select {
			case <-time.After(20 * time.Millisecond):
			case err := <-ended:
				t.Fatal("it ended: ", err)
			case <-ctx.Done():
				t.Fatalf("life %d: no verdict has %s", life, what)
			}
		}
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if told.String() != "anomaly-detector: bus embedded\nanomaly-detector: source pulse\n" {
			t.Errorf("told %q", told.String())
		}
	}
	if _, err := os.Stat(filepath.Join(state, "bus")); err != nil {
		t.Error(err)
	}
}

func TestBusIsChecked(t *testing.T) {
	const some = "sources: [{type: pulse}]\nanomalyDetection: {stateDir: /var/lib/x}\n"
	for name, c := range map[string]struct{ config, want string }{
		"both":      {some + "bus: {embedded: true, url: 'tls://a:1'}\n", "bus.url"},
		"nowhere":   {"sources: [{type: pulse}]\nbus: {embedded: true}\n", "bus.dir"},
		"plaintext": {some + "bus: {url: 'nats://a:1,tls://b:1'}\n", "bus.insecure: true"},
		"scheme":    {some + "bus: {url: 'http://user:secret@a:1'}\n", "bus.url"},
		"endpoint":  {some + "bus: {embedded: true}\nlisten: 127.0.0.1:0\ninsecure: true\n", "listen"},
		"idle":      {"bus: {url: 'tls://a:1', worker: false, sinks: none}\n", "bus.worker"},
		"two users": {some + "bus: {url: 'tls://a:1', nkey: a, credentials: b}\n", "bus.nkey"},
		"sinks":     {some + "bus: {url: 'tls://a:1', sinks: all}\n", "shared"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(c.config), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	for _, good := range []string{
		some + "bus: {url: 'nats://a:4222,nats://b:4222', insecure: true}\n",
		"bus: {url: 'tls://a:4222'}\n", // a worker
	} {
		if _, err := parse([]byte(good), nil); err != nil {
			t.Error(err)
		}
	}
}
