// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	offered  = 1_000_000 // series that are all different
	mayScore = 2000
	mayGrow  = 4 << 20 // bytes, from the first fiftieth on
)

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// grows measures what offering takes beyond what the first fiftieth took.
func grows(t *testing.T, offer func(i int)) {
	t.Helper()
	var before int64
	for i := range offered {
		if offer(i); i == offered/50 {
			before = heap()
		}
	}
	grown := heap() - before
	t.Logf("%.1f MiB, %+.2f MiB by %d series more", float64(before)/(1<<20), float64(grown)/(1<<20), offered-offered/50)
	if grown > mayGrow {
		t.Errorf("%d bytes more, want at most %d", grown, mayGrow)
	}
}

// A million different series take no more memory than those that may be scored: all others are refused, and told why.
func TestAMillionSeriesOfASource(t *testing.T) {
	if testing.Short() {
		t.Skip("offers a million series")
	}
	in, f := running(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}}, intake.Limits{Series: mayScore, Rate: -1})
	refusals := 0
	batch := make([]source.Reading, 0, 500)
	grows(t, func(i int) {
		batch = append(batch, source.Reading{
			Key: driver.Key{Namespace: "default", Device: fmt.Sprint("pump-", i), Property: "pressure"}, At: began, Value: 1,
			Property: &source.Property{Labels: map[string]string{"name": fmt.Sprint("label-", i)}},
		})
		if len(batch) < cap(batch) {
			return
		}
		refusals += beyond(t, f, batch)
		batch = batch[:0]
	})
	if refusals != offered-mayScore || in.Properties() != mayScore {
		t.Errorf("%d are refused, %d scored", refusals, in.Properties())
	}
}

// So do those of a client of an endpoint.
func TestAMillionSeriesOfAClient(t *testing.T) {
	if testing.Short() {
		t.Skip("offers a million series")
	}
	in, err := intake.New(intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}})
	if err != nil {
		t.Fatal(err)
	}
	client := in.Client("mapper", []string{"*"}, intake.Limits{Series: mayScore, Rate: -1})
	err = in.Run(t.Context(), func(ctx context.Context) error {
		s, err := in.Open(client, 1)
		if err != nil {
			return err
		}
		defer s.Close()
		scored := 0
		grows(t, func(i int) {
			answers, err := s.Exchange(ctx, []*pb.DevicePropertyData{{
				Namespace: "default", DeviceName: fmt.Sprint("pump-", i), PropertyName: "pressure", PropertyValue: "1", Timestamp: began.Format(time.RFC3339),
			}})
			if err != nil {
				t.Fatal(err)
			}
			if m := answers[0]; m.GetSeverity() == pb.Severity_SEVERITY_NORMAL {
				scored++
			} else if !strings.Contains(m.GetMessage(), "limits.series") {
				t.Fatal(m)
			}
		})
		if scored != mayScore || in.Properties() != mayScore {
			t.Errorf("%d are scored, %d are kept", scored, in.Properties())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
