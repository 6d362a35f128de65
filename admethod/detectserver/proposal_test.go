// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// A client that knows only the proposal's fields has no stage that looks when readings come: the server's does. What is
// repeated or older is not learned from, what persists is an alert until it is over; a client that has stages is left alone.
func TestQualityForProposalOnlyClients(t *testing.T) {
	counts := drivertest.Func("counts", func(_ driver.Row, out *driver.Result) { out.Judge(0.1, driver.KindNone) })
	// The time and the value of readings, and what is told of them.
	times := func(n int, from float64) (at []float64) {
		for i := range n {
			at = append(at, from+float64(i))
		}
		return at
	}
	repeated := append(append(times(30, 0), 29, 29, 29, 29, 29, 29), times(40, 30)...)
	back := append(append(times(30, 0), 20.5, 21.5, 22.5, 23.5, 24.5, 25.5), times(40, 30)...)
	lost := append(times(60, 0), times(60, 600)...)
	tests := []struct {
		name  string
		at    []float64 // seconds
		value func(i int) string
		kind  driver.Kind // that is told; none at the end
	}{
		{"in order", times(80, 0), nil, driver.KindNone},
		{"repeated", repeated, nil, driver.KindDuplicate},
		{"older than what came before", back, nil, driver.KindOutOfOrder},
		{"not there", lost, nil, driver.KindMissing},
		{"words", times(100, 0), func(i int) string { return []string{"idle", "run"}[i/7%2] }, driver.KindNone},
		{"no numbers", times(100, 0), func(i int) string {
			if i >= 30 && i < 36 {
				return "err"
			}
			return "20"
		}, driver.KindInvalid},
	}
	for _, describes := range []bool{false, true} {
		for _, tt := range tests {
			name := tt.name
			if describes {
				name += ", of a client with stages"
			}
			t.Run(name, func(t *testing.T) {
				address, _ := serve(t, Config{
					Insecure: true, Config: intake.Config{
						Drivers: driver.NewRegistry(counts), Defaults: map[string]any{"detector": "counts"},
					},
				})
				stream := dial(t, address, insecure.NewCredentials())
				told := make(map[string]int)
				last := ""
				for i, at := range tt.at {
					value := "20"
					if tt.value != nil {
						value = tt.value(i)
					}
					m := reading(0, value)
					m.Timestamp = time.Unix(1_700_000_000, int64(at*1e9)).UTC().Format(time.RFC3339Nano)
					if describes {
						m.Sequence = uint64(i + 1)
						if i == 0 {
							m.Stream = &pb.StreamInfo{StreamId: strconv.Itoa(i)}
							m.Series = &pb.SeriesInfo{Members: []*pb.Member{{Namespace: m.Namespace, DeviceName: m.DeviceName, PropertyName: m.PropertyName}}}
						}
					}
					answer, err := ask(t, stream, m)
					if err != nil {
						t.Fatal(err)
					}
					if answer.Status != "ok" {
						told[answer.Kind]++
					}
					last = answer.Status
				}
				want := tt.kind
				if describes {
					want = driver.KindNone
				}
				var kinds []string
				for kind := range told {
					kinds = append(kinds, kind)
				}
				if got := strings.Join(kinds, " "); got != string(want) || last != "ok" {
					t.Errorf("told %v, and %s in the end; want %q, and ok", told, last, want)
				}
			})
		}
	}
}
