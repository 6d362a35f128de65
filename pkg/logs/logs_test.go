// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package logs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
)

type stringer string

func (s stringer) String() string { return string(s) }

const forged = "x\nE1129 13:00:00.000000       1 forged.go:1] all is well\r\x1b[2K\u2028\u0085\xff"

// Whatever is logged, and however, a text cannot begin a line of its own, nor overwrite the one it is on.
func TestTextsCannotForgeLines(t *testing.T) {
	var limiter logs.Limiter
	for name, log := range map[string]func(){
		"Infof":            func() { logs.Infof("device %s: %v", forged, errors.New(forged)) },
		"Warningf":         func() { logs.Warningf("device %s", forged) },
		"Errorf":           func() { logs.Errorf("device %s", forged) },
		"InfoS":            func() { logs.InfoS("Device", "name", forged, "by", stringer(forged), "more", []string{forged}) },
		"ErrorS":           func() { logs.ErrorS(errors.Join(errors.New(forged), errors.New(forged)), "Device", "name", forged) },
		"ErrorS as value":  func() { logs.ErrorS(nil, "Device", "cause", errors.New(forged)) },
		"V InfoS":          func() { logs.V(0).InfoS("Device", "name", forged) },
		"V ErrorS":         func() { logs.V(0).ErrorS(errors.New(forged), "Device", "name", stringer(forged)) },
		"Limiter Warningf": func() { limiter.Warningf("a", "device %s", forged) },
		"Limiter ErrorS":   func() { limiter.ErrorS("b", errors.New(forged), "Device", "name", forged) },
	} {
		t.Run(name, func(t *testing.T) {
			journal := logstest.Capture(t)
			log()
			got := journal.String()
			if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || strings.ContainsAny(got, "\r\x1b\u2028\u0085") {
				t.Errorf("logged\n%q\nwant one line", got)
			}
			if !strings.Contains(got, "logs_test.go:") {
				t.Errorf("%q does not say where it comes from", got)
			}
		})
	}
}

// A stack has lines, which do not look like those of the log.
func TestStack(t *testing.T) {
	journal := logstest.Capture(t)
	logs.ErrorS(nil, "Panic", "stack", logs.Stack(append(debug.Stack(), forged...)))
	got := journal.String()
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) < 5 {
		t.Fatalf("%q has no stack", got)
	}
	for _, l := range lines[1:] {
		if !strings.HasPrefix(l, "\t") && l != " >" {
			t.Errorf("line %q of a stack", l)
		}
	}
}

func ExampleName() {
	fmt.Println(logs.Name("boiler-1"), logs.Name("température"), logs.Name("a severity=normal"), logs.Name("a\nb"))
	// Output: boiler-1 température "a severity=normal" "a\nb"
}

func ExampleLine() {
	fmt.Println(logs.Line("the device says \"21,5 °C\\h\"\nand more"))
	// Output: the device says "21,5 °C\h"\nand more
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l logs.Limiter
		lines := 0
		for range 10 * 60 {
			left, ok := l.Allow("a")
			if ok {
				lines++
				if lines > 1 && left != 59 {
					t.Errorf("%d left out, want 59", left)
				}
			}
			time.Sleep(time.Second) //nolint:forbidigo // of synctest
		}
		if lines != 10 {
			t.Errorf("%d lines in ten minutes, want 10", lines)
		}
		if _, ok := l.Allow("b"); !ok {
			t.Error("one cause keeps another from being told")
		}
		lines = 0
		causes := 1_000_000
		if testing.Short() {
			causes = 100_000
		}
		for i := range causes { // whoever chooses the cause must not fill log and memory
			if _, ok := l.Allow(fmt.Sprint(i)); ok {
				lines++
			}
		}
		if lines > 1100 {
			t.Errorf("%d lines about %d causes in one minute", lines, causes)
		}
	})
}

// All of the project logs by this package: a line that is written past it could be forged.
func TestNobodyLogsPastThisPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the source of all packages")
	}
	past := regexp.MustCompile(`\bklog\.(V\(|(Info|Warning|Error|Fatal|Exit)(f|ln|S|Depth|SDepth)?\()`)
	root := filepath.Join("..", "..")
	for _, room := range []string{"admethod", "cmd", "device", "driver", "examples", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || path == filepath.Join(root, "pkg", "logs") || path == filepath.Join(root, "pkg", "scaffold")): // whose texts are of other programs
				return fs.SkipDir
			case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			text, err := os.ReadFile(path)
			if m := past.Find(text); m != nil {
				t.Errorf("%s calls %s…: use package logs", path, m)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("plain")
	f.Add(forged)
	f.Fuzz(func(t *testing.T, text string) {
		for _, got := range []string{logs.Line(text), logs.Name(text)} {
			if strings.ContainsAny(got, "\n\r\x1b\x00\u2028\u2029\u0085") || strings.ToValidUTF8(got, "") != got {
				t.Errorf("%q of %q", got, text)
			}
		}
	})
}
