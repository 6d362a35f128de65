// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
)

func serve(t *testing.T) string {
	t.Helper()
	r, err := room.New(room.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL
}

// Each row is of a room without faults, and all states of the lights are there.
func TestRecord(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--url", serve(t), "--rows", "200"}, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 201 || lines[0] != "time,light-1/powerstatus,light-2/powerstatus,brightness-sensor-1/brightness" {
		t.Fatalf("%d lines, the first is %q", len(lines), lines[0])
	}
	states := make(map[string]int)
	for _, line := range lines[1:] {
		_, state, _ := strings.Cut(line, ",")
		states[state]++
	}
	for _, want := range []string{"OFF,OFF,0", "ON,OFF,1", "OFF,ON,2", "ON,ON,3"} {
		if states[want] < 10 {
			t.Errorf("state %s is in %d rows", want, states[want])
		}
	}
	if len(states) != 4 {
		t.Errorf("states are %v, want four", states)
	}
}

func TestRecordFails(t *testing.T) {
	url := serve(t)
	for name, args := range map[string][]string{
		"no rows": {"--url", url, "--rows", "0"}, "nobody there": {"--url", "http://127.0.0.1:1"},
		"another address": {"--url", url + "/elsewhere"}, "an argument": {"x"},
	} {
		if err := run(t.Context(), args, new(bytes.Buffer)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
