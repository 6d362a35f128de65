// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"math"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// After a restart, an origin tells again what it told since before the last snapshot: what is known is passed over, and
// what is not is judged, as if nothing had happened. What comes twice without a restart is a fault of its origin.
func TestReplayAfterARestart(t *testing.T) {
	dir := t.TempDir()
	reading := func(i int) source.Reading { return at("pressure", i, 20+math.Sin(float64(i))) }
	run := func(name string, from, to int, twice bool) (passed int, told []driver.Result) {
		t.Run(name, func(t *testing.T) {
			var v verdicts
			_, f := running(t, intake.Config{StateDir: dir, Defaults: map[string]any{"detector": "ewma", "quality.missing": 0}, Hooks: v.hooks()}, intake.Limits{})
			for i := from; i < to; i++ {
				got, err := take(t, f, reading(i))
				if err != nil {
					t.Fatal(err)
				}
				if got[0] == nil || strings.Contains(got[0].Message, "before a restart") {
					passed++
				}
				if twice {
					if _, err := take(t, f, reading(i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			told = v.told(key("pressure"))
		})
		return passed, told
	}
	if passed, _ := run("first", 0, 200, false); passed != 0 {
		t.Errorf("%d readings were passed over at first", passed)
	}
	passed, told := run("again", 150, 250, false)
	if passed != 50 {
		t.Errorf("%d readings were passed over, want the 50 that are known", passed)
	}
	for _, r := range told {
		if r.Severity != driver.Normal {
			t.Errorf("%v: %v %s", r.At, r.Severity, r.Message)
		}
	}
	if len(told) != 50 {
		t.Errorf("%d verdicts, want one on each that is new", len(told))
	}
	_, told = run("twice", 250, 350, true)
	faulty := 0
	for _, r := range told {
		if r.Kind == driver.KindDuplicate {
			faulty++
		}
	}
	if faulty == 0 {
		t.Error("what comes twice is no fault")
	}
	// A clock that was set back by more is no replay.
	if passed, _ := run("set back", -4000, -3990, false); passed != 0 {
		t.Errorf("%d readings were passed over", passed)
	}
}
