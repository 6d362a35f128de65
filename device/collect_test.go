// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/mapper-framework/pkg/common"
)

// Upstream reads the device once for each of twin, push, detection and database, and gets as many values.
func TestOneReadPerCycleIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver, reporter, detection := &fakeDriver{}, &fakeReporter{}, &fakeDetection{}
		var consumed []Reading // by the one goroutine of the device
		dev := fakeDevice("d", "a", "b")
		dev.Properties[0].ReportCycle = 5000
		dev.Properties[0].PushMethod = common.PushMethodConfig{AnomalyDetectionEnabled: true, AnomalyDetectionConfig: json.RawMessage(`{}`)}
		dev.Properties[1].ReportToCloud = false
		dev.Properties[1].CollectCycle, dev.Properties[1].ReportCycle = 0, 2_000_000_000 // nanoseconds
		startPanel(t, PanelOptions{
			Driver: driver, Reporter: reporter, Detection: detection,
			Consumers: []Consumer{consumerFunc(func(r Reading) { consumed = append(consumed, r) })},
		}, dev)
		advance(10*time.Second + 500*time.Millisecond)

		if a, b := driver.count("d/a"), driver.count("d/b"); a != 11 || b != 6 {
			t.Errorf("%d reads of a, %d of b; want 11 and 6", a, b)
		}
		twins, states, _ := reporter.all()
		if want := []string{"a=1", "a=6", "a=11"}; !slices.Equal(twins, want) {
			t.Errorf("twins %v, want %v: one each reportCycle, none of b", twins, want)
		}
		if want := []string{"d=ok"}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
		if got := detection.seen["a"]; len(got) != 11 || got[10] != 11.0 || len(detection.seen["b"]) != 0 {
			t.Errorf("detection saw %v", detection.seen)
		}
		if len(consumed) != 17 {
			t.Errorf("%d readings consumed, want 17", len(consumed))
		}
		first := consumed[0]
		if first.Namespace != "ns" || first.Device != "d" || first.Property != "a" || first.Value != 1.0 ||
			first.Text != "1" || first.Type != "float" || first.Err != nil || first.At.IsZero() {
			t.Errorf("reading %+v", first)
		}
	})
}

// Readings are never exactly on time: one that comes a little early must not put its report off by a whole cycle.
func TestReportCycleToleratesJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int // reads of the one client come one after the other
		driver := &fakeDriver{read: func(context.Context, *fakeClient, string) (any, error) {
			if n++; n == 1 {
				<-time.After(100 * time.Millisecond)
			}
			return n, nil
		}}
		reporter := &fakeReporter{}
		dev := fakeDevice("d", "a")
		dev.Properties[0].ReportCycle = 5000
		startPanel(t, PanelOptions{Driver: driver, Reporter: reporter}, dev)
		advance(10*time.Second + 500*time.Millisecond)
		twins, _, _ := reporter.all()
		if want := []string{"a=1", "a=6", "a=11"}; !slices.Equal(twins, want) {
			t.Errorf("twins %v, want %v", twins, want)
		}
	})
}

func TestDesiredValuesAreWrittenThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Bool
		driver := &fakeDriver{write: func(_ context.Context, _ string, _ any) error {
			if failing.Load() {
				return errors.New("jammed")
			}
			return nil
		}}
		dev := fakeDevice("d", "switch+", "level+", "fixed", "free+")
		dev.Properties[0].PProperty.DataType = "Boolean"
		dev.Properties[1].PProperty.DataType = "INT"
		dev.Properties[3].PProperty.DataType = "string" // and no desired value: upstream writes ""
		dev.Twins[0].ObservedDesired.Value = "true"
		dev.Twins[1].ObservedDesired.Value = "not a number"
		dev.Twins[2].ObservedDesired.Value = "7" // ReadOnly: upstream leaves it, too
		p := startPanel(t, PanelOptions{Driver: driver}, dev)
		advance(time.Second)
		want := []string{"d/switch=true (bool)"}
		if diff := cmp.Diff(want, driver.written()); diff != "" {
			t.Fatalf("on start (-want +got):\n%s", diff)
		}

		// A change writes what has changed, and is tried again until the device takes it.
		failing.Store(true)
		dev.Twins[1].ObservedDesired.Value = "3"
		if err := p.UpdateDevTwins("ns/d", dev.Twins); err != nil { // upstream locks itself out here
			t.Fatal(err)
		}
		advance(2 * time.Second)
		if diff := cmp.Diff(want, driver.written()); diff != "" {
			t.Errorf("while it fails (-want +got):\n%s", diff)
		}
		failing.Store(false)
		advance(10 * time.Second)
		want = append(want, "d/level=3 (int64)")
		if diff := cmp.Diff(want, driver.written()); diff != "" {
			t.Errorf("after a change (-want +got):\n%s", diff)
		}

		// An update that changes nothing, or empties a value, writes nothing.
		p.UpdateDev(nil, dev)
		dev.Twins[0].ObservedDesired.Value = ""
		p.UpdateDev(nil, dev)
		advance(5 * time.Second)
		if diff := cmp.Diff(want, driver.written()); diff != "" {
			t.Errorf("without a change (-want +got):\n%s", diff)
		}
		if err := p.UpdateDevTwins("ns/none", nil); err == nil {
			t.Error("twins of an unknown device: no error")
		}
	})
}

func TestConnectIsRetriedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reachable atomic.Bool
		driver := &fakeDriver{connect: func(context.Context, *common.DeviceInstance) error {
			if !reachable.Load() {
				return errors.New("no route")
			}
			return nil
		}}
		reporter := &fakeReporter{}
		p := startPanel(t, PanelOptions{Driver: driver, Reporter: reporter}, fakeDevice("d", "a+"))
		advance(10 * time.Minute)
		at := driver.connected()
		for i := 1; i < len(at); i++ {
			longest := min(time.Second<<(i-1), time.Minute)
			if pause := at[i].Sub(at[i-1]); pause < longest/2 || pause > longest {
				t.Errorf("pause %d is %v, want %v … %v", i, pause, longest/2, longest)
			}
		}
		if len(at) < 12 || len(at) > 30 {
			t.Errorf("%d attempts in ten minutes", len(at))
		}
		if _, _, err := p.GetTwinResult("ns/d", "a"); !errors.Is(err, ErrNotConnected) || !strings.Contains(err.Error(), "no route") {
			t.Errorf("read of a device that is away: %v", err)
		}
		reachable.Store(true)
		advance(2 * time.Minute)
		twins, states, _ := reporter.all()
		if want := []string{"d=offline", "d=ok"}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
		if len(twins) == 0 {
			t.Error("no twin after the device came back")
		}
	})
}

func TestLostConnectionIsMadeAnewAndDesiredWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Bool
		driver := &fakeDriver{}
		driver.read = func(context.Context, *fakeClient, string) (any, error) {
			if lost.CompareAndSwap(true, false) {
				return nil, errors.Join(errors.New("broken pipe"), ErrNotConnected)
			}
			return 1.0, nil
		}
		dev := fakeDevice("d", "a+")
		dev.Twins[0].ObservedDesired.Value = "2"
		startPanel(t, PanelOptions{Driver: driver}, dev)
		advance(3 * time.Second)
		lost.Store(true)
		advance(3 * time.Second)
		if n := len(driver.connected()); n != 2 || driver.closed() != 1 {
			t.Errorf("%d connects, %d closes; want 2 and 1", n, driver.closed())
		}
		if diff := cmp.Diff([]string{"d/a=2 (float64)", "d/a=2 (float64)"}, driver.written()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeviceThatConnectsButGivesNoReadingsIsOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		driver := &fakeDriver{read: func(context.Context, *fakeClient, string) (any, error) {
			if broken.Load() {
				return nil, errors.New("bus error")
			}
			return 1, nil
		}}
		reporter := &fakeReporter{}
		var failed atomic.Int64
		startPanel(t, PanelOptions{Driver: driver, Reporter: reporter, Consumers: []Consumer{consumerFunc(func(r Reading) {
			if r.Err != nil {
				failed.Add(1)
			}
		})}}, fakeDevice("d", "a", "b"))
		advance(5 * time.Minute)
		_, states, _ := reporter.all()
		if want := []string{"d=ok", "d=offline"}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v and no flapping", states, want)
		}
		if n := len(driver.connected()); n < 4 || n > 20 {
			t.Errorf("%d connects in five minutes", n)
		}
		if failed.Load() == 0 {
			t.Error("consumers did not hear of failed reads")
		}
		broken.Store(false)
		advance(90 * time.Second)
		_, states, _ = reporter.all()
		if want := []string{"d=ok", "d=offline", "d=ok"}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
	})
}

func TestHungReadEndsAtItsDeadlineAndBlocksNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := &fakeDriver{read: func(ctx context.Context, c *fakeClient, property string) (any, error) {
			if property == "hangs" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return 1.0, nil
		}}
		p := startPanel(t, PanelOptions{Driver: driver, ReadTimeout: 2 * time.Second},
			fakeDevice("bad", "hangs", "works"), fakeDevice("good", "a"))
		advance(60*time.Second + 500*time.Millisecond)
		if n := driver.count("good/a"); n != 61 {
			t.Errorf("%d reads of the other device, want 61", n)
		}
		// The property that hangs is visited less and less often.
		if n := driver.count("bad/hangs"); n < 3 || n > 10 {
			t.Errorf("%d reads of the property that hangs", n)
		}
		if n := driver.count("bad/works"); n < 45 {
			t.Errorf("%d reads of its neighbour, want at least 45", n)
		}
		if n := len(driver.connected()); n != 2 {
			t.Errorf("%d connects, want 2: a client that returns is kept", n)
		}
		if v, typ, err := p.GetTwinResult("ns/good", "a"); v != "1" || typ != "float" || err != nil {
			t.Errorf("read on demand: %q %q %v", v, typ, err)
		}
	})
}

func TestClientThatIgnoresItsContextIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		driver := &fakeDriver{}
		driver.read = func(context.Context, *fakeClient, string) (any, error) {
			<-release
			return 1.0, nil
		}
		reporter := &fakeReporter{}
		startPanel(t, PanelOptions{Driver: driver, Reporter: reporter, ReadTimeout: time.Second}, fakeDevice("d", "a"))
		advance(30 * time.Minute)
		if n := len(driver.connected()); n != maxStuck {
			t.Errorf("%d connects while calls hang, want %d", n, maxStuck)
		}
		if driver.closed() != 0 {
			t.Error("a client was closed while a call of it hangs")
		}
		_, states, _ := reporter.all()
		if last := states[len(states)-1]; last != "d=offline" {
			t.Errorf("states %v", states)
		}
		close(release)
		advance(2 * time.Minute)
		if n := driver.closed(); n != maxStuck {
			t.Errorf("%d clients closed after their calls returned, want %d", n, maxStuck)
		}
		_, states, _ = reporter.all()
		if last := states[len(states)-1]; last != "d=ok" {
			t.Errorf("states %v", states)
		}
	})
}

func TestHungConnectAndCloseEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int64
		driver := &fakeDriver{connect: func(context.Context, *common.DeviceInstance) error {
			if calls.Add(1) == 1 {
				<-release
			}
			return nil
		}}
		p := startPanel(t, PanelOptions{Driver: driver}, fakeDevice("d", "a"))
		advance(20 * time.Second)
		if driver.count("d/a") == 0 {
			t.Error("a connect that hangs stops the device for good")
		}
		close(release)
		synctest.Wait()
		if n := driver.closed(); n != 1 {
			t.Errorf("%d clients closed, want the late one", n)
		}

		// Shutdown does not wait for ever, and says so.
		stuck := make(chan struct{})
		driver.closing = func(context.Context) error { <-stuck; return nil }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown with a client that hangs: %v", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("shutdown took %v", took)
		}
		close(stuck)
	})
}

func TestPanicsOfAuthorsAreCaught(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		driver := &fakeDriver{
			connect: func(context.Context, *common.DeviceInstance) error {
				if calls.Add(1) == 1 {
					panic("connect")
				}
				return nil
			},
			read: func(_ context.Context, _ *fakeClient, property string) (any, error) {
				if property == "a" {
					panic("read")
				}
				return 1.0, nil
			},
			write:   func(context.Context, string, any) error { panic("write") },
			state:   func(context.Context) (string, error) { panic("state") },
			closing: func(context.Context) error { panic("close") },
		}
		reporter := &fakeReporter{}
		dev := fakeDevice("d", "a+", "b")
		dev.Twins[0].ObservedDesired.Value = "1"
		startPanel(t, PanelOptions{Driver: driver, Reporter: reporter,
			Consumers: []Consumer{consumerFunc(func(Reading) { panic("consume") })}}, dev)
		advance(time.Minute)
		twins, states, _ := reporter.all()
		if len(twins) < 50 || !slices.Contains(states, "d=unhealthy") {
			t.Errorf("%d twins, states %v", len(twins), states)
		}
	})
}

// What one reading costs beside the driver: a call that can be given up, delivery to twin and consumer.
func BenchmarkCollect(b *testing.B) {
	var sink Reading
	p, err := NewPanel(b.Context(), PanelOptions{
		Driver: &fakeDriver{}, Reporter: discardReporter{}, Consumers: []Consumer{consumerFunc(func(r Reading) { sink = r })},
	})
	if err != nil {
		b.Fatal(err)
	}
	o := newOwner(p, fakeDevice("d", "a"), nil)
	o.reconcile()
	client := constantClient{}
	b.ReportAllocs()
	for b.Loop() {
		if err := o.visit(client, o.props[0]); err != nil {
			b.Fatal(err)
		}
	}
	if sink.Text != "1" {
		b.Errorf("reading %+v", sink)
	}
}

type constantClient struct{ Client }

func (constantClient) Read(context.Context, *common.DeviceProperty) (any, error) { return 1.0, nil }

type discardReporter struct{ TwinReporter }

func (discardReporter) Report(_, _ string, _ common.Twin) {}
