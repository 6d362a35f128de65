// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Which verdicts, one a second, the sinks hear; see verdict for the letters.
func TestCoalescer(t *testing.T) {
	tests := []struct {
		name, verdicts, heard string
	}{
		{"the first, then a heartbeat", "nnnnnnnnnnn", "n.........n"},
		{"a change at once, the end of an incident too", "nnAAnnnn", "n.A...n."},
		{"a flapping verdict is one incident", "nAnnAnnAnnnn", "nA........n."},
		{"an incident that lasts has a heartbeat", "nBLLLLLLLLLLL", "nB.........L."},
		{"it gets worse", "nACAn", "nAC.."},
		{"a fault of the readings stands before a detector that sees nothing", "nqnnng", "nq...g"},
		{"nothing is known of it for a moment", "nA??Ann", "nA?.A.."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c stage.Coalescer
			var in stage.Incident
			p := policy(t, stage.DefaultPolicy())
			c.Init(10 * time.Second)
			var heard []byte
			for i, v := range []byte(tt.verdicts) {
				r, quality := verdict(v, i)
				if !quality && c.Quiet(&r) {
					heard = append(heard, '.')
					continue
				}
				in.Judge(&r, quality, p)
				if !c.Pass(&r, in.Calm()) {
					v = '.'
				}
				heard = append(heard, v)
			}
			if !slices.Equal(heard, []byte(tt.heard)) {
				t.Errorf("heard %s of %s, want %s", heard, tt.verdicts, tt.heard)
			}
		})
	}
}

// A heartbeat beyond the end of time is none: verdicts that say nothing new cost no lock.
func TestHeartbeatBeyondTime(t *testing.T) {
	var v stage.Coalescer
	v.Init(math.MaxInt64)
	at := time.Unix(1_800_000_000, 0)
	var r driver.Result
	r.At, r.Severity = at, driver.Normal
	if !v.Pass(&r, true) {
		t.Fatal("the first verdict does not pass")
	}
	for _, later := range []time.Duration{0, time.Second, 1000 * time.Hour} {
		r.At = at.Add(later)
		if !v.Quiet(&r) {
			t.Errorf("a verdict %v later is news", later)
		}
	}
}
