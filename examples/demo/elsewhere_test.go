// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/restful-light-mapper/verdictlog"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// The Devices of the group are to be judged elsewhere, as one group with the same model, and all that they say of it is
// understood.
func TestPatchForElsewhere(t *testing.T) {
	m, err := readManifests(filepath.Join("..", "restful-light-mapper", "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	d := &external{address: "127.0.0.1:6804", mapper: tlsfiles.Files{CA: "/tls/ca.crt", Cert: "/tls/mapper.crt", Key: "/tls/mapper.key"}}
	for _, device := range m.Devices {
		d.patch(device)
		p := device.Spec.Properties[0]
		config, err := admethod.Layers{Device: p.PushMethod.AnomalyDetection.Data}.Parse()
		if err != nil {
			t.Fatal(err)
		}
		if device.Name != temperature.device { // which stays
			key := driver.Key{Namespace: namespace, Device: device.Name, Property: p.Name}
			if config.ADMethodName != "grpc" || config.Model != modelName || config.Detector != "bayesnet" {
				t.Errorf("%s: %s with detector %s and model %q", device.Name, config.ADMethodName, config.Detector, config.Model)
			}
			if err := (pipeline.Options{}).Check(key, config, admethod.Meta{}, len(group)); err != nil {
				t.Errorf("%s: %v", device.Name, err)
			}
		}
		if p.Desired.Value != "" && p.Desired.Value != "ON" {
			t.Errorf("%s: desired %q would switch the light", device.Name, p.Desired.Value)
		}
	}
}

// That a property is not judged while it moves is no failure; before and after it is.
func TestWatchWhileMoving(t *testing.T) {
	w := newWatch(func(incident) {})
	take := func(l verdictlog.Line) {
		raw, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		w.take(raw)
	}
	failed := verdictlog.Line{At: noon, Device: light1.device, Property: light1.property, Kind: driver.KindFailed, Message: "it moves"}
	w.move(true)
	take(failed)
	if w.normalSince(noon, light1) {
		t.Error("normal without a verdict")
	}
	for _, at := range []time.Time{noon.Add(-time.Second), noon.Add(time.Second)} {
		take(verdictlog.Line{At: at, Device: light1.device, Property: light1.property, Severity: driver.Normal, Detector: "bayesnet"})
		if got := w.normalSince(noon, light1); got != at.After(noon) {
			t.Errorf("normal since %v after a reading at %v: %v", noon, at, got)
		}
	}
	w.move(false)
	if w.err != nil {
		t.Errorf("failed: %v", w.err)
	}
	take(failed)
	if w.err == nil {
		t.Error("a property that is not watched is taken for one that is")
	}
}
