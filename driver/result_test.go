// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/driver"
)

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		score    float64
		severity driver.Severity
		kind     driver.Kind
	}{
		"no verdict":          {math.NaN(), driver.Unknown, driver.KindNone},
		"nothing unusual":     {0, driver.Normal, driver.KindNone},
		"under the threshold": {0.949, driver.Normal, driver.KindNone},
		"at the threshold":    {0.95, driver.Warning, driver.KindSpike},
		"under critical":      {0.989, driver.Warning, driver.KindSpike},
		"at critical":         {driver.CriticalScore(0.95), driver.Critical, driver.KindSpike},
		"certain":             {1, driver.Critical, driver.KindSpike},
	} {
		t.Run(name, func(t *testing.T) {
			r := driver.Result{Threshold: 0.95, Severity: driver.Critical, Kind: driver.KindFailed}
			r.Judge(c.score, driver.KindSpike)
			if r.Severity != c.severity || r.Kind != c.kind {
				t.Errorf("score %v is %v %q, want %v %q", c.score, r.Severity, r.Kind, c.severity, c.kind)
			}
			if r.Severity.Anomalous() != (c.severity >= driver.Warning) {
				t.Errorf("%v.Anomalous() = %v", r.Severity, r.Severity.Anomalous())
			}
		})
	}
}

func TestResetForgetsEverythingButCapacity(t *testing.T) {
	at := time.Date(2026, time.May, 1, 0, 0, 0, 0, time.UTC)
	key := driver.Key{Namespace: "default", Device: "light-1", Property: "power"}
	r := driver.Result{
		Severity: driver.Critical, Score: 1, Threshold: 0.5, Confidence: 1, Kind: driver.KindJump, Expected: 4, Lower: 3,
		Upper: 5, Onset: 1, Ongoing: true, Accepted: true, Incident: driver.Incident{ID: 7}, Causes: make([]driver.Cause, 3, 8), Detector: "old", Model: "old", Message: "old",
	}
	nan := math.NaN()
	r.Reset(driver.Row{{Key: key, At: at, Value: 7}, {Value: 8}})
	want := driver.Result{Key: key, At: at, Score: nan, Onset: nan, Value: 7, Expected: nan, Lower: nan, Upper: nan}
	if diff := cmp.Diff(want, r, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after Reset (-want +got):\n%s", diff)
	}
	if cap(r.Causes) != 8 {
		t.Errorf("capacity of causes is %d, want 8 as before", cap(r.Causes))
	}
	r.Reset(nil)
	if !math.IsNaN(r.Value) || r.Key != (driver.Key{}) {
		t.Errorf("an empty row leaves %+v, want no value and no key", r)
	}
}

func TestResetAndJudgeDoNotAllocate(t *testing.T) {
	row := driver.Row{{Value: 1}}
	r := driver.Result{Causes: make([]driver.Cause, 0, 4)}
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(row)
		r.Threshold = driver.DefaultThreshold
		r.Causes = append(r.Causes, driver.Cause{Weight: 1})
		r.Judge(1, driver.KindSpike)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := driver.Result{Causes: []driver.Cause{{Weight: 0.5}}}
	c := r.Clone()
	r.Causes[0].Weight = 1
	if c.Causes[0].Weight != 0.5 {
		t.Error("a clone's causes changed with the original's")
	}
}

func TestSeverityText(t *testing.T) {
	all := []driver.Severity{driver.Unknown, driver.Normal, driver.Warning, driver.Critical}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(data), `["unknown","normal","warning","critical"]`; got != want {
		t.Errorf("JSON is %s, want %s", got, want)
	}
	var back []driver.Severity
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, back); diff != "" {
		t.Error(diff)
	}
	if got := driver.Severity(9).String(); got != "severity(9)" {
		t.Errorf("a severity that does not exist is %q", got)
	}
}

func FuzzSeverityText(f *testing.F) {
	for _, s := range []string{"unknown", "critical", "", "Warning", "severity(9)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := driver.Severity(77)
		if err := s.UnmarshalText([]byte(text)); err != nil {
			if s != 77 {
				t.Errorf("%q is refused, yet changed the severity to %v", text, s)
			}
			return
		}
		if s.String() != text {
			t.Errorf("%q is read as %v", text, s)
		}
	})
}
