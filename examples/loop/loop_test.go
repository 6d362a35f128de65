// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package loop_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is a block of commands of the guide, and the lines that it is to print, in order and among others.
type step struct {
	line     int // in README.md
	commands string
	want     []string
}

// steps reads the fenced blocks of a guide: sh is what to type, text what then is to be seen.
func steps(guide string) (all []step, err error) {
	var kind string
	for i, line := range strings.Split(guide, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && kind == "":
			switch kind = fence; {
			case kind == "sh":
				all = append(all, step{line: i + 2})
			case kind == "text" && (len(all) == 0 || all[len(all)-1].want != nil):
				return nil, fmt.Errorf("line %d: a block text without commands before it", i+1)
			case kind != "text":
				return nil, fmt.Errorf("line %d: block %q, want sh or text", i+1, kind)
			}
		case isFence:
			kind = ""
		case kind == "sh":
			all[len(all)-1].commands += line + "\n"
		case kind == "text":
			all[len(all)-1].want = append(all[len(all)-1].want, line)
		}
	}
	if kind != "" {
		return nil, fmt.Errorf("a block %s has no end", kind)
	}
	return all, nil
}

// fits reports whether a line is as the guide prints it, in which … stands for anything. Blanks count once.
func fits(want, got string) bool {
	want, got = strings.Join(strings.Fields(want), " "), strings.Join(strings.Fields(got), " ")
	parts := strings.Split(want, "…")
	if len(parts) == 1 {
		return want == got
	}
	rest, ok := strings.CutPrefix(got, parts[0])
	for _, part := range parts[1:] {
		var i int
		if i = strings.Index(rest, part); !ok || i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return parts[len(parts)-1] == "" || strings.HasSuffix(got, parts[len(parts)-1])
}

// missing is the first line of want that is not among the output after those before it.
func missing(want []string, output string) (string, bool) {
	for line := range strings.Lines(output) {
		if len(want) > 0 && fits(want[0], line) {
			want = want[1:]
		}
	}
	if len(want) == 0 {
		return "", false
	}
	return want[0], true
}

func read(t *testing.T) []step {
	t.Helper()
	guide, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := steps(string(guide))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const mark = "### the guide, line "

// script runs the steps in one shell, each after a mark of its own.
func script(all []step) string {
	var b strings.Builder
	b.WriteString("set -eu\ntrap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n")
	b.WriteString("set -m; exec 2>&1\n") // as in a shell that somebody types in: jobs have numbers
	for _, s := range all {
		fmt.Fprintf(&b, "echo '%s%d'\n%s", mark, s.line, s.commands)
	}
	return b.String()
}

func TestGuideReads(t *testing.T) {
	all := read(t)
	if len(all) < 8 {
		t.Fatalf("%d steps", len(all))
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-n")
	cmd.Stdin = strings.NewReader(script(all))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("bash -n: %v\n%s", err, out)
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		want, got string
		fits      bool
	}{
		{"a  b", " a b ", true}, {"a b", "a b c", false}, {"a … c", "a b c", true}, {"a … c", "a b d", false},
		{"…", "anything", true}, {"a…", "b a", false}, {"…z", "xyzx", false}, {"a…b…c", "a1b2c", true}, {"a…b…c", "a1c2b", false},
	} {
		if got := fits(c.want, c.got); got != c.fits {
			t.Errorf("%q, %q: %v", c.want, c.got, got)
		}
	}
	if line, ok := missing([]string{"b", "a"}, "a\nb\n"); !ok || line != "a" {
		t.Errorf("missing is %q, %v", line, ok)
	}
}

// TestGuide types the guide's commands, as they are, at the top of the repository.
func TestGuide(t *testing.T) {
	if os.Getenv("EDGE_ANOMALY_GUIDE") == "" {
		t.Skip("runs for a minute; make guide sets EDGE_ANOMALY_GUIDE")
	}
	all := read(t)
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script(all))
	cmd.Dir = top
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // its trap ends what it started
	cmd.WaitDelay = 20 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	failed := cmd.Run()
	parts := strings.Split(output.String(), mark)
	for i, s := range all {
		if i+1 >= len(parts) {
			t.Fatalf("line %d of the guide was not reached: %v\n%s", s.line, failed, output.String())
		}
		_, told, _ := strings.Cut(parts[i+1], "\n")
		t.Logf("line %d:\n%s", s.line, told)
		if line, ok := missing(s.want, told); ok {
			t.Errorf("README.md, commands of line %d: their output has no line %q", s.line, line)
		}
	}
	if failed != nil {
		log, _ := os.ReadFile(filepath.Join(top, ".demo/loop/mapper.log"))
		t.Errorf("the guide fails: %v\nlog of the mapper:\n%s", failed, log)
	}
	for _, name := range []string{"weekend.html", "weekend.png", "room.svg", "lights.parquet", "verdicts.csv"} {
		if info, err := os.Stat(filepath.Join(top, ".demo/loop", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
