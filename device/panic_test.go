// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
)

type fragileReporter struct {
	*fakeReporter
	calls atomic.Int64
}

func (f *fragileReporter) Report(namespace, device string, twin common.Twin) {
	if f.calls.Add(1) == 3 {
		panic("in Report")
	}
	f.fakeReporter.Report(namespace, device, twin)
}

// A panic in the owner of a device is a connection that is lost: it connects again, and the other devices do not hear of it.
func TestPanicOfAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver, reporter := &fakeDriver{}, &fragileReporter{fakeReporter: &fakeReporter{}}
		startPanel(t, PanelOptions{Driver: driver, Reporter: reporter}, fakeDevice("a", "x"), fakeDevice("b", "x"))
		advance(time.Minute)
		twins, _, _ := reporter.all()
		if len(driver.connects) != 3 || len(twins) < 100 {
			t.Errorf("%d connections of two devices, %d twins", len(driver.connects), len(twins))
		}
	})
}

type fragileEdge struct {
	*fakeEdge
	calls atomic.Int64
}

func (f *fragileEdge) ReportTwins(ctx context.Context, namespace, device string, twins []*dmiapi.Twin) error {
	if f.calls.Add(1) == 1 {
		panic("in a report")
	}
	return f.fakeEdge.ReportTwins(ctx, namespace, device, twins)
}

// A report that panics has failed like others: it is tried again.
func TestPanicOfTheReporter(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.opts.Client = &fragileEdge{fakeEdge: edge}
		r.Report("ns", "a", twinOf("x", "1"))
		pass(10 * time.Second)
		if calls := edge.take(); len(calls) == 0 || calls[0] != "a x=1" {
			t.Errorf("calls %v, stats %+v", calls, r.Stats())
		}
	})
}

type fragileValue struct{ text string }

func (v *fragileValue) String() string { return v.text }

type fragileJSON map[string]int

func (fragileJSON) MarshalJSON() ([]byte, error) { panic("in MarshalJSON") }

// A value whose own text panics, or never comes, is a reading that failed. The connection and the other properties stay.
func TestPanicOfAValue(t *testing.T) {
	for name, value := range map[string]any{"a nil pointer with a String": (*fragileValue)(nil), "its JSON": fragileJSON{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				driver := &fakeDriver{read: func(_ context.Context, _ *fakeClient, property string) (any, error) {
					if strings.HasSuffix(property, "bad") {
						return value, nil
					}
					return 1.5, nil
				}}
				reporter := &fakeReporter{}
				var failed int
				startPanel(t, PanelOptions{Driver: driver, Reporter: reporter, Consumers: []Consumer{consumerFunc(func(r Reading) {
					if r.Property == "bad" && r.Err != nil {
						failed++
					}
				})}}, fakeDevice("a", "bad", "good"))
				advance(time.Minute)
				good := 0
				twins, _, _ := reporter.all()
				for _, twin := range twins {
					if strings.HasPrefix(twin, "good=") {
						good++
					}
				}
				if len(driver.connects) != 1 || good < 50 || failed == 0 {
					t.Errorf("%d connections, %d good readings, %d failed ones", len(driver.connects), good, failed)
				}
			})
		})
	}
}
