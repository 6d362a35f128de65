// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/report"
)

// faulty is a recording of one or two columns with seven labelled faults of several sizes; every third has a season.
func faulty(seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	two := seed%5 == 4
	var b strings.Builder
	b.WriteString("time,temp,anomaly\n")
	if two {
		b.Reset()
		b.WriteString("time,temp,flow,anomaly\n")
	}
	const n = 1200
	for i := range n {
		v, flow, label := 20+rng.NormFloat64(), 5+0.1*rng.NormFloat64(), 0
		if seed%3 == 0 {
			v += 5 * math.Sin(2*math.Pi*float64(i)/96)
		}
		if k := i - 400; k >= 0 && k%110 < 1+int(seed)%12 && k/110 < 7 {
			v, label = v+4+2*float64(k/110), 1
		}
		at := start.Add(time.Duration(i) * 5 * time.Minute).Format(time.RFC3339)
		if two {
			fmt.Fprintf(&b, "%s,%.3f,%.3f,%d\n", at, v, flow, label)
		} else {
			fmt.Fprintf(&b, "%s,%.3f,%d\n", at, v, label)
		}
	}
	return b.String()
}

// What the report says that a threshold costs is what a run at that threshold gives.
func TestCostsAreThoseOfRuns(t *testing.T) {
	files := 4 // each sort once
	if os.Getenv("EDGE_ANOMALY_HEAVY") != "" {
		files = 20
	}
	dir := t.TempDir()
	for seed := range uint64(files) {
		name := filepath.Join(dir, fmt.Sprintf("%d.csv", seed))
		if err := os.WriteFile(name, []byte(faulty(seed)), 0o644); err != nil {
			t.Fatal(err)
		}
		detector := []string{"auto", "auto", "ewma", "mad"}[seed%4]
		named := detector != "auto"
		o := &detectOptions{detector: detector, files: []string{name}, report: filepath.Join(dir, "report.html")}
		in, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := o.plan(named)
		if err != nil {
			t.Fatal(err)
		}
		r := &detection{detectOptions: o, plan: p, name: name, log: io.Discard, rows: io.Discard, header: new([]string)}
		if err := r.run(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		if len(r.trials) < 10 {
			t.Fatalf("only %d thresholds are tried", len(r.trials))
		}
		for _, trial := range r.trials {
			args := []string{"detect", name, "-q", "-o", "json", "--set", fmt.Sprintf("threshold=%v", trial.threshold)}
			if named {
				args = append(args, "--detector", detector)
			}
			code, stdout, stderr := adctl(t, "", args...)
			if code != exitOK {
				t.Fatalf("exit status %d: %s", code, stderr)
			}
			var all []summary
			if err := json.Unmarshal([]byte(stdout), &all); err != nil {
				t.Fatal(err)
			}
			said, ran := report.CostOf(trial.threshold, &trial.truth), &all[0]
			if said.Alerts != len(ran.Incidents) || said.False != ran.Labels.FalseAlarms || said.Found != ran.Labels.Found || said.Delay.Seconds() != ran.Labels.Delay {
				t.Errorf("%s by %s at %v: the report says %+v, a run gives %d incidents and %+v", name, detector, trial.threshold, said, len(ran.Incidents), *ran.Labels)
			}
		}
	}
}
