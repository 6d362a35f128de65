// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devices_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/devices"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// What was said last counts, a torn line costs itself, and the file does not grow by what is old.
func TestBook(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, devices.File)
	note := func(name string, labels map[string]string) {
		t.Helper()
		b, err := devices.Open(dir)
		must(t, err)
		b.Note(devices.Device{Namespace: "plant", Name: name, Labels: labels})
		must(t, b.Save())
	}
	note("a", map[string]string{"line": "1"})
	note("b", map[string]string{"line": "2"})
	note("a", map[string]string{"line": "3"})
	before, err := os.ReadFile(file)
	must(t, err)
	note("a", map[string]string{"line": "3"}) // is known
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Errorf("what is known is written again:\n%s", after)
	}
	must(t, os.WriteFile(file, append(before, `{"namespace":"plant","dev`...), 0o600))
	note("c", nil)
	l, err := devices.Read(dir)
	must(t, err)
	for name, want := range map[string]string{"a": "3", "b": "2", "c": "", "d": ""} {
		if got := l.Of("plant", name)["line"]; got != want {
			t.Errorf("%s: line %q, want %q", name, got, want)
		}
	}

	b, err := devices.Open(dir)
	must(t, err)
	for i := range 5000 {
		b.Note(devices.Device{Namespace: "plant", Name: "a", Labels: map[string]string{"line": fmt.Sprint(i)}})
		must(t, b.Save())
	}
	text, err := os.ReadFile(file)
	must(t, err)
	if n := bytes.Count(text, []byte{'\n'}); n > 2500 {
		t.Errorf("%d lines for three devices", n)
	}
	if l, err = devices.Read(dir); err != nil || l.Of("plant", "a")["line"] != "4999" || l.Of("plant", "b")["line"] != "2" {
		t.Errorf("%v, %v", err, l.Of("plant", "a"))
	}
}

func TestMatch(t *testing.T) {
	dir := t.TempDir()
	b, err := devices.Open(dir)
	must(t, err)
	b.Note(devices.Device{Namespace: "plant", Name: "a", Labels: map[string]string{"line": "3", "hall": "north"}})
	must(t, b.Save())
	l, err := devices.Read(dir)
	must(t, err)
	for _, tt := range []struct {
		device string
		wanted map[string]string
		want   bool
	}{
		{"a", nil, true},
		{"b", nil, true},
		{"a", map[string]string{"line": "3"}, true},
		{"a", map[string]string{"line": "?", "hall": "n*"}, true},
		{"a", map[string]string{"line": "3", "hall": "south"}, false},
		{"a", map[string]string{"floor": "*"}, false},
		{"b", map[string]string{"line": "*"}, false},
	} {
		if got := l.Match("plant", tt.device, tt.wanted); got != tt.want {
			t.Errorf("%s, %v: %v", tt.device, tt.wanted, got)
		}
	}
}

// FuzzRead: whatever is in the file, it is read, and can be written on.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"namespace":"p","device":"d","labels":{"line":"3"}}` + "\n"))
	f.Add([]byte(`{"labels":null}{"device`))
	f.Add([]byte("\n\nnull\n[]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, devices.File), text, 0o600))
		b, err := devices.Open(dir)
		must(t, err)
		b.Note(devices.Device{Namespace: "n", Name: "d", Labels: map[string]string{"a": "b"}})
		must(t, b.Save())
		l, err := devices.Read(dir)
		if err != nil || l.Of("n", "d")["a"] != "b" {
			t.Errorf("%v, %v", err, l)
		}
	})
}
