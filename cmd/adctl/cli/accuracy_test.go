// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestAccuracyOfAuto holds the default detector to the floor that the README promises, on the benchmark's files where
// they are present: standard, low FP rate and low FN rate, and the first with thresholds of the other categories.
func TestAccuracyOfAuto(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a few seconds")
	}
	dir := filepath.Join(cmp.Or(os.Getenv(datasetsEnv), filepath.Join("..", "..", "..", "..", "shared", "datasets")), "nab")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no benchmark data; %s may say where they are: %v", datasetsEnv, err)
	}
	code, stdout, stderr := adctl(t, "", "bench", "nab", "--data", dir, "--leave-one-out", "-o", "json")
	if code != exitOK {
		t.Fatal(stderr)
	}
	var r nabReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Scores) != 3 || len(r.LeaveOneOut) != 3 {
		t.Fatalf("%d scores and %d left out, want 3 of each", len(r.Scores), len(r.LeaveOneOut))
	}
	for i, least := range []float64{76, 66, 80} {
		if got := r.Scores[i].Score; got < least {
			t.Errorf("profile %d: score %.2f, want at least %v", i, got, least)
		}
	}
	if got := r.LeaveOneOut[0].Score; got < 70 {
		t.Errorf("with thresholds of the other categories: %.2f, want at least 70", got)
	}
}
