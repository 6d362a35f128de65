// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/skab"
)

// pump is a table of three members with a reading a second, and the truth; from row at on, the flow is elsewhere.
func pump(n, at int) string {
	rng := rand.New(rand.NewPCG(3, 3))
	var b strings.Builder
	b.WriteString("time;pressure;flow;current;anomaly\r\n")
	for i := range n {
		p, flow, c, truth := 2+0.01*rng.NormFloat64(), 30+0.5*rng.NormFloat64(), 1.2+0.02*rng.NormFloat64(), 0
		if i >= at {
			flow, truth = flow+20, 1
		}
		fmt.Fprintf(&b, "%s;%.4f;%.3f;%.4f;%d\r\n", start.Add(time.Duration(i)*time.Second).Format(time.DateTime), p, flow, c, truth)
	}
	return b.String()
}

func rowsOf(t *testing.T, out string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 || !slices.Equal(all[0], rowColumns) {
		t.Fatalf("the header is %q, want %q", all, rowColumns)
	}
	return all[1:]
}

func TestDetectGroup(t *testing.T) {
	const n, trained, at = 400, 200, 300
	input := pump(n, at)
	code, stdout, stderr := adctl(t, input, "detect", "--detector", "autogroup", "--train-rows", fmt.Sprint(trained), "-i", "-")
	if code != exitOK {
		t.Fatal(stderr)
	}
	has(t, "summary", stderr, "400 readings, 200 judged", "level")
	got := rowsOf(t, stdout)
	if len(got) != n {
		t.Fatalf("%d rows of %d", len(got), n)
	}
	for i, row := range got {
		anomaly := row[2]
		switch {
		case row[0] != start.Add(time.Duration(i)*time.Second).Format(time.DateTime):
			t.Fatalf("row %d has the time %q", i, row[0])
		case i < trained && (anomaly != "0" || row[1] != "0" || row[3] != "unknown"):
			t.Fatalf("row %d, trained on: %q", i, row)
		case i >= trained && i < at && (anomaly != "0" || row[3] != "normal" || row[4]+row[5] != ""):
			t.Fatalf("row %d, normal: %q", i, row)
		case i >= at+10 && (anomaly != "1" || row[4] != "level" || row[5] != "flow" || row[7] == ""):
			t.Fatalf("row %d, flow elsewhere: %q", i, row)
		}
	}
	// Without a name, a group's detector is the same. The members' order in the file does not matter, truth never does.
	_, again, _ := adctl(t, strings.ReplaceAll(input, ";1\r\n", ";0\r\n"), "detect", "--set", "detector.trainRows=200", "-i", "-", "-q",
		"--columns", "current,flow,pressure")
	if again != stdout {
		t.Error("other labels and another order of columns give other verdicts")
	}
	// For scorers.
	_, pred, _ := adctl(t, input, "detect", "--train-rows", fmt.Sprint(trained), "-i", "-", "-q", "--format", "pred")
	want := []string{"pred"}
	for _, row := range got {
		want = append(want, row[2])
	}
	if diff := gocmp.Diff(want, strings.Fields(pred)); diff != "" {
		t.Errorf("predictions (-want +got):\n%s", diff)
	}
}

// Each row of the input has one of the output, whatever is the matter with it.
func TestDetectGroupGolden(t *testing.T) {
	const input = `time,door,light,anomaly
2026-03-01 00:00:00,open,,0
2026-03-01 00:00:01,,20,0
noon,open,20,0
2026-03-01 00:00:02,open,20,0
2026-03-01 00:00:02,open,20,0
2026-03-01 00:00:01,shut,21,0
2026-03-01 00:00:03,shut
2026-03-01 00:00:04,"shut",bright,0
2026-03-01 00:00:05,shut,22,0
`
	const want = `timestamp,anomaly_score,anomaly,severity,kind,blamed,onset,incident,expected,lower,upper
2026-03-01 00:00:00,0,0,unknown,missing,light,0,,,,
2026-03-01 00:00:01,0,0,unknown,,,0,,,,
,0,0,unknown,invalid,,0,,,,
2026-03-01 00:00:02,0,0,unknown,,,0,,,,
2026-03-01 00:00:02,0,0,unknown,duplicate,,0,,,,
2026-03-01 00:00:01,0,0,unknown,outOfOrder,,0,,,,
,0,0,unknown,invalid,,0,,,,
2026-03-01 00:00:04,0,0,unknown,,,0,,,,
2026-03-01 00:00:05,0,0,unknown,,,0,,,,
`
	code, stdout, stderr := adctl(t, input, "detect", "--detector", "bayesnet", "-i", "-")
	if code != exitNothing {
		t.Fatal(stderr)
	}
	if diff := gocmp.Diff(want, stdout); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	has(t, "standard error", stderr, `line 4: time: got "noon"`, "line 8: got 2 columns, want 4 as in the header: skipped", "7 readings, 0 judged, 0 anomalous, 0 incidents; 2 rows skipped")
}

func TestDetectGroupLeavesTextsOut(t *testing.T) {
	var b strings.Builder
	b.WriteString("time,mode,flow\n")
	for i := range 40 {
		fmt.Fprintf(&b, "%d,%s,%d\n", i, []string{"idle", "pumping"}[i%2], 30+i%3)
	}
	code, stdout, stderr := adctl(t, b.String(), "detect", "--detector", "autogroup", "--train-rows", "20", "-i", "-")
	if code != exitOK {
		t.Fatal(stderr)
	}
	has(t, "standard error", stderr, "autogroup takes numbers, not the texts of mode: left out", "40 readings, 20 judged")
	if got := rowsOf(t, stdout); got[39][3] != "normal" {
		t.Errorf("the last row is %q", got[39])
	}
	code, _, stderr = adctl(t, strings.Replace(b.String(), "flow", "state", 1), "detect", "--columns", "mode", "--train-rows", "20", "-i", "-")
	if code != exitUsage {
		t.Errorf("nothing but texts: exit code %d", code)
	}
	has(t, "standard error", stderr, "no column has any")
}

func TestDetectChooses(t *testing.T) {
	one := recording(gaussian(30)...)
	two := "time,a,b\n1,1,2\n2,1,2\n"
	for name, c := range map[string]struct {
		input string
		args  []string
		want  []string // header of the output
	}{
		"one property":                     {one, nil, outputColumns},
		"one property, detector of groups": {one, []string{"--detector", "autogroup"}, outputColumns},
		"one property, as a group":         {one, []string{"--detector", "autogroup", "--train-rows", "20"}, rowColumns},
		"one property and truth":           {"timestamp,value,label\n1,1,0\n", nil, outputColumns},
		"no header":                        {"1,1\n2,2\n", nil, outputColumns},
		"a value among others":             {"timestamp,value,quality\n1,1,0\n", nil, outputColumns},
		"a column of several":              {two, []string{"--value-column", "b"}, outputColumns},
		"several, detector of one":         {two, []string{"--detector", "ewma"}, rowColumns},
		"several":                          {two, nil, rowColumns},
		"several, detector of groups":      {two, []string{"--detector", "pca"}, rowColumns},
		"chosen":                           {two, []string{"--columns", "b"}, outputColumns},
	} {
		code, stdout, stderr := adctl(t, c.input, append([]string{"detect", "-q", "-i", "-"}, c.args...)...)
		header, _, _ := strings.Cut(stdout, "\n")
		if code != exitNothing && code != exitOK || header != strings.Join(c.want, ",") {
			t.Errorf("%s: exit code %d, header %q, want %q; %s", name, code, header, c.want, stderr)
		}
	}
}

// A pipe that pauses gets the rows of what it sent, without waiting for more.
func TestDetectGroupKeepsUpWithItsInput(t *testing.T) {
	keepsUp(t, "time,a,b\n", ",1,2")
}

// The limits leave room for changes of the detector; what it reaches is in its own tests.
func TestAccuracySKAB(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	dir := filepath.Join(cmp.Or(os.Getenv(datasetsEnv), filepath.Join("..", "..", "..", "..", "shared", "datasets")), "skab")
	corpus, err := skab.OpenCorpus(dir)
	if err != nil {
		t.Skipf("no benchmark data; %s may say where they are: %v", datasetsEnv, err)
	}
	total := skab.Count{}
	for _, name := range corpus.Names {
		file, err := corpus.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "pred.csv")
		code, _, stderr := adctl(t, "", "detect", "--detector", "autogroup", "--train-rows", "400", "-i", filepath.Join(dir, name), "-o", out, "--format", "pred", "-q")
		if code != exitOK {
			t.Fatal(stderr)
		}
		p, err := skab.ReadPredictions(out, len(file.Rows))
		if err != nil {
			t.Fatal(err)
		}
		c, err := skab.Score(file.Truth[skab.TrainRows:], p)
		if err != nil {
			t.Fatal(err)
		}
		total.Add(c)
	}
	t.Logf("F1 %.4f, FAR %.2f %%, MAR %.2f %%", total.F1(), total.FAR(), total.MAR())
	if total.F1() < 0.84 || total.FAR() > 18 {
		t.Errorf("F1 %.4f and FAR %.2f %%, want at least 0.84 and at most 18 %%", total.F1(), total.FAR())
	}
	// The benchmark command goes the same way, and the number of the row is no feature.
	f1 := make(map[string]float64)
	for _, cut := range []string{"0", "100", "150"} {
		code, stdout, stderr := adctl(t, "", "bench", "skab", "--data", dir, "--cut", cut)
		if code != exitOK {
			t.Fatal(stderr)
		}
		fields := strings.Fields(stdout[strings.LastIndex(stdout, "all"):])
		if f1[cut], err = strconv.ParseFloat(fields[1], 64); err != nil {
			t.Fatal(err)
		}
		if math.Abs(f1[cut]-total.F1()) > 0.03 {
			t.Errorf("without the first %s rows F1 is %v, want %.4f within 0.03", cut, f1[cut], total.F1())
		}
	}
	if math.Abs(f1["0"]-total.F1()) > 0.0001 {
		t.Errorf("bench skab finds F1 %v, detect %.4f", f1["0"], total.F1())
	}
}
