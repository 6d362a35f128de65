// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// templateOf makes KubeEdge's template of a mapper that was generated from it.
func templateOf(t *testing.T, version string) string {
	t.Helper()
	dir, _ := generated(t, version)
	for name, text := range contents(t, dir) {
		text = strings.NewReplacer("github.com/kubeedge/room", "github.com/kubeedge/Template", "Room", "Template").Replace(text)
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "data/stream/handler.go" {
			for path, code := range map[string]string{
				"data/stream/handler_nostream.go": text, "data/stream/video.go": "package stream\n\nimport _ \"github.com/sailorvii/goav/avcodec\"\n",
				"Dockerfile_stream": "FROM golang:1.22.9\n", "hack/make-rules/mapper.sh": "echo Template\n",
			} {
				if err := create(filepath.Join(dir, path), []byte(code), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return dir
}

func adapted(t *testing.T, dir string, o Options) (to string, files map[string]string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "boiler")
	all, err := Adapt(dir, to, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(to, all); err != nil {
		t.Fatal(err)
	}
	return to, contents(t, to)
}

func TestAdaptTemplate(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			dir := templateOf(t, version)
			before := contents(t, dir)
			_, files := adapted(t, dir, Options{Name: "my-boiler", SDKVersion: "v0.1.0"})
			for name, text := range files {
				if strings.Contains(text, "Template") {
					t.Errorf("%s still says Template", name)
				}
			}
			if mod := files["go.mod"]; !strings.HasPrefix(mod, "module github.com/kubeedge/my-boiler\n") || !strings.Contains(mod, SDK+" v0.1.0") {
				t.Errorf("go.mod:\n%s", mod)
			}
			if !strings.Contains(files["config.yaml"], "name: MyBoiler-mapper") {
				t.Errorf("config.yaml:\n%s", files["config.yaml"])
			}
			if !strings.Contains(files[deviceFile], `"github.com/kubeedge/my-boiler/driver"`) || !strings.Contains(files[deviceFile], handlerLine) {
				t.Errorf("device.go:\n%s", files[deviceFile])
			}
			for _, gone := range []string{"data/stream/handler_nostream.go", "data/stream/video.go", "Dockerfile_stream"} {
				if _, ok := files[gone]; ok {
					t.Errorf("%s is there, which needs streams", gone)
				}
			}
			if after := contents(t, dir); len(after) != len(before) {
				t.Errorf("the template has %d files, had %d", len(after), len(before))
			}
		})
	}
}

func TestAdaptGenerated(t *testing.T) {
	dir, _ := generated(t, "v1.23")
	if err := os.Chmod(filepath.Join(dir, "config.yaml"), 0o755); err != nil { //nolint:gosec // to see that it is kept
		t.Fatal(err)
	}
	for name, data := range map[string]string{".git/config": "x", "vendor/modules.txt": "x", "logo.png": "\x89PNG\x00Template"} {
		if err := create(filepath.Join(dir, name), []byte(data), 0); err != nil {
			t.Fatal(err)
		}
	}
	to, files := adapted(t, dir, Options{Name: "boiler", Module: "example.org/boiler", SDKVersion: "v0.1.0"})
	if !strings.HasPrefix(files["go.mod"], "module example.org/boiler\n") || !strings.Contains(files["cmd/main.go"], `"example.org/boiler/device"`) {
		t.Errorf("go.mod:\n%s\nmain.go:\n%s", files["go.mod"], files["cmd/main.go"])
	}
	if files["logo.png"] != "\x89PNG\x00Template" || files[".git/config"] != "" || files["vendor/modules.txt"] != "" {
		t.Errorf("copied: %q, %q, %q", files["logo.png"], files[".git/config"], files["vendor/modules.txt"])
	}
	if info, err := os.Stat(filepath.Join(to, "config.yaml")); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if !strings.Contains(files["config.yaml"], "name: Boiler-mapper") || strings.Contains(files["config.yaml"], "oom.sock") {
		t.Errorf("config.yaml:\n%s", files["config.yaml"])
	}
	_, files = adapted(t, dir, Options{Name: "my-boiler", SDKVersion: "v0.1.0"})
	if !strings.HasPrefix(files["go.mod"], "module github.com/kubeedge/my-boiler\n") || !strings.Contains(files["cmd/main.go"], `"github.com/kubeedge/my-boiler/device"`) {
		t.Errorf("go.mod without a module asked for:\n%s", files["go.mod"])
	}
	if !strings.Contains(files["config.yaml"], "MyBoiler.sock") {
		t.Errorf("config.yaml:\n%s", files["config.yaml"])
	}
}

func TestAdaptRefuses(t *testing.T) {
	dir, _ := generated(t, "v1.23")
	broken := templateOf(t, "v1.23")
	if err := os.WriteFile(filepath.Join(broken, filepath.FromSlash(deviceFile)), []byte("package device\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	linked, _ := generated(t, "v1.23")
	if err := os.Symlink("/etc/passwd", filepath.Join(linked, "link")); err != nil {
		t.Fatal(err)
	}
	good := Options{Name: "boiler", SDKVersion: "v0.1.0"}
	for _, tt := range []struct {
		dir    string
		change func(*Options)
		want   string
	}{
		{dir, func(o *Options) { o.Name = "Boiler" }, `name "Boiler"`},
		{dir, func(o *Options) { o.Module = "a b" }, "module: malformed"},
		{dir, func(o *Options) { o.SDKVersion = "" }, "want a published version"},
		{t.TempDir(), func(*Options) {}, "not a generated mapper"},
		{filepath.Join(dir, "none"), func(*Options) {}, "there is no directory " + filepath.Join(dir, "none")},
		{broken, func(*Options) {}, filepath.Join(broken, "device", "device.go") + ":1: does not import"},
		{linked, func(*Options) {}, "link is neither a file nor a directory"},
	} {
		o := good
		tt.change(&o)
		if _, err := Adapt(tt.dir, t.TempDir(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

// The template, adapted, builds and passes its test.
func TestAdaptedTemplateBuilds(t *testing.T) {
	buildsMappers(t)
	_, o := generated(t, "v1.23")
	o.Name = "boiler"
	dir, _ := adapted(t, templateOf(t, "v1.23"), o)
	runGo(t, dir)
}

func TestWriteTakesBack(t *testing.T) {
	dir := t.TempDir()
	err := Write(dir, []File{{Path: "a", Data: []byte("1")}, {Path: "a/b", Data: []byte("2")}}) // a is no directory
	if err == nil {
		t.Fatal("no error")
	}
	if left, err := fs.Glob(os.DirFS(dir), "*"); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := Write(dir, []File{{Path: "x", Data: bytes.Repeat([]byte("x"), 9), Mode: 0o755}}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "x")); err != nil || info.Mode().Perm()&0o100 == 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
