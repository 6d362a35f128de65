// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package labels_test

import (
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
)

// What was said is read in the order in which it was, past a line that a crash tore.
func TestAddAndRead(t *testing.T) {
	dir := t.TempDir()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want := []labels.Label{
		{Device: "light-*", From: noon, To: noon.Add(time.Hour), Label: "anomaly"},
		{Device: "light-1", Property: "power", From: noon, To: noon.Add(1), Label: "normal", Said: noon.Add(time.Hour), By: "Ada", Incident: "00000000000000ff", Note: "a party"},
	}
	if got, err := labels.Read(dir); err != nil || got != nil {
		t.Fatalf("%v, %v in a directory without labels", got, err)
	}
	for i, l := range want {
		if i == 1 {
			f, err := os.OpenFile(filepath.Join(dir, labels.File), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(`{"device":"torn`); err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		}
		if err := labels.Add(dir, l); err != nil {
			t.Fatal(err)
		}
	}
	got, err := labels.Read(dir)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestAddRefuses(t *testing.T) {
	noon := time.Unix(0, 0)
	for _, l := range []labels.Label{{From: noon, To: noon}, {Device: "[", From: noon, To: noon.Add(1)}} {
		if err := labels.Add(t.TempDir(), l); err == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}

func FuzzExactly(f *testing.F) {
	f.Add("light-1")
	f.Add(`a*?[b]\`)
	f.Fuzz(func(t *testing.T, name string) {
		pattern := labels.Exactly(name)
		if ok, err := path.Match(pattern, name); !ok || err != nil {
			t.Errorf("%q does not match its name %q: %v", pattern, name, err)
		}
		if ok, _ := path.Match(pattern, name+"x"); ok {
			t.Errorf("%q matches %q", pattern, name+"x")
		}
	})
}
