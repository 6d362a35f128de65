// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

// recordedLights are two lights with a reading a minute for a day, and a door; light-1 is much too bright for ten
// minutes from 20:00 on.
func recordedLights(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := store.Open(dir, store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	values := gaussian(2 * 1440)
	for i := range 1440 {
		at := start.Add(time.Duration(i) * time.Minute)
		for k, device := range []string{"light-1", "light-2"} {
			v, severity := values[2*i+k], "normal"
			if k == 0 && i >= 1200 && i < 1210 {
				v, severity = v+30, "critical"
			}
			s.Add(store.Entry{Namespace: "default", Device: device, Property: "lux", At: at, Value: v, Severity: severity, Score: 0.5})
		}
		s.Add(store.Entry{Namespace: "plant", Device: "door", Property: "state", At: at, Value: math.NaN(), Text: "open", Score: math.NaN()})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What is said of a recording by label is the truth of a backtest on its export.
func TestLabelsAreTheTruthOfBacktests(t *testing.T) {
	dir, out := recordedLights(t), filepath.Join(t.TempDir(), "light.csv")
	for _, args := range [][]string{
		{"label", "--data", dir, "--device", "light-1", "--from", "2026-03-01T20:00:00Z", "--to", "2026-03-01T20:10:00Z", "--label", "anomaly"},
		{"label", "--data", dir, "--from", "2026-03-01T01:00:00Z", "--to", "2026-03-01T02:00:00Z", "--label", "normal"},
		{"export", "--data", dir, "--device", "light-1", "--output", out},
	} {
		if code, _, stderr := adctl(t, "", args...); code != exitOK {
			t.Fatalf("%q: exit code %d: %s", args, code, stderr)
		}
	}
	code, stdout, stderr := adctl(t, "", "detect", "--detector", "ewma", "--input", out)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "standard error", stderr, "labels: 1 fault, 1 found after 0s in the median; 0 false alarms")
	if lines := strings.Split(stdout, "\n"); len(lines) != 1442 || !strings.Contains(lines[1201], ",critical,") {
		t.Errorf("%d lines, at 20:00 %q", len(lines), lines[1201])
	}
	// Several properties one below the other are series, each judged alone.
	code, long, stderr := adctl(t, "", "export", "--data", dir, "--device", "light-*")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	code, stdout, stderr = adctl(t, long, "detect", "--input", "-")
	if code != exitOK || !strings.HasPrefix(stdout, "series,timestamp,value,") || strings.Count(stdout, "\ndefault/light-2/lux,") != 1440 {
		t.Errorf("exit code %d: %s%.200s", code, stderr, stdout)
	}
	// The wide table is a group; texts are categories.
	code, wide, stderr := adctl(t, "", "export", "--data", dir, "--format", "wide", "--align", "1m")
	if code != exitOK || strings.Count(wide, "\n") != 1441 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "header", wide[:200], "time,default/light-1/lux,default/light-2/lux,plant/door/state,label\n")
	code, _, stderr = adctl(t, wide, "detect", "--detector", "bayesnet", "--input", "-", "--output", os.DevNull)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "standard error", stderr, "labels: 1 fault")
}

func TestExportFilters(t *testing.T) {
	dir := recordedLights(t)
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"all":             {nil, 3 * 1440},
		"namespace":       {[]string{"--namespace", "pl*"}, 1440},
		"device glob":     {[]string{"--device", "light-*"}, 2 * 1440},
		"property":        {[]string{"--property", "state"}, 1440},
		"an hour":         {[]string{"--from", "2026-03-01 10:00:00", "--to", "2026-03-01T11:00:00Z"}, 180},
		"verdict":         {[]string{"--verdict", "critical"}, 10},
		"verdicts":        {[]string{"--verdict", "critical", "--verdict", "none"}, 1450},
		"all of them":     {[]string{"--device", "light-1", "--property", "lux", "--from", "2026-03-01T20:05:00Z", "--verdict", "critical", "--namespace", "default"}, 5},
		"nothing":         {[]string{"--device", "lamp"}, 0},
		"the last minute": {[]string{"--from", "1m"}, 0},
	} {
		for _, format := range store.Formats() {
			code, out, stderr := adctl(t, "", append([]string{"export", "--data", dir, "--format", format}, c.args...)...)
			if code != exitOK {
				t.Fatalf("%s: exit code %d: %s", name, code, stderr)
			}
			var n int
			switch format {
			case store.JSON:
				n = strings.Count(out, "\n")
			case store.Parquet:
				table, err := parquet.OpenFile(bytes.NewReader([]byte(out)), int64(len(out)))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				n = int(table.NumRows())
			case store.CSV:
				n = strings.Count(out, "\n") - 1
			default:
				continue
			}
			if n != c.want {
				t.Errorf("%s as %s: %d readings, want %d", name, format, n, c.want)
			}
		}
	}
}
