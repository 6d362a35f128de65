// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/remotewrite"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	pb "github.com/kubeedge/edge-anomaly/proto/remotewrite"
)

type silent struct{}

func (silent) Detect(_ driver.Row, out *driver.Result) { out.Judge(0, driver.KindNone) }

// A million different series are offered to a source, and an intake behind it: what may not be known is refused, and
// takes no memory.
func TestAMillionSeries(t *testing.T) {
	if testing.Short() {
		t.Skip("sends a million series")
	}
	const requests, each, known, scored = 100, 10_000, 5000, 2000
	in, err := intake.New(intake.Config{
		Drivers: driver.NewRegistry(driver.NewFactory(driver.Info{Name: "silent", Summary: "for tests", Members: 1}, func() struct{} { return struct{}{} },
			func(driver.Settings, struct{}) (driver.Detector, error) { return silent{}, nil })),
		Defaults: map[string]any{"detector": "silent"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var reports sourcetest.Reports
	address := proctest.FreeAddress(t)
	s, err := remotewrite.New(settings(&reports, map[string]any{"listen": address, "series": known}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- in.Run(ctx, in.Source(in.Client("prometheus", []string{"*"}, intake.Limits{Series: scored, Rate: -1}), s))
	}()
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	client := sourcetest.Client()
	var before int64
	refused := 0
	for r := range requests {
		all := make([]*pb.TimeSeries, each)
		for i := range all {
			all[i] = series("temperature", fmt.Sprint("room-", r*each+i), at(1_700_000_000_000+int64(r), 1))
		}
		text := body(all...)
		for {
			answer, err := post(ctx, client, "http://"+address+remotewrite.Path, text, nil)
			if err != nil { // it does not listen yet
				continue
			}
			if !strings.HasPrefix(answer, "204") {
				refused++
				if !strings.Contains(answer, "series") {
					t.Fatal(answer)
				}
			}
			break
		}
		if r == requests/50 {
			before = heap()
		}
	}
	grown := heap() - before
	t.Logf("%.1f MiB, %+.2f MiB by %d series more; %d of %d requests are answered by what is refused", float64(before)/(1<<20), float64(grown)/(1<<20), (requests-requests/50)*each, refused, requests)
	if grown > 4<<20 || in.Properties() != scored {
		t.Errorf("%d bytes more, %d properties", grown, in.Properties())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var _ source.Source = s
}
