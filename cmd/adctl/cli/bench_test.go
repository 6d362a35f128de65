// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/speed"
)

// corpus writes a benchmark of two categories with a file each: a step at the beginning of its window.
func corpus(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	labels := make(map[string][][2]string)
	stamp := func(i int) string {
		return start.Add(time.Duration(i) * time.Minute).Format("2006-01-02 15:04:05.000000")
	}
	for category, at := range map[string]int{"calm": 700, "storm": 800} {
		values := gaussian(1000)
		for i := at; i < at+5; i++ {
			values[i] += 50
		}
		if err := os.MkdirAll(filepath.Join(dir, category), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, category, "a.csv"), []byte(recording(values...)), 0o644); err != nil {
			t.Fatal(err)
		}
		labels[category+"/a.csv"] = [][2]string{{stamp(at), stamp(at + 99)}}
	}
	data, err := json.Marshal(labels)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "windows.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBenchNAB(t *testing.T) {
	dir := corpus(t)
	args := []string{"bench", "nab", "--data", dir, "--detector", "ewma", "--categories", "--leave-one-out"}
	code, stdout, stderr := adctl(t, "", args...)
	if code != exitOK {
		t.Fatal(stderr)
	}
	has(t, "table", stdout, "detector ewma: 2 files, 2 windows, 2000 rows", "score                   100.00    100.00  100.00",
		"leave one category out", "storm (1 windows)")

	code, stdout, stderr = adctl(t, "", append(args, "--json")...)
	if code != exitOK {
		t.Fatal(stderr)
	}
	var r nabReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Scores[0].Score != 100 || len(r.Categories) != 2 || len(r.LeaveOneOut) != 3 || r.Categories[1].Name != "storm" {
		t.Errorf("%+v", r)
	}

	t.Setenv(datasetsEnv, "")
	if code, _, stderr := adctl(t, "", "bench", "nab"); code != exitUsage {
		t.Errorf("no data: exit code %d, %s", code, stderr)
	}
	t.Setenv(datasetsEnv, filepath.Dir(dir))
	if err := os.Rename(dir, filepath.Join(filepath.Dir(dir), "nab")); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := adctl(t, "", "bench", "nab"); code != exitOK {
		t.Errorf("data by environment: exit code %d, %s", code, stderr)
	}
}

func TestBenchFaults(t *testing.T) {
	args := []string{"bench", "faults", "--detector", "freeze", "--episodes", "2", "--fault", "freeze,spike", "--signal", "noisy,seasonal", "--cells"}
	code, stdout, stderr := adctl(t, "", args...)
	if code != exitOK {
		t.Fatal(stderr)
	}
	has(t, "table", stdout, "detector freeze, seed 1", "kind right", "freeze, noisy", "spike, seasonal", "freeze, seasonal: freeze 2")

	var reports [2]string
	for i := range reports {
		code, reports[i], stderr = adctl(t, "", append(args, "--json")...)
		if code != exitOK {
			t.Fatal(stderr)
		}
	}
	if reports[0] != reports[1] {
		t.Errorf("equal seeds give %s and %s", reports[0], reports[1])
	}
	var r faultsReport
	if err := json.Unmarshal([]byte(reports[0]), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Cells) != 4 || r.Total.Episodes != 8 {
		t.Fatalf("%+v", r)
	}
	for _, l := range r.Faults {
		switch {
		case l.Fault == "freeze" && (l.Recall != 1 || l.KindRight == nil || *l.KindRight != 1 || *l.MedianDelay < 3):
			t.Errorf("the driver freeze does not find what is frozen: %+v", l)
		case l.Fault == "spike" && (l.Recall != 0 || l.KindRight != nil || l.MedianDelay != nil):
			t.Errorf("the driver freeze finds spikes: %+v", l)
		}
	}
	if names := []string{r.Signals[0].Signal, r.Signals[1].Signal}; !slices.Equal(names, []string{"noisy", "seasonal"}) {
		t.Errorf("signals are %v", names)
	}
}

func TestBenchFaultsDescribesItsSuite(t *testing.T) {
	code, stdout, _ := adctl(t, "", "bench", "faults", "--help")
	if code != exitOK {
		t.Fatal("exit code", code)
	}
	has(t, "help", stdout, "multi-mode", "pattern change", "state for binary", "one reading is off by 10 deviations")
}

func TestBenchSpeed(t *testing.T) {
	args := []string{"bench", "speed", "--detector", "ewma", "--time", "5ms"}
	code, stdout, stderr := adctl(t, "", args...)
	if code != exitOK {
		t.Fatal(stderr)
	}
	has(t, "table", stdout, "floor", "observe ns", "ewma")
	code, stdout, stderr = adctl(t, "", append(args, "--json")...)
	if code != exitOK {
		t.Fatal(stderr)
	}
	var r speed.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 1 || r.Results[0].Driver != "ewma" || r.Results[0].DetectAllocs > 0.01 {
		t.Error(fmt.Sprint(r.Results))
	}
}

// Without data the table has the synthetic faults, and says by its exit status whether the floors hold.
func TestBenchAccuracy(t *testing.T) {
	code, stdout, stderr := adctl(t, "", "bench", "accuracy", "--data", t.TempDir(), "--hold", "--episodes", "1")
	if code != exitOK || !strings.Contains(stdout, "| synthetic faults | recall | ") || strings.Contains(stdout, "NAB") {
		t.Errorf("exit status %d\n%s%s", code, stdout, stderr)
	}
}
