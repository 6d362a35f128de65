// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDetectReports(t *testing.T) {
	var one, group strings.Builder
	one.WriteString("time,lux,label\n")
	group.WriteString("time,lamp,lux,is_anomaly\n")
	for i, v := range gaussian(1500) {
		label, truth, lamp, lux := "", 0, "OFF", v
		if i/50%2 == 1 {
			lamp, lux = "ON", v+30
		}
		if i >= 1200 && i < 1240 {
			v, lux, label, truth = v+20, v+30, "lamp <b>broken</b>", 1
		}
		at := start.Add(time.Duration(i) * time.Minute).Format(time.RFC3339)
		fmt.Fprintf(&one, "%s,%g,%s\n", at, v, label)
		if i == 70 {
			fmt.Fprintln(&group, "yesterday,ON,1,0") // a row that cannot be used
		}
		fmt.Fprintf(&group, "%s,%s,%g,%d\n", at, lamp, lux, truth)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		input string
		args  []string
		says  string
	}{
		"one":   {one.String(), []string{"--detector", "ewma"}, "Backtest of one.csv"},
		"group": {group.String(), []string{"--detector", "bayesnet", "--train-rows", "800"}, "bayesnet"},
	} {
		in, page, png := filepath.Join(dir, name+".csv"), filepath.Join(dir, name+".html"), filepath.Join(dir, name+".png")
		if err := os.WriteFile(in, []byte(c.input), 0o644); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"detect", "-i", in, "-o", os.DevNull, "--report", page, "--png", png}, c.args...)
		code, _, stderr := adctl(t, "", args...)
		if code != exitOK {
			t.Fatalf("%s: exit code %d: %s", name, code, stderr)
		}
		has(t, name+": standard error", stderr, "labels: 1 fault, 1 found after ")
		html := read(t, page)
		for _, says := range []string{c.says, "1 of 1", "What each threshold costs"} {
			if !strings.Contains(html, says) {
				t.Errorf("%s: the page does not say %q", name, says)
			}
		}
		if strings.Contains(html, "<b>broken") {
			t.Errorf("%s: a label is part of the page", name)
		}
		if !strings.HasPrefix(read(t, png), "\x89PNG") {
			t.Errorf("%s: no PNG", name)
		}
	}
	one1 := filepath.Join(dir, "one.csv")
	for _, args := range [][]string{
		{"detect", "-i", one1, "-o", os.DevNull, "--report", one1},
		{"detect", "-i", one1, "-o", os.DevNull, "--png", one1},
	} {
		if code, _, stderr := adctl(t, "", args...); code != exitUsage || !strings.Contains(stderr, "is the input") {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
	}
	if code, _, stderr := adctl(t, "", "detect", "-i", one1, "-o", os.DevNull, "--report", filepath.Join(one1, "x.html")); code != exitFailed {
		t.Errorf("report that cannot be written: exit code %d: %s", code, stderr)
	}
	code, _, stderr := adctl(t, "", "detect", "-i", "-", "--report", filepath.Join(dir, "empty.html"))
	if code != exitUsage {
		t.Errorf("nothing to report: exit code %d", code)
	}
	has(t, "standard error", stderr, "standard input: the file is empty")
}
