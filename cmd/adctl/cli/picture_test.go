// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// Two lights make brightness: the data tell the direction of these arcs. Of a pair that only agrees they do not; whoever
// gives the structure says what causes what.
func TestArrowsWhereTheDirectionIsKnown(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	var pair strings.Builder
	pair.WriteString("time,a,b\n")
	for i := range 1500 {
		a := rng.IntN(2)
		b := a
		if rng.Float64() < 0.1 {
			b = 1 - a
		}
		fmt.Fprintf(&pair, "%d,%s,%s\n", 1000+i, []string{"off", "on"}[a], []string{"off", "on"}[b])
	}
	for name, c := range map[string]struct {
		table   string
		args    []string
		arrows  int
		without int
	}{
		"found, compelled": {room(1500, 1500), nil, 2, 0},
		"found, either":    {pair.String(), nil, 0, 1},
		"given":            {pair.String(), []string{"--set", "detector.structure=given", "--set", "detector.edges=a>b"}, 1, 0},
	} {
		dir := t.TempDir()
		svg, dot := filepath.Join(dir, "m.svg"), filepath.Join(dir, "m.dot")
		args := append([]string{"train", "--detector", "bayesnet", "--input", file(t, "t.csv", c.table), "--output", filepath.Join(dir, "m.model"),
			"--picture", svg, "--picture", dot, "-q"}, c.args...)
		if code, _, stderr := adctl(t, "", args...); code != exitOK {
			t.Fatalf("%s: exit status %d: %s", name, code, stderr)
		}
		if got := strings.Count(read(t, svg), "marker-end"); got != c.arrows {
			t.Errorf("%s: %d arrows in the picture, want %d", name, got, c.arrows)
		}
		arcs := read(t, dot)
		if got := strings.Count(arcs, "dir=none"); got != c.without || strings.Count(arcs, "->") != c.arrows+c.without {
			t.Errorf("%s: %d arcs without a direction, want %d:\n%s", name, got, c.without, arcs)
		}
		has(t, name, read(t, svg), " %", "on ")
	}
}

// Of many columns those to blame come first, and axes have titles with units.
func TestReportOfManyColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var b strings.Builder
	b.WriteString("time")
	for k := range 40 {
		fmt.Fprintf(&b, ",c%d", k)
	}
	b.WriteString("\n")
	for i := range 600 {
		fmt.Fprintf(&b, "%d", 1_772_000_000+60*i)
		for k := range 40 {
			v := 20 + rng.NormFloat64()
			if k == 33 && i >= 500 && i < 540 {
				v += 20
			}
			fmt.Fprintf(&b, ",%.2f °C", v)
		}
		b.WriteString("\n")
	}
	page := filepath.Join(t.TempDir(), "page.html")
	code, _, stderr := adctl(t, "", "detect", file(t, "forty.csv", b.String()), "--png", filepath.Join(t.TempDir(), "p.png"), "--report", page, "--output", filepath.Join(t.TempDir(), "o.csv"),
		"--detector", "ewma")
	if code != exitOK {
		t.Fatalf("exit status %d: %s", code, stderr)
	}
	html := read(t, page)
	first := strings.Index(html, "Readings of c33")
	if second := strings.Index(html, "Readings of c0"); first < 0 || second < first {
		t.Errorf("c33, which is to blame, is drawn at %d, c0 at %d", first, second)
	}
	has(t, "page", html, "c33 in °C", "time (UTC)", "score, 0 … 1", `"x":"threshold"`)
}
