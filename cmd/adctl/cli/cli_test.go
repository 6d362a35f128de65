// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	quiet()
	goleak.VerifyTestMain(m)
}

// adctl runs the program in the test's own process.
func adctl(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Run(t.Context(), args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

// file writes a file of the test and returns its name.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// has fails the test unless the text has each of the parts.
func has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}

func TestExitCodes(t *testing.T) {
	good := file(t, "good.csv", "timestamp,value\n1,1\n2,2\n")
	for name, c := range map[string]struct {
		args   []string
		stdin  string
		code   int
		stderr string
	}{
		"help":                 {args: nil, code: exitOK},
		"unknown command":      {args: []string{"guess"}, code: exitUsage, stderr: `unknown command "guess"`},
		"unknown flag":         {args: []string{"detect", "--fast"}, code: exitUsage, stderr: "unknown flag: --fast"},
		"no input":             {args: []string{"detect"}, code: exitUsage, stderr: "want a file to read"},
		"input of a format":    {args: []string{"detect", good, "-o", "xml"}, code: exitUsage, stderr: "want one of table, csv, json, yaml, pred"},
		"to fail on what":      {args: []string{"detect", good, "--fail-on", "normal"}, code: exitUsage, stderr: "want warning or critical"},
		"input is missing":     {args: []string{"detect", "-i", good + ".gone"}, code: exitUsage, stderr: "no such file"},
		"input is a directory": {args: []string{"detect", "-i", filepath.Dir(good)}, code: exitUsage, stderr: "is a directory"},
		"input is no CSV":      {args: []string{"detect", "-i", "-"}, stdin: "\x00\x01\x02", code: exitUsage, stderr: "this is no text"},
		"no row can be used":   {args: []string{"detect", "-i", "-"}, stdin: "time,value\na,1\nb,2\n", code: exitUsage, stderr: `no column is a time: time: got "a"`},
		"output is the input":  {args: []string{"detect", "-i", good, "-o", good}, code: exitUsage, stderr: "is the input"},
		"output impossible":    {args: []string{"detect", "-i", good, "-o", filepath.Join(good, "out.csv")}, code: exitFailed, stderr: "not a directory"},
		"unknown detector":     {args: []string{"detect", "-i", good, "--detector", "ewna"}, code: exitUsage, stderr: `did you mean "ewma"`},
		"unknown setting":      {args: []string{"detect", "-i", good, "--set", "treshold=0.9"}, code: exitUsage, stderr: `did you mean "threshold"`},
		"unknown parameter":    {args: []string{"detect", "-i", good, "--detector", "ewma", "--set", "detector.windw=5"}, code: exitUsage, stderr: `did you mean "window"`},
		"setting out of range": {args: []string{"detect", "-i", good, "--set", "threshold=2"}, code: exitUsage, stderr: "threshold"},
		"setting without =":    {args: []string{"detect", "-i", good, "--set", "threshold"}, code: exitUsage, stderr: "want key=value"},
		"a group":              {args: []string{"detect", "-i", good, "--set", "group=room"}, code: exitUsage, stderr: "group"},
		"column is missing":    {args: []string{"detect", "-i", good, "--value-column", "pressure"}, code: exitUsage, stderr: `no column "pressure"`},
		"empty input":          {args: []string{"detect", "-i", "-"}, code: exitUsage, stderr: "the file is empty"},
		"nothing judged":       {args: []string{"detect", good}, code: exitNothing, stderr: "auto learns from 100 readings first"},
		"docs of nothing":      {args: []string{"docs", "--check"}, code: exitUsage, stderr: "arg"},
		"docs undecided":       {args: []string{"docs", good}, code: exitUsage, stderr: "either --write or --check"},
		"drivers as XML":       {args: []string{"drivers", "-o", "xml"}, code: exitUsage, stderr: "want table, csv, json or yaml"},
		"benchmark is missing": {args: []string{"bench", "nab", "--data", filepath.Dir(good)}, code: exitUsage, stderr: "not a copy of the benchmark"},
		"unknown fault":        {args: []string{"bench", "faults", "--fault", "flood"}, code: exitUsage, stderr: `unknown fault "flood"`},
		"unknown driver":       {args: []string{"bench", "speed", "--detector", "ewna"}, code: exitUsage, stderr: `did you mean "ewma"`},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := adctl(t, c.stdin, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			has(t, "standard error", stderr, c.stderr)
		})
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := adctl(t, "", "--version")
	if code != exitOK || !strings.HasPrefix(out, "adctl version ") {
		t.Errorf("exit code %d, %q", code, out)
	}
}
