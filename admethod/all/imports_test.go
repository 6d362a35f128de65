// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/kubeedge/edge-anomaly"

// entries are the ways in for a program of somebody else's, and what each of them links.
var entries = []struct {
	name     string
	imports  []string // below module
	uses     string   // in the program
	modules  []string // all, but this one
	without  []string // in place of modules, where these are many
	megabyte int64    // of a stripped program, at most
}{
	{
		name: "a detector of one's own", imports: []string{"driver"}, uses: `_, _ = driver.Open("", driver.Settings{}, nil)`,
		modules: nil, megabyte: 3,
	},
	{
		name: "a sink or an adapter of one's own", imports: []string{"admethod"}, uses: `admethod.RegisterSink(admethod.SinkFactory{Name: "own"})`,
		modules: nil, megabyte: 3,
	},
	{
		name: "detection in a program", imports: []string{"admethod/pipeline", "_ admethod/inprocess", "_ driver/builtin"},
		uses:    "_, _ = pipeline.NewHandler(pipeline.Options{})",
		modules: []string{"github.com/go-logr/logr", "gonum.org/v1/gonum", "k8s.io/klog/v2"}, megabyte: 7,
	},
	{
		name: "a mapper of KubeEdge's template", imports: []string{"admethod/auto"}, uses: "_ = auto.Shutdown(nil)",
		modules: []string{
			"github.com/go-logr/logr", "github.com/golang/protobuf", "github.com/kubeedge/mapper-framework", "gonum.org/v1/gonum",
			"google.golang.org/protobuf", "k8s.io/klog/v2",
		},
		megabyte: 10,
	},
	{
		name: "a mapper on package device", imports: []string{"device"}, uses: "_ = device.Run(nil, device.Options{})",
		modules: []string{
			"github.com/eclipse/paho.mqtt.golang", "github.com/fsnotify/fsnotify", "github.com/go-logr/logr",
			"github.com/go-viper/mapstructure/v2", "github.com/golang/protobuf", "github.com/gorilla/websocket",
			"github.com/kubeedge/api", "github.com/kubeedge/mapper-framework", "github.com/pelletier/go-toml/v2",
			"github.com/sagikazarmark/locafero", "github.com/sourcegraph/conc", "github.com/spf13/afero", "github.com/spf13/cast",
			"github.com/spf13/pflag", "github.com/spf13/viper", "github.com/subosito/gotenv", "go.yaml.in/yaml/v2",
			"go.yaml.in/yaml/v3", "golang.org/x/net", "golang.org/x/sync", "golang.org/x/sys", "golang.org/x/text",
			"golang.org/x/time", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/grpc",
			"google.golang.org/protobuf", "k8s.io/klog/v2", "sigs.k8s.io/yaml",
		},
		megabyte: 18,
	},
	{
		name: "everything that a mapper may link", imports: []string{"admethod/all"}, uses: "_ = all.Shutdown(nil)",
		without: []string{
			"github.com/kubeedge/api", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", "github.com/schollz/progressbar/v3", "github.com/spf13/cobra", "github.com/spf13/viper",
			"github.com/xuri/excelize/v2", "gonum.org/v1/plot",
		},
		megabyte: 42,
	},
}

// What this module links into a program is asked for by its author: nothing else comes along.
func TestWhatAnImporterLinks(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"list", "-deps", "-f", "{{if not .Standard}}{{with .Module}}{{.Path}}{{end}}{{end}}"}
			var source strings.Builder
			source.WriteString("package main\n")
			for _, i := range e.imports {
				name, path, blank := strings.Cut(i, " ")
				if !blank {
					name, path = "", i
				}
				args = append(args, module+"/"+path)
				fmt.Fprintf(&source, "import %s %q\n", name, module+"/"+path)
			}
			modules := strings.Fields(goCommand(t, root, args...))
			slices.Sort(modules)
			modules = slices.DeleteFunc(slices.Compact(modules), func(m string) bool { return m == module })
			for _, m := range e.without {
				if slices.Contains(modules, m) {
					t.Errorf("%s is linked", m)
				}
			}
			if diff := cmp.Diff(e.modules, modules, cmp.Transformer("set", func(m []string) []string { return append([]string{}, m...) })); diff != "" && e.without == nil {
				t.Errorf("linked modules (-want +got):\n%s", diff)
			}
			if testing.Short() {
				return
			}
			dir := t.TempDir()
			file, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
			if err := os.WriteFile(file, []byte(source.String()+"func main() { "+e.uses+" }\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			goCommand(t, root, "build", "-ldflags=-s -w", "-o", program, file)
			info, err := os.Stat(program)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.1f MB", float64(info.Size())/1e6)
			if info.Size() > e.megabyte*1e6 {
				t.Errorf("a program of %.1f MB, want at most %d", float64(info.Size())/1e6, e.megabyte)
			}
		})
	}
}

func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = dir
	var complaints strings.Builder
	c.Stderr = &complaints
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return string(out)
}
