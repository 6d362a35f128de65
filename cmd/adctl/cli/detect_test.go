// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
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

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/nab"
)

var start = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// recording is a CSV file with a reading a minute.
func recording(values ...float64) string {
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	for i, v := range values {
		fmt.Fprintf(&b, "%s,%g\n", start.Add(time.Duration(i)*time.Minute).Format(time.DateTime), v)
	}
	return b.String()
}

// gaussian is seeded noise of deviation 1 around 20, rounded to a hundredth.
func gaussian(n int) []float64 {
	rng := rand.New(rand.NewPCG(1, 1))
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Round(100*(20+rng.NormFloat64())) / 100
	}
	return v
}

func rows(t *testing.T, out string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 || !slices.Equal(all[0], outputColumns) {
		t.Fatalf("the header is %q, want %q", all, outputColumns)
	}
	return all[1:]
}

// The file has fixed limits, so that each field can be told by hand: scores of range are 0 and 1.
func TestDetectGolden(t *testing.T) {
	const input = `# boiler
timestamp;value
2026-03-01 00:00:00;20,5
2026-03-01 00:01:00;21
yesterday;21
2026-03-01 00:02:00;31
2026-03-01 00:02:00;31
2026-03-01 00:01:30;22
2026-03-01 00:03:00;
2026-03-01 00:04:00;n/a, sorry
2026-03-01T00:05:00Z;"22"
`
	const want = `timestamp,value,anomaly_score,severity,kind,expected,lower,upper,onset,incident
2026-03-01 00:00:00,"20,5",0,normal,,,10,30,0,
2026-03-01 00:01:00,21,0,normal,,,10,30,0,
2026-03-01 00:02:00,31,1,critical,range,,10,30,1,7b0037d6b8361887
2026-03-01 00:02:00,31,0,unknown,duplicate,,,,0,
2026-03-01 00:01:30,22,0,unknown,outOfOrder,,,,0,
2026-03-01 00:03:00,,0,unknown,invalid,,,,0,
2026-03-01 00:04:00,"n/a, sorry",0,unknown,invalid,,,,0,
2026-03-01T00:05:00Z,22,0,critical,range,,10,30,0,7b0037d6b8361887
`
	const summary = `--input is deprecated: adctl detect FILE…
line 5: time: got "yesterday", want it as YYYY-MM-DD hh:mm:ss: skipped
8 readings, 4 judged, 2 anomalous, 1 incident; 1 row skipped
2 cells hold no number, such as an empty one, N/A, ERR or a code for no reading
judged by range: value
threshold 0.95: by chance about 1.3 false alarms a week, at a reading every 1m
began                ended                as     kind   severity  worst score  readings  why
2026-03-01T00:02:00  2026-03-01T00:05:00  lasts  range  critical  1.0000       2         is 31, above the limit of 30
`
	args := []string{"detect", "--detector", "range", "--set", "detector.lower=10", "--set", "detector.upper=30"}
	in, out := file(t, "in.csv", input), filepath.Join(t.TempDir(), "out.csv")
	code, stdout, stderr := adctl(t, "", append(args, "--input", in, "--output", out)...)
	if code != exitOK || stdout != "" {
		t.Fatalf("exit code %d, standard output %q", code, stdout)
	}
	if diff := gocmp.Diff(want, read(t, out)); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(summary, stderr); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}

	code, stdout, stderr = adctl(t, input, append(args, "-", "--output", "-", "--quiet")...)
	if code != exitOK || stdout != want || stderr != "" {
		t.Errorf("through pipes and quiet: exit code %d, standard error %q, output:\n%s", code, stderr, stdout)
	}
}

func TestDetectFindsWhatIsThere(t *testing.T) {
	values := gaussian(3000)
	for i := 2500; i < 2520; i++ {
		values[i] += 12
	}
	for _, detector := range []string{"ewma", "mad"} {
		code, stdout, stderr := adctl(t, recording(values...), "detect", "--detector", detector, "-i", "-")
		if code != exitOK {
			t.Fatalf("%s: exit code %d: %s", detector, code, stderr)
		}
		got := rows(t, stdout)
		if len(got) != len(values) {
			t.Fatalf("%s: %d rows of %d readings", detector, len(got), len(values))
		}
		if got[0][3] != "unknown" || got[2400][3] != "normal" || got[2500][3] != "critical" {
			t.Errorf("%s: the first reading is %q, one before the step %q, the step %q", detector, got[0], got[2400], got[2500])
		}
		has(t, detector+": summary", stderr, "2026-03-02T17:40:00", "critical")
	}
}

// Settings are those of a Device.
func TestDetectSettings(t *testing.T) {
	values := gaussian(2000)
	anomalous := func(settings ...string) int {
		args := []string{"detect", "-i", "-", "-q", "--detector", "ewma"}
		for _, s := range settings {
			args = append(args, "--set", s)
		}
		code, stdout, stderr := adctl(t, recording(values...), args...)
		if code != exitOK {
			t.Fatal(stderr)
		}
		n := 0
		for _, row := range rows(t, stdout) {
			if row[3] == "warning" || row[3] == "critical" {
				n++
			}
		}
		return n
	}
	strict, lax := anomalous("threshold=0.6"), anomalous("threshold=0.99")
	if lax > 0 || strict < 50 {
		t.Errorf("threshold 0.6 finds %d readings, 0.99 %d; want a sixteenth of them, and none", strict, lax)
	}
	if down := anomalous("threshold=0.6", "direction=down"); down == 0 || down >= strict {
		t.Errorf("of %d readings %d are low", strict, down)
	}
	if rich := anomalous(`config={"threshold":0.6,"sinks":"log"}`); rich != strict {
		t.Errorf("the same as one text finds %d, want %d", rich, strict)
	}
}

func TestDetectText(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "%d,%s\n", 1_772_000_000+60*i, []string{"off", "on"}[i/10%2])
	}
	code, stdout, stderr := adctl(t, b.String(), "detect", "--detector", "range", "--set", "detector.upper=0.5", "-i", "-")
	if code != exitOK {
		t.Fatal(stderr)
	}
	got := rows(t, stdout)
	if got[0][1] != "off" || got[0][3] != "normal" || got[10][1] != "on" || got[10][4] != "range" {
		t.Errorf("texts are numbered as they appear: got %q and %q", got[0], got[10])
	}
	// As a number the same text is no reading.
	_, stdout, _ = adctl(t, b.String(), "detect", "--detector", "range", "--set", "detector.upper=0.5", "--type", "double", "-i", "-")
	if got := rows(t, stdout); got[0][4] != "invalid" {
		t.Errorf("a text among numbers is %q, want it invalid", got[0])
	}
}

// A pipe that pauses gets the rows of what it sent, without waiting for more.
func TestDetectKeepsUpWithItsInput(t *testing.T) {
	keepsUp(t, "", ",1")
}

// keepsUp hands detect a header, and rows of a number and readings, and waits for what becomes of each before the next.
func keepsUp(t *testing.T, header, readings string) {
	t.Helper()
	fromTest, in := io.Pipe()
	out, toTest := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- Run(t.Context(), []string{"detect", "-i", "-", "-q"}, fromTest, toTest, io.Discard)
		toTest.Close()
	}()
	lines := csv.NewReader(out)
	for i := range 5 {
		if _, err := fmt.Fprintf(in, "%s%d%s\n", header, i, readings); err != nil {
			t.Fatal(err)
		}
		header = ""
		if i == 0 {
			if _, err := lines.Read(); err != nil { // the header
				t.Fatal(err)
			}
		}
		row, err := lines.Read()
		if err != nil || row[0] != strconv.Itoa(i) {
			t.Fatalf("row %d: got %q, %v", i, row, err)
		}
	}
	in.Close()
	if code := <-done; code != exitNothing {
		t.Errorf("exit code %d", code)
	}
}

// Rows of several files are one table: the header stands again only above rows of another kind.
func TestDetectWritesSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	var args []string
	for name, text := range map[string]string{"1.csv": "time,value\n1,1\n2,2\n", "2.csv": "time,value\n1,3\n", "3.csv": "time,a,b\n1,1,2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, filepath.Join(dir, name))
	}
	slices.Sort(args)
	_, stdout, stderr := adctl(t, "", append([]string{"detect", "-q", "-o", "csv"}, args...)...)
	var got []string
	for line := range strings.Lines(stdout) {
		first, _, _ := strings.Cut(line, ",")
		got = append(got, filepath.Base(first))
	}
	if want := []string{"file", "1.csv", "1.csv", "2.csv", "file", "3.csv"}; !slices.Equal(got, want) {
		t.Errorf("rows of %q, want %q; %s", got, want, stderr)
	}
}

func TestDetectStopsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	var stderr bytes.Buffer
	code := Run(ctx, []string{"detect", "-i", "-"}, strings.NewReader(recording(gaussian(100)...)), io.Discard, &stderr)
	if code != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// Errors that are alike are named once, and counted.
func TestDetectCountsErrorsThatAreAlike(t *testing.T) {
	var input strings.Builder
	input.WriteString("1,1\n" + strings.Repeat("x,1\n", 100))
	for i := range 30 {
		fmt.Fprintf(&input, "y%d,1\n", i)
	}
	code, stdout, stderr := adctl(t, input.String(), "detect", "-")
	if n := strings.Count(stderr, ": skipped\n"); code != exitNothing || n != mostNamed {
		t.Errorf("exit status %d, %d errors are named, want %d:\n%s", code, n, mostNamed, stderr)
	}
	if len(rows(t, stdout)) != 1 {
		t.Errorf("output is %q", stdout)
	}
	has(t, "summary", stderr, "130 rows skipped", `99 rows more: time: got "x"`, "11 rows more that cannot be used, for other reasons")
}

// The recording has four labelled windows: a shutdown that was planned, the failure of the machine, and what led to it.
func TestAccuracyMachineTemperature(t *testing.T) {
	const name = "realKnownCause/machine_temperature_system_failure.csv"
	dir := filepath.Join(cmp.Or(os.Getenv(datasetsEnv), filepath.Join("..", "..", "..", "..", "shared", "datasets")), "nab")
	corpus, err := nab.OpenCorpus(dir)
	if err != nil {
		t.Skipf("no benchmark data; %s may say where they are: %v", datasetsEnv, err)
	}
	recorded, err := corpus.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := adctl(t, "", "detect", "--detector", "auto", "-i", filepath.Join(dir, name))
	if code != exitOK {
		t.Fatal(stderr)
	}
	t.Log(stderr)
	got := rows(t, stdout)
	if len(got) != len(recorded.Readings) {
		t.Fatalf("%d rows of %d", len(got), len(recorded.Readings))
	}
	found := 0
	for _, window := range recorded.Windows {
		for i, row := range got {
			at := recorded.Readings[i].At
			if (row[3] == "warning" || row[3] == "critical") && !at.Before(window.Begin) && !at.After(window.End) {
				found++
				break
			}
		}
	}
	// The shutdown and the failure. What led to it is news (column onset), and no incident: the readings stay in their range.
	if found < 2 {
		t.Errorf("alerts in %d windows, want the shutdown and the failure", found)
	}
}

func BenchmarkDetect(b *testing.B) {
	input := recording(gaussian(100_000)...)
	for _, detector := range []string{"ewma", "auto"} {
		b.Run("driver="+detector, func(b *testing.B) {
			for b.Loop() {
				if code := Run(b.Context(), []string{"detect", "-q", "-i", "-", "--detector", detector}, strings.NewReader(input), io.Discard, io.Discard); code != exitOK {
					b.Fatal("exit code", code)
				}
			}
			b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
