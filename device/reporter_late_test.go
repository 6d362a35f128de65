// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
)

// The log says once, however often it happens, that more changes than the limiter lets through, and what to do; and never
// where all is in time, or where EdgeCore is away.
func TestReporterTellsWhatCannotFit(t *testing.T) {
	const said = "More is reported than the node's limiter lets through"
	for _, tt := range []struct {
		name    string
		devices int
		away    bool
		want    int
	}{
		{"fits", 25, false, 0},
		{"does not fit", 100, false, 1},
		{"EdgeCore is away", 25, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			journal := logstest.Capture(t)
			reporting(t, ReporterOptions{Limiter: rate.NewLimiter(1, 1)}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
				for minute := range 20 {
					if tt.away && minute == 3 {
						edge.set(func(string) error { return errors.New("connection refused") }, false)
					} else if tt.away && minute == 9 {
						edge.set(nil, false)
					}
					for i := range tt.devices {
						r.Report("ns", fmt.Sprint("d", i), twinOf("x", fmt.Sprint(minute)))
					}
					pass(time.Minute)
				}
			})
			log := journal.String()
			if n := strings.Count(log, said); n != tt.want {
				t.Errorf("said %d times, want %d:\n%s", n, tt.want, log)
			}
			if tt.want > 0 && !strings.Contains(log, "the sink devicestatus takes verdicts past the limiter") {
				t.Errorf("does not say what to do:\n%s", log)
			}
		})
	}
}
