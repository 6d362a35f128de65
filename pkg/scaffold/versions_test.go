// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// release is what a version of KubeEdge's generator leaves in go.mod and in its Dockerfiles. The code is that of the
// mapper in testdata that stands for it.
type release struct {
	code, goLine, klog, golang string
	api                        string // by which path the API is required, and replaced
	detection                  bool   // its own tree has anomalyDetection
}

var releases = map[string]release{
	"v1.18.3": {"v1.18", "1.21", "v2.100.1", "1.21.11", kubeedge, false},
	"v1.19.2": {"v1.21", "1.21", "v2.110.1", "1.21.11", kubeedgeAPI, false},
	"v1.20.0": {"v1.21", "1.22.0", "v2.120.1", "1.21.11", kubeedgeAPI, false},
	"v1.21.2": {"v1.21", "1.22.0", "v2.120.1", "1.21.11", kubeedgeAPI, false},
	"v1.22.2": {"v1.21", "1.22.0", "v2.120.1", "1.22.9", kubeedgeAPI, false},
	"v1.23.1": {"v1.23", "1.23.12", "v2.130.1", "1.23.12", kubeedgeAPI, true},
	"HEAD":    {"v1.23", "1.23.12", "v2.140.0", "1.23.12", kubeedgeAPI, true},
}

// release writes the mapper into the tree of KubeEdge that generated it, or copied out of it.
func (r release) generate(t *testing.T, inTree bool) (dir string, o Options) {
	t.Helper()
	from, o := generated(t, r.code)
	staging := filepath.Join(t.TempDir(), "kubeedge", "staging", "src", "github.com", "kubeedge")
	dir = filepath.Join(staging, "room")
	if err := os.MkdirAll(staging, 0o755); err != nil { //nolint:gosec // a directory of a test
		t.Fatal(err)
	}
	if err := os.Rename(from, dir); err != nil {
		t.Fatal(err)
	}
	write := func(text string, path ...string) {
		t.Helper()
		file := filepath.Join(path...)
		_ = os.Remove(file) // may not be there
		if err := create(file, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	apiAt := "../api"
	if r.api == kubeedge {
		apiAt = "../../../../../../kubeedge"
	}
	write(fmt.Sprintf("module github.com/kubeedge/room\n\ngo %s\n\nrequire (\n\t%s v0.0.0\n\t%s v0.0.0\n\tk8s.io/klog/v2 %s\n)\n\nreplace (\n\t%s => %s\n\t%s => ../mapper-framework\n)\n",
		r.goLine, r.api, framework, r.klog, r.api, apiAt, framework), dir, "go.mod")
	write("FROM golang:"+r.golang+"-bullseye AS builder\nRUN GOOS=linux go build -o main cmd/main.go\n\nFROM ubuntu:18.04\nCOPY --from=builder /build/main kubeedge/\n", dir, "Dockerfile_stream")
	if inTree {
		detection := "// before v1.23\n"
		if r.detection {
			detection = "type AnomalyDetectionConfig struct{}\n"
		}
		write("module "+kubeedgeAPI+"\n\ngo "+r.goLine+"\n", staging, "api", "go.mod")
		write("package v1beta1\n\n"+detection, staging, "api", "apis", "devices", "v1beta1", "device_instance_types.go")
		write("module "+framework+"\n\ngo "+r.goLine+"\n", staging, "mapper-framework", "go.mod")
		write("package common\n\n"+detection, staging, "mapper-framework", "pkg", "common", "configmaptype.go")
	}
	return dir, o
}

// What each release leaves is patched, in its tree as well as copied out: replaces that lead to an older API or framework
// go, those that lead to one with anomalyDetection stay, and builder and runtime have the same libc.
func TestPatchOfEachRelease(t *testing.T) {
	for name, r := range releases {
		for _, inTree := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s in its tree %v", name, inTree), func(t *testing.T) {
				dir, o := r.generate(t, inTree)
				changes, err := Patch(dir, o)
				if err != nil {
					t.Fatal(err)
				}
				after := make(map[string]string)
				for _, c := range changes {
					after[c.Path] = string(c.New)
				}
				kept := inTree && r.detection
				for module, at := range map[string]string{kubeedgeAPI: "../api", framework: "../mapper-framework"} {
					if got := strings.Contains(after["go.mod"], module+" => "+at); got != kept {
						t.Errorf("the replace of %s is kept: %v, want %v\n%s", module, got, kept, after["go.mod"])
					}
				}
				if strings.Contains(after["go.mod"], kubeedge+" ") {
					t.Errorf("go.mod:\n%s", after["go.mod"])
				}
				if docker := after["Dockerfile_stream"]; !strings.HasPrefix(docker, "FROM golang:1.25-bookworm AS builder\n") || !strings.Contains(docker, "\nFROM debian:bookworm\n") {
					t.Errorf("Dockerfile_stream:\n%s", docker)
				}
				if err := Apply(dir, changes); err != nil {
					t.Fatal(err)
				}
				if again, err := Patch(dir, o); err != nil || len(again) != 0 {
					t.Errorf("again: %d changes, %v", len(again), err)
				}
			})
		}
	}
}

// Where the trees of the oldest releases lie beside them, mappers build all the same.
func TestPatchedReleaseBuildsInItsTree(t *testing.T) {
	buildsMappers(t)
	for _, name := range []string{"v1.18.3", "v1.19.2", "v1.22.2"} {
		t.Run(name, func(t *testing.T) {
			dir, o := releases[name].generate(t, true)
			patchAndBuild(t, dir, o)
		})
	}
}

// A file that is not as gofmt wants it keeps every line that is not edited, and what is added is formatted.
func TestPatchLeavesOtherLinesAlone(t *testing.T) {
	for _, version := range versions {
		for name, spoil := range map[string]func(string) string{
			"imports out of order": func(s string) string {
				return strings.Replace(s, "import (\n", "import (\n\t\"github.com/kubeedge/room/driver\"\n", 1)
			},
			"spaces for tabs elsewhere": func(s string) string { return strings.Replace(s, "\treturn", "  return", 1) },
		} {
			t.Run(version+" "+name, func(t *testing.T) {
				dir, o := generated(t, version)
				path := filepath.Join(dir, filepath.FromSlash(deviceFile))
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				old := string(raw)
				if strings.HasPrefix(name, "imports") {
					old = strings.Replace(old, "\t\"github.com/kubeedge/room/driver\"\n", "", 1)
				}
				old = spoil(old)
				if formatted, err := format.Source([]byte(old)); err != nil || string(formatted) == old {
					t.Fatalf("the file is clean: %v", err)
				}
				if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
					t.Fatal(err)
				}
				changes, err := Patch(dir, o)
				if err != nil {
					t.Fatal(err)
				}
				i := slices.IndexFunc(changes, func(c Change) bool { return c.Path == deviceFile })
				added, gone := diffLines(strings.Split(old, "\n"), strings.Split(string(changes[i].New), "\n"))
				for _, line := range gone {
					if !strings.Contains(line, ownHandler) && !strings.Contains(line, kubeedge+"/") {
						t.Errorf("the line %q is gone", line)
					}
				}
				if len(added) > 8 {
					t.Errorf("added %d lines:\n%s", len(added), strings.Join(added, "\n"))
				}
				formatted, err := format.Source(changes[i].New)
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range added {
					if !bytes.Contains(formatted, []byte("\n"+line+"\n")) {
						t.Errorf("the line %q is not as gofmt wants it", line)
					}
				}
			})
		}
	}
}

// diffLines tells the lines of after that are not in before, and the other way round, by a longest common subsequence.
func diffLines(before, after []string) (added, gone []string) {
	length := make([][]int, len(before)+1)
	for i := range length {
		length[i] = make([]int, len(after)+1)
	}
	for i, b := range slices.Backward(before) {
		for j, a := range slices.Backward(after) {
			if length[i][j] = max(length[i+1][j], length[i][j+1]); a == b {
				length[i][j] = length[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(before) && j < len(after) {
		switch {
		case before[i] == after[j]:
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			gone = append(gone, before[i])
			i++
		default:
			added = append(added, after[j])
			j++
		}
	}
	return append(added, after[j:]...), append(gone, before[i:]...)
}

// After v1.23 a generated main sends only errors to stderr. What detection says must be seen.
func TestPatchLetsWarningsThrough(t *testing.T) {
	const legacy = `	if err := flag.Set("legacy_stderr_threshold_behavior", "false"); err != nil {
		klog.Fatal(err)
	}
`
	for _, line := range []string{legacy, "\t_ = flag.Set(\"legacy_stderr_threshold_behavior\", \"false\")\n", "\tflag.Set(`legacy_stderr_threshold_behavior`, `false`)\n"} {
		dir, o := generated(t, "v1.23")
		main := filepath.Join(dir, "cmd", "main.go")
		raw, err := os.ReadFile(main)
		if err != nil {
			t.Fatal(err)
		}
		old := strings.Replace(string(raw), "\tdefer klog.Flush()\n", line+"\tdefer klog.Flush()\n", 1)
		old = strings.Replace(old, "\t\"errors\"\n", "\t\"errors\"\n\t\"flag\"\n", 1)
		if err := os.WriteFile(main, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		changes, err := Patch(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(old, "func main() {\n", "func main() {\n\t"+shutdownCall+"\n", 1)
		want = strings.Replace(want, line, line+"\t// or INFO and WARNING, verdicts of anomaly detection among them, do not reach the log\n\t_ = flag.Set(\"stderrthreshold\", \"INFO\")\n", 1)
		if diff := cmp.Diff(want, string(changes[slices.IndexFunc(changes, func(c Change) bool { return c.Path == "cmd/main.go" })].New)); diff != "" {
			t.Errorf("main.go (-want +got):\n%s", diff)
		}
		if err := Apply(dir, changes); err != nil {
			t.Fatal(err)
		}
		if again, err := Patch(dir, o); err != nil || len(again) != 0 {
			t.Errorf("again: %d changes, %v", len(again), err)
		}
	}
}

// A mapper that handles signals itself is told what to call, and what an author wrote for detection is kept.
func TestPatchKeepsTheAuthorsOwn(t *testing.T) {
	const own = "\n// AnomalyDetectionProcess judges.\nfunc (c *CustomizedClient) AnomalyDetectionProcess(request *AnomalyDetectionRequest) (bool, error) {\n\treturn reads > 9, nil\n}\n"
	for name, tt := range map[string]struct {
		file, old, new string
		note           string
		stays          string
		in             string
	}{
		"own detection": {
			"driver/driver.go", "// AnomalyDetection judges a reading.\n",
			strings.Replace(own, "return reads > 9, nil", "reads++\n\treturn reads > 9, nil", 1)[1:] + "\n// AnomalyDetection judges a reading.\n",
			"AnomalyDetectionProcess is the author's own", "adHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig)", deviceFile,
		},
		"detection as generated": {"driver/driver.go", "// AnomalyDetection judges a reading.\n", own[1:] + "\n// AnomalyDetection judges a reading.\n", "", "", ""},
		"own signals":            {"cmd/main.go", "\tdefer klog.Flush()\n", "\tdefer klog.Flush()\n\tsignal.Notify(make(chan os.Signal, 1))\n", "call admethod.Shutdown there", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir, o := generated(t, "v1.23")
			rewrite(t, filepath.Join(dir, filepath.FromSlash(tt.file)), tt.old, tt.new)
			var notes []string
			o.Note = func(text string) { notes = append(notes, text) }
			changes, err := Patch(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(notes, "\n"); tt.note == "" && said != "" || !strings.Contains(said, tt.note) {
				t.Errorf("notes %q, want %q", said, tt.note)
			}
			after := make(map[string]string)
			for _, c := range changes {
				after[c.Path] = string(c.New)
			}
			if tt.stays != "" && (!strings.Contains(after[tt.in], tt.stays) || strings.Count(after[tt.in], handlerLine) != 1) {
				t.Errorf("%s:\n%s", tt.in, after[tt.in])
			}
			if _, added := after["cmd/shutdown.go"]; added == (name == "own signals") {
				t.Errorf("cmd/shutdown.go is added: %v", added)
			}
			if formatted, err := format.Source([]byte(after[deviceFile])); err != nil || string(formatted) != after[deviceFile] {
				t.Errorf("device.go is not as gofmt wants it: %v", err)
			}
		})
	}
}

func TestPatchLinks(t *testing.T) {
	for link, want := range map[string]string{"": admethodAuto, LinkAll: admethodAll, LinkAuto: admethodAuto} {
		dir, o := generated(t, "v1.23")
		o.Link = link
		changes, err := Patch(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if slices.Contains([]string{deviceFile, "cmd/shutdown.go"}, c.Path) && !bytes.Contains(c.New, []byte(`"`+want+`"`)) {
				t.Errorf("%q: %s does not import %s", link, c.Path, want)
			}
		}
	}
}
