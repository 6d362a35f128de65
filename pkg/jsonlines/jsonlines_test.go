// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package jsonlines_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/jsonlines"
)

func read(t *testing.T, path string) (all []string) {
	t.Helper()
	if err := jsonlines.Read(path, 64, func(v *string) { all = append(all, *v) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTornLinesCostNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if got := read(t, path); got != nil {
		t.Errorf("of no file: %q", got)
	}
	for _, sync := range []bool{true, false} {
		if err := jsonlines.Append(path, 0o600, sync, "<one>", "two"); err != nil {
			t.Fatal(err)
		}
		torn, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := torn.WriteString(`"thr`); err != nil {
			t.Fatal(err)
		}
		if err := torn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := read(t, path), []string{"<one>", "two", "<one>", "two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := jsonlines.Append(path, 0o600, false, strings.Repeat("x", 100)); err != nil {
		t.Fatal(err)
	}
	if err := jsonlines.Read(path, 64, func(*string) {}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a line that is too long: %v", err)
	}
}

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "a.jsonl")
	if err := jsonlines.Append(path, 0o600, true, 1); err == nil {
		t.Error("without its directory")
	}
	if err := jsonlines.Append(filepath.Join(t.TempDir(), "a"), 0o600, true, func() {}); err == nil {
		t.Error("a func")
	}
}
