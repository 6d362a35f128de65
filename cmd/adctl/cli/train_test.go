// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// room is a recording of two lights that change now and then, and of the brightness, in which each counts 200. From row
// dark on, light-1 says that it is on, and gives no light.
func room(n, dark int) string {
	rng := rand.New(rand.NewPCG(5, 5))
	var b strings.Builder
	b.WriteString("time,light-1,light-2,brightness,anomaly\n")
	var on [2]int
	for i := range n {
		for k := range on {
			if rng.Float64() < 0.1 {
				on[k] = 1 - on[k]
			}
		}
		report, light, fault := on, 50+200*(on[0]+on[1]), 0
		if i >= dark {
			report[0], light, fault = 1, 50+200*on[1], 1
		}
		word := func(k int) string { return []string{"off", "on"}[report[k]] }
		fmt.Fprintf(&b, "%s,%s,%s,%d,%d\n", start.Add(time.Duration(i)*time.Second).Format(time.DateTime), word(0), word(1), light, fault)
	}
	return b.String()
}

func TestTrainDetectShowVerify(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	code, stdout, stderr := adctl(t, "", "train", "--detector", "bayesnet", "--input", file(t, "room.csv", room(2000, 2000)),
		"--output", path("room.model"), "--picture", path("room.svg"), "--picture", path("room.dot"), "--bif", path("room.bif"))
	if code != exitOK || strings.Count(stderr, "its readings are states") != 2 || strings.Count(stderr, "\n") != 2 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "report", stdout, "bayesnet of 3 members", "2026-03-01T00:00:00Z to", "0 skipped", "held out: ", " rows, 0 % of them anomalous",
		"log-likelihood of a row: -", "structure", "light-1 ", "50 | 250 | 450", "<- ")
	has(t, "picture", read(t, path("room.svg")), "<svg", "brightness", "250 50 %", "marker-end", ">0.50<")
	has(t, "picture", read(t, path("room.dot")), "digraph", "brightness", "->")
	n, err := bayes.ReadBIF(strings.NewReader(read(t, path("room.bif"))))
	if err != nil || len(n.Nodes) != 3 {
		t.Errorf("BIF: %v, %v", n, err)
	}
	if left, err := filepath.Glob(path("*.tmp*")); err != nil || left != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}

	code, stdout, stderr = adctl(t, "", "model", "show", path("room.model"))
	if code != exitOK {
		t.Fatal(stderr)
	}
	has(t, "show", stdout, "room@", "bayesnet", "light-1, light-2, brightness", "heldOutAnomalous", "logLikelihood", "structure", "50 | 250 | 450")
	_, stdout, _ = adctl(t, "", "model", "show", path("room.model"), "-o", "json")
	var shown struct {
		Version, Driver string
		Bytes, Rows     int
		Members         []string
		Metrics         map[string]float64
	}
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Driver != "bayesnet" || !slices.Equal(shown.Members, []string{"light-1", "light-2", "brightness"}) || shown.Metrics["heldOutRows"]+float64(shown.Rows) != 2000 || shown.Rows < 1550 || shown.Rows > 1650 {
		t.Errorf("as JSON: %+v", shown)
	}

	code, stdout, stderr = adctl(t, room(200, 100), "detect", "--model", path("room.model"), "-i", "-")
	if code != exitOK {
		t.Fatal(stderr)
	}
	got := rowsOf(t, stdout)
	if got[90][2] != "0" || got[90][3] != "normal" || got[199][2] != "1" || got[199][4] != "causal" || got[199][5] != "light-1" {
		t.Errorf("before light-1 is dark: %q; in the end: %q, want light-1 blamed", got[90], got[199])
	}
	if slices.ContainsFunc(got, func(row []string) bool { return strings.HasPrefix(row[5], "light-2") }) {
		t.Error("light-2 is blamed")
	}

	// A member that the input lacks counts as missing; without any there is nothing to judge.
	code, _, stderr = adctl(t, strings.Replace(room(50, 50), "light-2", "lamp", 1), "detect", "--model", path("room.model"), "-i", "-")
	if code != exitOK {
		t.Error(stderr)
	}
	has(t, "standard error", stderr, "no column for light-2: counts as missing")
	code, _, stderr = adctl(t, pump(10, 10), "detect", "--model", path("room.model"), "-i", "-")
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	has(t, "standard error", stderr, "none of which is among the columns")

	whole := []byte(read(t, path("room.model")))
	broken := slices.Clone(whole)
	broken[len(broken)/2] ^= 1
	foreign, err := (&model.Trained{Facts: model.Facts{Driver: "pca", Members: []string{"a"}}, Payload: []byte("?")}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"broken.model": broken, "cut.model": whole[:100], "foreign.model": foreign} {
		if err := os.WriteFile(path(name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if code, stdout, _ := adctl(t, "", "model", "verify", path("room.model")); code != exitOK || !strings.Contains(stdout, "room.model: ok, room@") {
		t.Errorf("verify: exit code %d: %s", code, stdout)
	}
	code, stdout, stderr = adctl(t, "", "model", "verify", path("room.model"), path("broken.model"), path("cut.model"), path("foreign.model"), path("none.model"))
	if code != exitFailed {
		t.Errorf("verify: exit code %d", code)
	}
	has(t, "verify", stdout, "room.model: ok", "broken.model: model: corrupt frame: checksum", "cut.model: model: corrupt", "foreign.model: ", "none.model: ", "no such file")
	has(t, "standard error", stderr, "4 of 5 files cannot be used")
}

// All drivers that can be trained make files that pass verify and that detect takes.
func TestTrainEveryDriver(t *testing.T) {
	names := trainable()
	for _, want := range []string{"autogroup", "bayesnet", "iforest", "pca"} {
		if !slices.Contains(names, want) {
			t.Errorf("%q cannot be trained", want)
		}
	}
	in := file(t, "pump.csv", pump(600, 600))
	for _, name := range names {
		out := filepath.Join(t.TempDir(), name+".model")
		code, stdout, stderr := adctl(t, "", "train", "--detector", name, "-i", in, "-o", out, "--set", "threshold=0.97")
		if code != exitOK {
			t.Errorf("%s: %s", name, stderr)
			continue
		}
		has(t, name, stdout, name+" of 3 members", "held out: 12")
		if code, stdout, _ := adctl(t, "", "model", "verify", out); code != exitOK {
			t.Errorf("%s: %s", name, stdout)
		}
		code, stdout, stderr = adctl(t, pump(200, 100), "detect", "--model", out, "-i", "-")
		if code != exitOK {
			t.Errorf("%s: %s", name, stderr)
			continue
		}
		got := rowsOf(t, stdout)
		if got[50][3] != "normal" {
			t.Errorf("%s: a normal row is %q", name, got[50])
		}
		if name != "bayesnet" && got[199][2] != "1" { // members that do not depend on each other contradict nobody
			t.Errorf("%s: with the flow elsewhere a row is %q", name, got[199])
		}
	}
}

func TestTrainOnADirectory(t *testing.T) {
	dir := t.TempDir()
	all := strings.SplitAfter(room(900, 900), "\n")
	for i, name := range []string{"a.csv", "b.CSV", "c.csv"} {
		text := all[0] + strings.Join(all[1+300*i:1+300*(i+1)], "")
		if i == 1 {
			text = strings.Replace(text, ",on,", ",on,on,", 1) // a bad row
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no table"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "room.model")
	code, stdout, stderr := adctl(t, "", "train", "--detector", "bayesnet", "-i", dir, "-o", out, "--hold-out", "0", "--columns", "light-1,brightness")
	if code != exitOK {
		t.Fatal(stderr)
	}
	has(t, "report", stdout, "bayesnet of 2 members", "trained on 899 rows", "00:14:59Z; 1 skipped", "held out: nothing")
	has(t, "standard error", stderr, "b.CSV: line ", "got 6 columns, want 5", ": skipped")
	m, err := readModel(out)
	if err != nil || !slices.Equal(m.Members, []string{"light-1", "brightness"}) || m.Rows != 899 {
		t.Errorf("model: %+v, %v", m, err)
	}
}

// A structure may come from another program; the tables are learned.
func TestTrainWithAStructure(t *testing.T) {
	const bif = `network room {}
variable "light-1" { type discrete [ 2 ] { off, on }; }
variable "light-2" { type discrete [ 2 ] { off, on }; }
variable brightness { type discrete [ 2 ] { dark, bright }; }
probability ( "light-1" ) { table 0.5, 0.5; }
probability ( "light-2" | "light-1" ) { (off) 0.5, 0.5; (on) 0.5, 0.5; }
probability ( brightness | "light-1" ) { (off) 0.5, 0.5; (on) 0.5, 0.5; }
`
	out := filepath.Join(t.TempDir(), "room.model")
	code, stdout, stderr := adctl(t, "", "train", "--detector", "bayesnet", "--structure", file(t, "room.bif", bif), "-i", file(t, "room.csv", room(500, 500)), "-o", out)
	if code != exitOK {
		t.Fatal(stderr)
	}
	structure := stdout[strings.Index(stdout, "structure"):]
	if n := strings.Count(structure, "<- light-1"); n != 2 {
		t.Errorf("%d members depend on light-1, want 2:\n%s", n, structure)
	}
	if code, stdout, _ := adctl(t, "", "model", "verify", out); code != exitOK {
		t.Error(stdout)
	}
}

func TestTrainKeepsTheOldModelWhenItFails(t *testing.T) {
	out := file(t, "room.model", "old")
	code, _, stderr := adctl(t, "", "train", "--detector", "pca", "-i", file(t, "empty.csv", "time,a,b\n"), "-o", out)
	if code == exitOK || read(t, out) != "old" {
		t.Errorf("exit code %d, the file is %q: %s", code, read(t, out), stderr)
	}
}

func TestModelExitCodes(t *testing.T) {
	table := file(t, "pump.csv", pump(100, 100))
	out := filepath.Join(t.TempDir(), "x.model")
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"no input":                {[]string{"train", "-o", out}, exitUsage, "--input"},
		"no output":               {[]string{"train", "-i", table}, exitUsage, "--output"},
		"input is missing":        {[]string{"train", "-i", table + ".gone", "-o", out}, exitUsage, "no such file"},
		"empty directory":         {[]string{"train", "-i", t.TempDir(), "-o", out}, exitUsage, "no file *.csv"},
		"no header":               {[]string{"train", "-i", file(t, "x.csv", "1,2\n3,4\n"), "-o", out}, exitUsage, "want a header"},
		"empty file":              {[]string{"train", "-i", file(t, "x.csv", ""), "-o", out}, exitUsage, "the file is empty"},
		"no such column":          {[]string{"train", "-i", table, "-o", out, "--columns", "level"}, exitUsage, `no column "level"`},
		"truth as member":         {[]string{"train", "-i", table, "-o", out, "--columns", "anomaly"}, exitUsage, "tells what is anomalous"},
		"cannot be trained":       {[]string{"train", "-i", table, "-o", out, "--columns", "flow", "--detector", "ewma"}, exitUsage, "want one of autogroup, bayesnet"},
		"unknown detector":        {[]string{"train", "-i", table, "-o", out, "--detector", "bayesian"}, exitUsage, "unknown detector"},
		"unknown setting":         {[]string{"train", "-i", table, "-o", out, "--set", "detector.slow=1"}, exitUsage, "slow"},
		"picture of no network":   {[]string{"train", "-i", table, "-o", out, "--picture", "x.svg"}, exitUsage, "bayesnet"},
		"picture of another kind": {[]string{"train", "-i", table, "-o", out, "--detector", "bayesnet", "--picture", "x.png"}, exitUsage, ".svg or .dot"},
		"structure is missing":    {[]string{"train", "-i", table, "-o", out, "--detector", "bayesnet", "--structure", "x.bif"}, exitUsage, "no such file"},
		"all held out":            {[]string{"train", "-i", table, "-o", out, "--hold-out", "1"}, exitUsage, "--hold-out"},
		"output impossible":       {[]string{"train", "-i", table, "-o", filepath.Join(table, "x.model")}, exitFailed, "not a directory"},
		"show what is no model":   {[]string{"model", "show", table}, exitUsage, "corrupt frame"},
		"show as XML":             {[]string{"model", "show", table, "-o", "xml"}, exitUsage, "want table, csv, json or yaml"},
		"show nothing":            {[]string{"model", "show"}, exitUsage, "arg"},
		"verify nothing":          {[]string{"model", "verify"}, exitUsage, "arg"},
		"detect without model":    {[]string{"detect", "-i", table, "--model", out}, exitUsage, "no such file"},
		"detect by what is none":  {[]string{"detect", "-i", table, "--model", table}, exitUsage, "corrupt frame"},
		"detect in one":           {[]string{"detect", "-i", table, "--detector", "ewma", "--train-rows", "50"}, exitUsage, "watches one property"},
		"detect in XML":           {[]string{"detect", "-i", table, "--format", "xml"}, exitUsage, "want one of table, csv, json, yaml, pred"},
		"skab is missing":         {[]string{"bench", "skab", "--data", t.TempDir()}, exitUsage, "not a copy of the benchmark"},
		"skab from nowhere":       {[]string{"bench", "skab", "--cut", "-1"}, exitUsage, "--cut"},
		"bayes without columns":   {[]string{"bench", "bayes", "--columns", "0"}, exitUsage, "--columns"},
		"bayes of no network":     {[]string{"bench", "bayes", "--network", table}, exitUsage, "BIF"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := adctl(t, "", c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			has(t, "standard error", stderr, c.stderr)
		})
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a model was written")
	}
}

func TestBenchBayes(t *testing.T) {
	code, stdout, stderr := adctl(t, "", "bench", "bayes", "--time", "1ms", "--rows", "2000", "--columns", "4", "-o", "json")
	if code != exitOK {
		t.Fatal(stderr)
	}
	var r bayesReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Queries) != 2 || r.Queries[0].Nodes != 3 || r.Queries[1].Nodes != 37 || r.Training == nil || r.Training.Rows != 2000 {
		t.Errorf("got %+v", r)
	}
}
