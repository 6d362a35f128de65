// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Which verdicts, one a second, the sinks hear. Capitals are the detector's anomalies, q and g are verdicts of the
// quality stage: a fault, and that it is over.
func TestCoalescer(t *testing.T) {
	tests := []struct {
		name, verdicts, heard string
	}{
		{"the first, then a heartbeat", "nnnnnnnnnnn", "n.........n"},
		{"a change at once, its end after a while", "nnAAnnnn", "n.A...n."},
		{"a flapping verdict is one incident", "nAnnAnnAnnnn", "nA........n."},
		{"a fault of the readings stands before a detector that sees nothing", "nqnnng", "nq...g"},
		{"an anomaly that is worse than the fault is told", "nqCnnn", "nqC..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c stage.Coalescer
			c.Init(10*time.Second, 3)
			var heard []byte
			for i, v := range []byte(tt.verdicts) {
				r := driver.Result{At: time.Unix(int64(i), 0), Threshold: 0.95}
				switch v {
				case 'A', 'q':
					r.Judge(0.96, driver.KindSpike)
				case 'C':
					r.Judge(1, driver.KindSpike)
				default:
					r.Judge(0, driver.KindNone)
				}
				quality := v == 'q' || v == 'g'
				if !quality && c.Quiet(&r) || !c.Pass(&r, quality) {
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
