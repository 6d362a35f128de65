// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func example() Options {
	return Options{
		Name: "demo", SDKVersion: "v0.1.0",
		Properties: []Property{{Name: "temperature", Type: "double"}, {Name: "valve", Type: "int", Writable: true}, {Name: "mode", Type: "string", Writable: true}},
	}
}

func TestGolden(t *testing.T) {
	files, err := Render(example())
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		all.WriteString("-- " + f.Path + " --\n" + string(f.Data))
	}
	golden := filepath.Join("testdata", "demo.txt")
	if *update {
		if err := writeGolden(golden, all.String()); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("-%s +rendered (go test ./pkg/scaffold -update writes it anew):\n%s", golden, diff)
	}
}

func writeGolden(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func TestWrongOptions(t *testing.T) {
	for _, tt := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Name = "" }, `name "": want a Kubernetes name`},
		{func(o *Options) { o.Name = "Demo" }, `name "Demo"`},
		{func(o *Options) { o.Name = "../demo" }, `name "../demo"`},
		{func(o *Options) { o.Name = strings.Repeat("a", 51) }, "50 at most"},
		{func(o *Options) { o.Module = "no spaces" }, "module: malformed module path"},
		{func(o *Options) { o.Module = SDK + "/x" }, "is that of the library"},
		{func(o *Options) { o.Protocol = "mod_bus" }, `protocol "mod_bus"`},
		{func(o *Options) { o.Detector = "a b" }, `detector "a b"`},
		{func(o *Options) { o.Adapter = "mqtt" }, `adapter "mqtt": want one of inprocess, grpc, http`},
		{func(o *Options) { o.Properties = []Property{{Name: "x", Type: "string"}} }, "want at least one of type int"},
		{func(o *Options) { o.SDKVersion = "" }, "want a published version"},
		{func(o *Options) { o.SDKVersion = "v1.0.0+dirty" }, "want a published version"},
		{func(o *Options) { o.SDKPath = "here" }, `SDK path "here": want an absolute path`},
	} {
		o := example()
		tt.change(&o)
		if _, err := Render(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestParseProperties(t *testing.T) {
	got, err := ParseProperties("a, b:INT:rw,c-1:boolean:ro")
	if err != nil {
		t.Fatal(err)
	}
	want := []Property{{Name: "a", Type: "double"}, {Name: "b", Type: "int", Writable: true}, {Name: "c-1", Type: "boolean"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string]string{
		"":           "must begin with a letter",
		"a:b:c:d":    "want name:type:access",
		"a:bytes":    `type "bytes"`,
		"a:int:wo":   `access "wo"`,
		"a,a":        `property "a" is there twice`,
		"a\":int:ro": "must begin with a letter",
	} {
		if _, err := ParseProperties(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", in, err, want)
		}
	}
}

// What is accepted can be rendered.
func FuzzParseProperties(f *testing.F) {
	f.Add("a, b:INT:rw,c-1:boolean:ro")
	f.Add("a:b:c:d,,:")
	f.Fuzz(func(t *testing.T, s string) {
		properties, err := ParseProperties(s)
		if err != nil || !slices.ContainsFunc(properties, Property.Numeric) {
			return
		}
		o := example()
		o.Properties = properties
		if _, err := Render(o); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func TestWriteOverwritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	files := []File{{Path: "a", Data: []byte("1")}, {Path: "b/c", Data: []byte("2")}}
	if err := Write(dir, files[1:]); err != nil {
		t.Fatal(err)
	}
	err := Write(dir, []File{{Path: "a", Data: []byte("3")}, {Path: "b/c", Data: []byte("4")}})
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), filepath.Join("b", "c")) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was written although another was there")
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "b", "c")); err != nil || string(raw) != "2" {
		t.Errorf("got %q, %v", raw, err)
	}
}

// The generated project passes its own test, finds the fault of its simulated device, and is what gofmt makes of it.
func TestProjectWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a project")
	}
	sdk, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	o := example()
	o.Adapter, o.SDKPath = "grpc", sdk
	files, err := Render(o)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	commands := [][]string{{"make", "go.sum"}, {"go", "test", "-vet=off", "-tags", "simulate", "./..."}, {"make", "run-sim", "FOR=12s"}}
	if os.Getenv("EDGE_ANOMALY_BUILDS") != "" { // vets and compiles all anew: static, and with no path of this machine
		commands = [][]string{{"make", "test"}, {"make", "build"}, {"make", "run-sim", "FOR=12s"}}
	}
	for _, command := range commands {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
		if command[1] == "run-sim" && !strings.Contains(string(out), "VERDICT  ") {
			t.Errorf("make run-sim: no verdict in\n%s", out)
		}
	}
}
