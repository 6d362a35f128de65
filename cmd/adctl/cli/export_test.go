// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func TestExportAndLabel(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		s.Add(store.Entry{Namespace: "default", Device: "light-1", Property: "lux", At: start.Add(time.Duration(i) * time.Minute), Value: float64(i), Severity: "normal", Score: 0.5})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	adctl := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs strings.Builder
		if code := Run(t.Context(), args, strings.NewReader(""), &out, &errs); code != want {
			t.Fatalf("%q: exit code %d, want %d: %s", args, code, want, errs.String())
		}
		return out.String(), errs.String()
	}
	told, _ := adctl(exitOK, "label", "--data", dir, "--device", "light-1", "--from", "2026-03-01T12:01:00Z", "--to", "2026-03-01T12:02:00Z", "--label", "anomaly")
	if want := "1 readings are labelled \"anomaly\"\n"; told != want {
		t.Errorf("label says %q, want %q", told, want)
	}
	want := "time,lux,label\n2026-03-01T12:01:00Z,1,anomaly\n2026-03-01T12:02:00Z,2,\n"
	got, _ := adctl(exitOK, "export", "--data", dir, "--device", "light-*", "--from", "2026-03-01T12:01:00Z", "--format", "wide")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("standard output (-want +got):\n%s", diff)
	}
	file := filepath.Join(t.TempDir(), "out.csv")
	adctl(exitOK, "export", "--data", dir, "--from", "2026-03-01T12:01:00Z", "--format", "wide", "--output", file)
	written, err := os.ReadFile(file)
	if diff := cmp.Diff(want, string(written)); err != nil || diff != "" {
		t.Errorf("file: error %v (-want +got):\n%s", err, diff)
	}
	for _, args := range [][]string{
		{"export"},
		{"export", "--data", filepath.Join(dir, "nowhere")},
		{"export", "--data", dir, "--from", "yesterday"},
		{"export", "--data", dir, "--verdict", "bad"},
		{"label", "--data", dir, "--label", "anomaly"},
	} {
		if _, errs := adctl(exitUsage, args...); errs == "" {
			t.Errorf("%q: nothing is said", args)
		}
	}
}
