// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

const root = "../../.."

// guides are the books whose commands are tried. examples/loop has a test of its own, which runs all of it.
func guides(t *testing.T) (files []string) {
	t.Helper()
	for _, pattern := range []string{"README.md", "README_zh.md", "docs/*.md", "docs/guides/*.md", "docs/zh/*.md", "docs/zh/guides/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

type block struct {
	kind string
	line int
	text string
}

func blocks(t *testing.T, path string) (all []block) {
	t.Helper()
	open := false
	for i, line := range strings.Split(read(t, path), "\n") {
		switch kind, fence := strings.CutPrefix(line, "```"); {
		case fence && !open:
			open, all = true, append(all, block{kind, i + 2, ""})
		case fence:
			open = false
		case open:
			all[len(all)-1].text += line + "\n"
		}
	}
	if open {
		t.Fatalf("%s: a block has no end", path)
	}
	return all
}

var (
	continued = regexp.MustCompile(`\\\n\s*`)
)

// commands cuts a block into commands of words. A pipe is two of them.
func commands(text string) (all [][]string) {
	text = continued.ReplaceAllString(text, " ")
	var b strings.Builder
	quote := rune(0)
	var words []string
	word := func() {
		if b.Len() > 0 {
			words = append(words, strings.TrimPrefix(b.String(), "\x00"))
			b.Reset()
		}
	}
	end := func() {
		word()
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	comment := false
	for i, c := range text {
		switch {
		case comment && c != '\n':
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteRune(c)
		case c == '\'' || c == '"':
			quote = c
			b.WriteRune(0) // an empty word is one, too
		case c == '#' && (i == 0 || strings.ContainsRune(" \n", rune(text[i-1]))):
			comment = true
		case c == '\n' || c == '|' || c == '&' || c == ';':
			comment = false
			end()
		case c == ' ':
			word()
		default:
			b.WriteRune(c)
		}
	}
	end()
	return all
}

// workplace is a directory beside which there is what the guides speak of: recordings, a Device, a mapper that KubeEdge's
// template made.
func workplace(t *testing.T) {
	t.Helper()
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "work")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"examples", "Makefile", "go.mod"} {
		if err := os.Symlink(filepath.Join(top, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "..", "my-mapper"), os.DirFS(filepath.Join(top, "pkg", "scaffold", "testdata", "mapper-v1.21"))); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	device, err := os.ReadFile("examples/restful-light-mapper/manifests/devices.yaml")
	if err != nil {
		device = []byte("apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {name: boiler}\nspec: {}\n")
	}
	for name, text := range map[string]string{"readings.csv": recording(gaussian(500)...), "device.yaml": string(device)} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recordRoom(t, "readings")
}

// recordRoom records two lights and their brightness for two days.
func recordRoom(t *testing.T, dir string) {
	t.Helper()
	s, err := store.Open(dir, store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	on := [2]bool{}
	begin := time.Date(2026, time.March, 6, 0, 0, 0, 0, time.UTC)
	for i := range 2 * 1440 {
		at, lux := begin.Add(time.Duration(i)*time.Minute), 0.0
		for k, device := range []string{"light-1", "light-2"} {
			if rng.Float64() < 0.1 {
				on[k] = !on[k]
			}
			text := "OFF"
			if on[k] {
				text = "ON"
				lux += 200
			}
			s.Add(store.Entry{Namespace: "default", Device: device, Property: "powerstatus", At: at, Value: math.NaN(), Text: text, Score: math.NaN()})
		}
		s.Add(store.Entry{Namespace: "default", Device: "brightness-sensor-1", Property: "brightness", At: at, Value: lux, Score: math.NaN()})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// elsewhere is what only commands have that want more than a mapper and files: they are parsed, and here is why.
var elsewhere = map[string]string{
	"doctor":       "wants a node with EdgeCore or a cluster: its own tests have it look at a node's files and at an API server",
	"--kubeconfig": "wants a cluster",
}

// notRun are programs of which the name, and the target or path, is checked alone.
var notRun = map[string]string{
	"make":              "each target takes minutes and is run by ci as such, but for those of a cluster",
	"go":                "builds, which takes minutes; the scaffold's and the patch's own tests build what the guides do",
	"./certificates.sh": "the tests of the manifests run it",
	"kubectl":           "wants a cluster",
	"helm":              "wants a cluster; that its files are there is checked, and the tests of the packaging render the chart",
	"docker":            "may not be installed; likewise",
	"jq":                "may not be installed",
	"grep":              "reads what the command before it writes",
	"git":               "wants the network",
	"anomaly-detector":  "its own tests check the configurations that the guides have",
}

// served are the paths of a mapper's API that the books ask for by curl.
var served = regexp.MustCompile(`^/v1/(incidents|locks(/[a-z-]+)?|verdicts|dataset|status|feedback)$`)

// Each command of each guide is run where files and the API of a mapper are all it needs; of the others, see elsewhere and
// notRun, it is checked that their commands, flags, paths and targets are there.
func TestGuidesCommands(t *testing.T) {
	ran := 0
	for _, path := range guides(t) {
		all := blocks(t, path)
		t.Run(strings.TrimPrefix(path, root+"/"), func(t *testing.T) {
			workplace(t)
			w := startTold(t)
			dir := "."
			for _, b := range all {
				if b.kind != "sh" {
					continue
				}
				for _, args := range commands(b.text) {
					if args[0] == "sudo" {
						args = args[1:]
					}
					at := fmt.Sprintf("line %d: %q", b.line, args)
					switch args[0] {
					case "adctl":
						ran += tryAdctl(t, w, at, dir, args[1:])
					case "cd":
						dir = filepath.Join(dir, args[1])
						if _, err := os.Stat(dir); err != nil {
							t.Errorf("%s: %v", at, err)
						}
					case "make":
						makefile, err := os.ReadFile(filepath.Join(dir, "Makefile"))
						if target := "\n" + args[1] + ":"; err != nil || !strings.Contains("\n"+string(makefile), target) && !regexp.MustCompile(`(?m)^[a-z -]*\b`+regexp.QuoteMeta(args[1])+`\b[a-z -]*:`).Match(makefile) {
							t.Errorf("%s: no such target: %v", at, err)
						}
					case "go":
						if !slices.Contains([]string{"run", "build", "mod", "install", "get"}, args[1]) {
							t.Errorf("%s: no such command", at)
						}
					case "curl":
						ran += tryCurl(t, w, at, args[1:])
					case "./certificates.sh":
						if _, err := os.Stat(filepath.Join(dir, args[0])); err != nil {
							t.Errorf("%s: %v", at, err)
						}
					default:
						for _, arg := range args {
							if _, err := os.Stat(arg); strings.HasPrefix(arg, "examples/") && err != nil {
								t.Errorf("%s: %v", at, err)
							}
						}
						if notRun[args[0]] == "" {
							t.Errorf("%s: a test has to know this program", at)
						}
					}
				}
			}
		})
	}
	if ran < 30 {
		t.Errorf("only %d commands of adctl were run", ran)
	}
}

// tryCurl asks the API of a mapper. It returns how many requests were made.
func tryCurl(t *testing.T, w *told, at string, args []string) int {
	t.Helper()
	u, err := url.Parse(args[len(args)-1])
	if err != nil || !served.MatchString(u.Path) {
		t.Errorf("%s: no such path: %v", at, err)
		return 0
	}
	if strings.HasPrefix(u.Path, "/v1/locks") || u.Path == "/v1/dataset" {
		return 0 // of sinks that this mapper has not
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+u.RequestURI(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer 0123456789abcdef")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", at, answer.Status)
	}
	return 1
}

// ofMapper gives a command the API, the token, the history and the incident of the test's mapper for those of the guide.
func (w *told) ofMapper(args []string) []string {
	args = slices.Clone(args)
	for i := 1; i < len(args); i++ {
		switch args[i-1] {
		case "--url":
			args[i] = w.url
		case "--token":
			args[i] = w.token
		case "--history":
			args[i] = filepath.Join(w.dir, history.File)
		case "--incident":
			args[i] = "0000000000000007"
		}
	}
	if slices.Contains(args, "--url") && !slices.Contains(args, "--token") { // that of the test wants one of everybody
		args = append(args, "--token", w.token)
	}
	return args
}

// tryAdctl runs a command, or parses it where it wants what is not here. It returns how many it ran.
func tryAdctl(t *testing.T, w *told, at, dir string, args []string) int {
	t.Helper()
	var given []string
	for _, a := range args {
		if found, _ := filepath.Glob(filepath.Join(dir, a)); strings.Contains(a, "*") && strings.Contains(a, "/") && found != nil {
			given = append(given, found...)
			continue
		}
		given = append(given, a)
	}
	wants := func(a string) bool { return elsewhere[a] != "" }
	if slices.ContainsFunc(given, wants) && !slices.Contains(given, "--cloudcore-role") {
		cmd, rest, err := newRoot().Find(given)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("%s: %v", at, err)
		}
		return 0
	}
	code, _, stderr := adctl(t, "", w.ofMapper(given)...)
	if code != exitOK || strings.Contains(stderr, "deprecated") {
		t.Errorf("%s: exit status %d: %s", at, code, stderr)
	}
	return 1
}

// Blocks of YAML are YAML, and the Chinese books have the commands of the English ones.
func TestGuidesAgree(t *testing.T) {
	for _, path := range guides(t) {
		for _, b := range blocks(t, path) {
			var v any
			if err := yaml.Unmarshal([]byte(b.text), &v); b.kind == "yaml" && err != nil {
				t.Errorf("%s: line %d: %v", path, b.line, err)
			}
		}
		other := strings.Replace(path, "/docs/zh/", "/docs/", 1)
		if strings.HasSuffix(path, "README_zh.md") {
			other = strings.Replace(path, "_zh", "", 1)
		}
		if other == path {
			continue
		}
		var both [2][]string
		for i, path := range []string{path, other} {
			for _, b := range blocks(t, path) {
				for _, args := range commands(b.text) {
					if b.kind == "sh" {
						both[i] = append(both[i], strings.Join(args, " "))
					}
				}
			}
		}
		if !slices.Equal(both[0], both[1]) {
			t.Errorf("%s and %s have other commands:\n%q\n%q", path, other, both[0], both[1])
		}
	}
}
