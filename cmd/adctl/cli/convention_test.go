// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Each command that lists writes the same in four formats, to standard output or to a file.
func TestFormats(t *testing.T) {
	table := file(t, "pump.csv", pump(600, 500))
	manifest := file(t, "lamp.yaml", strings.Replace(nestedDevice, "quality: # strict\n          late: 3", "minDeviation: 0.123456789", 1))
	for name, args := range map[string][]string{
		"drivers": {"drivers"}, "version": {"version"}, "detect": {"detect", table, "-q"},
		"bench": {"bench", "faults", "--episodes", "1", "--fault", "spike", "--signal", "noisy"}, "lint": {"lint", manifest},
	} {
		for _, format := range []string{"json", "yaml", "csv", "table"} {
			code, stdout, stderr := adctl(t, "", append(slices.Clone(args), "-o", format)...)
			if code != exitOK || stderr != "" && name != "lint" { // which says how much it saw
				t.Fatalf("%s as %s: exit status %d: %s", name, format, code, stderr)
			}
			var v any
			var err error
			switch format {
			case "json":
				err = json.Unmarshal([]byte(stdout), &v)
			case "yaml":
				err = yaml.Unmarshal([]byte(stdout), &v)
			case "csv":
				v, err = csv.NewReader(strings.NewReader(stdout)).ReadAll()
			default:
				v = stdout
			}
			if err != nil || v == nil || v == "" {
				t.Errorf("%s as %s: %v\n%.300s", name, format, err, stdout)
			}
		}
	}
	out := filepath.Join(t.TempDir(), "drivers.json")
	if code, stdout, stderr := adctl(t, "", "drivers", "-o", "json", "--output", out); code != exitOK || stdout != "" || !strings.Contains(read(t, out), `"auto"`) {
		t.Errorf("to a file: exit status %d, %q, %s", code, stdout, stderr)
	}
}

// Old spellings work, and are told.
func TestOldSpellings(t *testing.T) {
	table := file(t, "pump.csv", pump(300, 300))
	out := filepath.Join(t.TempDir(), "out.csv")
	for name, args := range map[string][]string{
		"--input":         {"detect", "--input", table},
		"-o FILE":         {"detect", table, "-o", out},
		"-o and --format": {"detect", table, "-o", out + ".pred", "--format", "pred", "--train-rows", "100"},
		"--format full":   {"detect", table, "--format", "full"},
		"--output json":   {"drivers", "--output", "json"},
		"train -o MODEL":  {"train", "--input", table, "-o", filepath.Join(t.TempDir(), "pump.model")},
		"doctor -o text":  {"version", "-o", "text"},
		"version as JSON": {"version", "--output", "json"},
		"bench --json":    {"bench", "faults", "--episodes", "1", "--fault", "spike", "--signal", "noisy", "--json"},
		"lint as text":    {"lint", "--format", "text", file(t, "none.yaml", "")},
	} {
		code, _, stderr := adctl(t, "", args...)
		if code != exitOK || !strings.Contains(stderr, "is deprecated: ") {
			t.Errorf("%s: exit status %d: %s", name, code, stderr)
		}
	}
	if !strings.HasPrefix(read(t, out), "timestamp,") {
		t.Error("no rows in the file of -o")
	}
}

// The shell completes names of detectors, keys of settings and files.
func TestCompletion(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"detectors":         {[]string{"detect", "--detector", ""}, []string{"auto\t", "ewma\t", "autogroup\t"}},
		"keys":              {[]string{"detect", "--set", ""}, []string{"threshold=\t", "alarms=\t", "detector.warmUp=\t"}},
		"keys of a driver":  {[]string{"detect", "--detector", "ewma", "--set", "det"}, []string{"detector.window=\t"}},
		"formats":           {[]string{"detect", "-o", ""}, []string{"table\n", "csv\n", "json\n", "yaml\n"}},
		"files":             {[]string{"detect", ""}, []string{"csv\n", "parquet\n", ":8"}},
		"models":            {[]string{"model", "show", ""}, []string{"model\n", ":8"}},
		"severities":        {[]string{"detect", "--fail-on", ""}, []string{"warning\n", "critical\n"}},
		"commands":          {[]string{""}, []string{"completion\t", "detect\t", "version\t"}},
		"trainable drivers": {[]string{"train", "--detector", ""}, []string{"bayesnet\t"}},
	} {
		code, stdout, stderr := adctl(t, "", append([]string{"__complete"}, c.args...)...)
		if code != exitOK {
			t.Errorf("%s: exit status %d: %s", name, code, stderr)
		}
		has(t, name, stdout, c.want...)
	}
	_, help, _ := adctl(t, "", "--help")
	has(t, "help", help, "completion")
}

// Verdicts are printed as they come, each once, in the order of time, until the program is interrupted.
func TestWatchVerdicts(t *testing.T) {
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	verdict := func(i int, property string) httpapi.Verdict {
		return httpapi.Verdict{At: at(i), Namespace: "default", Device: "light", Property: property, Severity: driver.Normal}
	}
	looks := [][]httpapi.Verdict{
		{verdict(2, "lux"), verdict(1, "state")},
		{verdict(2, "lux"), verdict(1, "state")},
		{verdict(3, "lux"), verdict(1, "state")},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := newVerdicts()
	cmd.SetContext(ctx)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err := watchVerdicts(cmd, &output{format: "csv"}, time.Millisecond, history.Filter{}, func(context.Context, history.Filter) ([]httpapi.Verdict, error) {
		if len(looks) == 0 {
			cancel()
			return nil, ctx.Err()
		}
		next := looks[0]
		looks = looks[1:]
		return next, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(stdout.String()) {
		got = append(got, strings.Join(strings.Split(line, ",")[:4], " "))
	}
	want := []string{
		"read at namespace device property", "2026-03-01T00:00:01.000Z default light state", "2026-03-01T00:00:02.000Z default light lux",
		"2026-03-01T00:00:03.000Z default light lux",
	}
	if !slices.Equal(got, want) {
		t.Errorf("printed %q, want %q; %s", got, want, stderr.String())
	}
}

// The exit status says what was found.
func TestExitStatusOfDetect(t *testing.T) {
	spike := gaussian(1000)
	spike[900] += 30
	healthy, faulty, short := file(t, "h.csv", recording(gaussian(1000)...)), file(t, "f.csv", recording(spike...)), file(t, "s.csv", recording(1, 2, 3))
	empty, text := file(t, "e.csv", ""), file(t, "t.csv", "\x00\x01")
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"fine":                        {[]string{healthy, "--fail-on", "warning"}, exitOK},
		"anomalies, not asked for":    {[]string{faulty}, exitOK},
		"warnings":                    {[]string{faulty, "--fail-on", "warning"}, exitFailed},
		"critical":                    {[]string{faulty, "--fail-on", "critical"}, exitFailed},
		"unusable":                    {[]string{text}, exitUsage},
		"empty":                       {[]string{empty}, exitUsage},
		"too few":                     {[]string{short}, exitNothing},
		"one of several too few":      {[]string{healthy, short}, exitNothing},
		"anomalies before too few":    {[]string{short, faulty, "--fail-on", "critical"}, exitFailed},
		"unusable before all":         {[]string{short, faulty, empty, "--fail-on", "critical"}, exitUsage},
		"a false alarm a month":       {[]string{faulty, "--alarms", "1/month", "--fail-on", "critical"}, exitFailed},
		"alarms that cannot be read":  {[]string{faulty, "--alarms", "few"}, exitUsage},
		"as many as there are minute": {[]string{healthy, "--alarms", "500/day", "--fail-on", "warning"}, exitFailed},
	} {
		if code, _, stderr := adctl(t, "", append([]string{"detect"}, c.args...)...); code != c.want {
			t.Errorf("%s: exit status %d, want %d: %s", name, code, c.want, stderr)
		}
	}
}

// What --output names is replaced whole; a link stays one, and what is no file is written to.
func TestOutputToWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe, link, plain := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(plain, []byte("old"), 0o600), os.Symlink(plain, link)); err != nil {
		t.Fatal(err)
	}
	piped := make(chan string)
	go func() {
		data, err := os.ReadFile(pipe)
		piped <- fmt.Sprint(string(data), err)
	}()
	_, want, _ := adctl(t, "", "version", "-o", "json")
	for _, name := range []string{pipe, link} {
		if code, _, stderr := adctl(t, "", "version", "-o", "json", "--output", name); code != 0 {
			t.Fatalf("%s: %d, %s", name, code, stderr)
		}
	}
	for name, mode := range map[string]os.FileMode{pipe: os.ModeNamedPipe, link: os.ModeSymlink} {
		if info, err := os.Lstat(name); err != nil || info.Mode()&mode == 0 {
			t.Fatalf("%s is no %v any more: %v", name, mode, err)
		}
	}
	if got := <-piped; got != want+"<nil>" {
		t.Errorf("the pipe got %q, want %q", got, want)
	}
	if got := read(t, plain); got != want {
		t.Errorf("the file that the link leads to has %q", got)
	}
}
