// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"errors"
	"strings"
	"testing"
)

const manifests = `
# A comment only.
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata:
  name: lamp
spec:
  deviceModelRef: {name: light}
  protocol:
    protocolName: http
    configData: {url: "http://127.0.0.1:8000"}
  properties:
  - name: powerstatus
    desired: {value: "OFF"}
    visitors: {protocolName: http, configData: {path: /lights/light1}}
    pushMethod:
      anomalyDetection: {detector: ewma, detector.window: 60}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: light, namespace: default}
spec:
  protocol: http
  properties:
  - {name: powerstatus, type: STRING, accessMode: ReadWrite}
`

func TestApply(t *testing.T) {
	e, m := StartTest(t, unlimited), startMapper(t)
	register(t, e, m, true)
	if err := e.Apply(within(t), strings.NewReader(manifests)); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, m, "CreateDeviceModel default/light", "RegisterDevice default/lamp")
	ad := m.lastDevice().GetSpec().GetProperties()[0].GetPushMethod().GetAnomalyDetection().GetData()
	if got := rendered(t, ad)["detector.window"]; got != "60" {
		t.Errorf("detector.window = %s, want 60", got)
	}
	if err := e.Apply(within(t), strings.NewReader(manifests)); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, m, "UpdateDeviceModel default/light") // the device did not change
	if err := e.Apply(within(t), strings.NewReader(strings.ReplaceAll(manifests, "OFF", "ON"))); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, m, "UpdateDeviceModel default/light", "UpdateDevice default/lamp")
}

// One device that cannot travel does not keep the others from it.
func TestApplyGoesOn(t *testing.T) {
	e, m := StartTest(t, unlimited), startMapper(t)
	register(t, e, m, true)
	bad := strings.ReplaceAll(manifests, "detector.window: 60", "nested: {window: 60}")
	good := strings.ReplaceAll(manifests, "name: lamp", "name: lamp-2")
	if err := e.Apply(within(t), strings.NewReader(bad+"---\n"+good)); !errors.Is(err, ErrDropped) {
		t.Errorf("error %v, want ErrDropped", err)
	}
	wantCalls(t, m, "CreateDeviceModel default/light", "UpdateDeviceModel default/light", "RegisterDevice default/lamp-2")
}

func TestParseManifestsErrors(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, want string }{
		"kind":          {"kind: DeviceModel", "kind: Pod", `document 3: kind "Pod"`},
		"version":       {"devices.kubeedge.io/v1beta1", "devices.kubeedge.io/v1alpha2", `document 2: apiVersion "devices.kubeedge.io/v1alpha2"`},
		"no name":       {"name: lamp", "namespace: lamp", "document 2: Device without metadata.name"},
		"unknown field": {"desired:", "wanted:", `document 2: device lamp`},
		"not YAML":      {"kind: DeviceModel", "\t}", "document 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseManifests(strings.NewReader(strings.ReplaceAll(manifests, tc.from, tc.to)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzParseManifests(f *testing.F) {
	f.Add([]byte(manifests))
	f.Add([]byte("---\n---\nkind: Device"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifests(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		for _, d := range m.Devices {
			if d.Name == "" || d.Namespace == "" {
				t.Errorf("accepted a device without name or namespace: %+v", d.ObjectMeta)
			}
			_, _ = ConvertDevice(d, nil) // must not panic
		}
	})
}
