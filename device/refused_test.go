// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// What detection refused is forgotten with the property, or when the Device no longer asks for it, and not before.
func TestRefusedPropertiesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		detection := &fakeDetection{}
		asks := func(settings string) *common.DeviceInstance {
			dev := fakeDevice("a", "x")
			if settings != "" {
				dev.Properties[0].PushMethod.AnomalyDetectionEnabled = true
				dev.Properties[0].PushMethod.AnomalyDetectionConfig = json.RawMessage(settings)
			}
			return dev
		}
		p := startPanel(t, PanelOptions{Driver: &fakeDriver{}, Detection: detection}, asks(`"wrong"`))
		want := func(what string, forgot int) {
			t.Helper()
			synctest.Wait()
			detection.mu.Lock()
			defer detection.mu.Unlock()
			if len(detection.forgot) != forgot {
				t.Errorf("%s: forgotten %d times, want %d", what, len(detection.forgot), forgot)
			}
		}
		want("refused", 0)
		p.Refresh()
		want("refused still", 0)
		p.UpdateDev(nil, asks(`"no object"`))
		want("refused for another reason", 0)
		p.UpdateDev(nil, asks(`"no object"`))
		want("once more", 0)
		p.UpdateDev(nil, asks(""))
		want("no longer asked for", 1)
		p.UpdateDev(nil, asks(`{}`))
		p.UpdateDev(nil, asks(""))
		want("watched, and no longer", 1)
		p.UpdateDev(nil, asks(`"wrong"`))
		synctest.Wait()
		if err := p.RemoveDevice("ns/a"); err != nil {
			t.Fatal(err)
		}
		want("removed", 2)
		p.UpdateDev(nil, asks(`"wrong"`))
		want("back", 2)
		if err := p.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		want("the mapper ends", 2)
	})
}

// Over a real handler, too: the sinks hear of a property whose configuration is wrong, and that it is gone.
func TestRejectedPropertyIsForgottenBySinks(t *testing.T) {
	v := NewVerdicts()
	h := sinktest.Handler(t, pipeline.Options{Sinks: v.Link(admethod.Sinks), DefaultSinks: []string{VerdictsSink}})
	dev := fakeDevice("a", "x")
	dev.Properties[0].PushMethod.AnomalyDetectionEnabled = true
	dev.Properties[0].PushMethod.AnomalyDetectionConfig = json.RawMessage(`{"detektor": "range"}`)
	p := startPanel(t, PanelOptions{Driver: &fakeDriver{}, Detection: NewDetection(h, nil), Verdicts: v}, dev)
	known := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.devices)
	}
	waittest.Eventually(t, "one is known", func() bool { return known() == 1 })
	if err := p.RemoveDevice("ns/a"); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "none is known", func() bool { return known() == 0 })
}
