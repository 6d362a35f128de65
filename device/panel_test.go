// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
)

// EdgeCore updates a device whenever anything about it changes; upstream stops and recreates everything then.
func TestUpdateKeepsWhatDidNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver, detection := &fakeDriver{}, &fakeDetection{}
		build := func(change func(*common.DeviceInstance)) *common.DeviceInstance {
			dev := fakeDevice("d", "a", "b+")
			for i := range dev.Properties {
				dev.Properties[i].PushMethod = common.PushMethodConfig{AnomalyDetectionEnabled: true, AnomalyDetectionConfig: json.RawMessage(`{}`)}
			}
			if change != nil {
				change(dev)
			}
			return dev
		}
		p := startPanel(t, PanelOptions{Driver: driver, Detection: detection}, build(nil))
		expect := func(what string, connects int, bound, closed []string) {
			t.Helper()
			advance(3 * time.Second)
			gotBound, gotClosed := detection.bindings()
			if n := len(driver.connected()); n != connects || !slices.Equal(gotBound, bound) || !slices.Equal(gotClosed, closed) {
				t.Errorf("%s: %d connects, bound %q, closed %q; want %d, %q, %q", what, n, gotBound, gotClosed, connects, bound, closed)
			}
		}
		bound := []string{"a {}", "b {}"}
		expect("start", 1, bound, nil)

		p.UpdateDev(nil, build(nil))
		expect("the same again", 1, bound, nil)

		p.UpdateDev(nil, build(func(d *common.DeviceInstance) {
			d.Twins[1].ObservedDesired.Value = "4"
			d.Properties[0].Visitors = json.RawMessage(`{"configData":{"x":1}}`)
			d.Properties[0].PushMethod.MethodName = "otel" // not supported, said once
			d.Methods = []common.DeviceMethod{{Name: "m"}}
		}))
		expect("desired value, visitor, method", 1, bound, nil)

		p.UpdateDev(nil, build(func(d *common.DeviceInstance) {
			d.Properties[1].PushMethod.AnomalyDetectionConfig = json.RawMessage(`{"x":1}`)
		}))
		bound = append(bound, `b {"x":1}`)
		expect("settings of b", 1, bound, []string{"b"})

		p.UpdateDev(nil, build(func(d *common.DeviceInstance) {
			d.Properties[1].PushMethod.AnomalyDetectionConfig = json.RawMessage(`"wrong"`)
		}))
		expect("wrong settings of b", 1, bound, []string{"b", "b"})
		if before := driver.count("d/b"); before == 0 {
			t.Error("wrong settings stopped the property")
		}

		p.UpdateDev(nil, build(func(d *common.DeviceInstance) {
			d.PProtocol.ConfigData = json.RawMessage(`{"configData":{"port":1}}`)
			d.Properties = d.Properties[:1]
		}))
		expect("another port, b gone", 2, bound, []string{"b", "b"})

		detection.mu.Lock()
		detection.extra = " extra"
		detection.mu.Unlock()
		p.Refresh()
		bound = append(bound, "a {} extra")
		expect("another configuration of the mapper", 2, bound, []string{"b", "b", "a"})

		p.UpdateModel(&common.DeviceModel{Name: "m", Namespace: "ns", Properties: []common.ModelProperty{{Name: "a", DataType: "float", Maximum: "9"}}})
		bound = append(bound, "a {} extra")
		expect("another maximum in the model", 2, bound, []string{"b", "b", "a", "a"})
	})
}

func TestRemoveAndRegisterAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver, reporter, detection := &fakeDriver{}, &fakeReporter{}, &fakeDetection{}
		var open, most atomic.Int64
		driver.connect = func(context.Context, *common.DeviceInstance) error {
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
			return nil
		}
		driver.closing = func(ctx context.Context) error {
			<-time.After(time.Second)
			open.Add(-1)
			return nil
		}
		dev := fakeDevice("d", "a")
		dev.Properties[0].PushMethod = common.PushMethodConfig{AnomalyDetectionEnabled: true}
		p := startPanel(t, PanelOptions{Driver: driver, Reporter: reporter, Detection: detection}, dev)
		advance(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.RemoveDevice("ns/d"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		p.UpdateDev(nil, dev) // while the old client is still closing
		wg.Wait()
		advance(5 * time.Second)
		if most.Load() != 1 || len(driver.connected()) != 2 {
			t.Errorf("%d clients at once, %d connects", most.Load(), len(driver.connected()))
		}
		for range 2 {
			if err := p.RemoveDevice("ns/d"); err != nil { // upstream panics the second time
				t.Error(err)
			}
		}
		if err := p.RemoveDevice("ns/never-there"); err != nil {
			t.Error(err)
		}
		_, _, forgot := reporter.all()
		bound, closed := detection.bindings()
		if len(forgot) != 2 || len(bound) != 2 || len(closed) != 2 || driver.closed() != 2 {
			t.Errorf("forgot %v, bound %v, closed %v, %d clients closed", forgot, bound, closed, driver.closed())
		}
		reads := driver.count("d/a")
		advance(5 * time.Second)
		if driver.count("d/a") != reads {
			t.Error("a removed device is still read")
		}
		if _, err := p.GetDevice("ns/d"); err == nil {
			t.Error("a removed device is still there")
		}
	})
}

func TestDevInitTakesWhatIsUsable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := &fakeDriver{}
		p := startPanel(t, PanelOptions{Driver: driver})
		if err := p.DevInit(nil, nil); err != nil { // upstream calls this an error
			t.Error(err)
		}
		stray := sampleDevice(t)
		stray.Name, stray.Spec.Properties[0].Name = "room-2", "humidity"
		orphan := sampleDevice(t)
		orphan.Name, orphan.Spec.DeviceModelReference = "room-3", "none"
		err := p.DevInit([]*dmiapi.Device{sampleDevice(t), stray, orphan, nil, {}}, []*dmiapi.DeviceModel{sampleModel(), nil})
		for _, want := range []string{`property "humidity"`, `device model "none"`, "device: no name", "device model: no name"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error does not say %q:\n%v", want, err)
			}
		}
		p.UpdateDev(nil, nil)
		p.UpdateModel(nil)
		advance(time.Second)
		for property, want := range map[string]bool{"room-1/temperature": true, "room-1/power": true, "room-2/power": true, "room-2/humidity": false} {
			if got := driver.count(property) > 0; got != want {
				t.Errorf("%s read: %v, want %v", property, got, want)
			}
		}
		if m, err := p.GetModel("default/room-model"); err != nil || m.ID != "default/room-model" {
			t.Errorf("model: %+v, %v", m, err)
		}
		p.RemoveModel("default/room-model")
		p.RemoveModel("default/room-model")
		if _, err := p.GetModel("default/room-model"); err == nil {
			t.Error("a removed model is still there")
		}
	})
}

func TestDevStartReturnsWhenThePanelStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		driver := &fakeDriver{}
		p, err := NewPanel(ctx, PanelOptions{Driver: driver})
		if err != nil {
			t.Fatal(err)
		}
		p.UpdateDev(nil, fakeDevice("d", "a"))
		var wg sync.WaitGroup
		wg.Go(p.DevStart)
		advance(time.Second)
		cancel()
		wg.Wait()
		if driver.closed() != 1 {
			t.Error("the client is not closed")
		}
		p.UpdateDev(nil, fakeDevice("late", "a")) // ignored
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if len(driver.connected()) != 1 {
			t.Error("a device was started after the end")
		}
	})
	if _, err := NewPanel(t.Context(), PanelOptions{}); err == nil {
		t.Error("panel without driver: no error")
	}
}

// Upstream writes its maps unlocked while calls run; the race detector sees what is wrong here.
func TestConcurrentUse(t *testing.T) {
	driver, reporter, detection := &fakeDriver{}, &fakeReporter{}, &fakeDetection{}
	p := startPanel(t, PanelOptions{Driver: driver, Reporter: reporter, Detection: detection})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			name := string(rune('a' + w%4))
			id := "ns/" + name
			for i := range 40 {
				dev := fakeDevice(name, "x+", "y")
				dev.Properties[0].CollectCycle = 1
				dev.Twins[0].ObservedDesired.Value = string(rune('0' + i%10))
				dev.Methods = []common.DeviceMethod{{Name: "m", PropertyNames: []string{"x"}}}
				p.UpdateDev(&common.DeviceModel{Name: "m", Namespace: "ns"}, dev)
				_, _ = p.GetDevice(id)
				_, _, _ = p.GetTwinResult(id, "x")
				_ = p.WriteDevice("m", id, "x", "1")
				_ = p.UpdateDevTwins(id, dev.Twins)
				_, _, _ = p.GetDeviceMethod(id)
				p.Refresh()
				_, _ = p.GetModel("ns/m")
				if i%10 == 9 {
					if err := p.RemoveDevice(id); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
