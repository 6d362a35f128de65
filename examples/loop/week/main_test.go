// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Equal seeds give equal weeks, and the lamp is dark when it is said to be.
func TestWeek(t *testing.T) {
	weeks := make([]string, 2)
	if testing.Short() {
		weeks = weeks[:1]
	}
	dir := t.TempDir()
	for i := range weeks {
		data := fmt.Sprint(dir, "/", i)
		var out strings.Builder
		if err := run(t.Context(), []string{"--data", data, "--seed", "3"}, &out); err != nil {
			t.Fatal(err)
		}
		if want := "40320 readings of 4 properties, 2026-03-02 to 2026-03-08, 0 lost\n"; out.String() != want {
			t.Errorf("it says %q", out.String())
		}
		var table strings.Builder
		if _, err := store.Export(t.Context(), &table, data, store.Query{}, store.ExportOptions{Format: store.WideCSV}); err != nil {
			t.Fatal(err)
		}
		weeks[i] = table.String()
	}
	if weeks[0] != weeks[len(weeks)-1] {
		t.Error("two weeks of one seed differ")
	}
	dark, lit := 0, 0
	for line := range strings.Lines(weeks[0]) {
		fields := strings.Split(line, ",") // time, brightness, light-1, light-2, temperature, label
		want := map[string]int{"ON": 1}[fields[2]] + 2*map[string]int{"ON": 1}[fields[3]]
		broken := fields[0] >= "2026-03-07T09:00:00Z" && fields[0] < "2026-03-07T11:00:00Z"
		switch {
		case fields[0] == "time":
		case fmt.Sprint(want) == fields[1]:
			lit++
		case broken:
			dark++
		default:
			t.Errorf("a sound room contradicts itself: %s", line)
		}
	}
	if dark < 10 || lit < 9900 {
		t.Errorf("%d readings in the dark, %d others", dark, lit)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"--speed", "1"}, {"--data", "/dev/null"}} {
		if err := run(t.Context(), args, new(strings.Builder)); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
