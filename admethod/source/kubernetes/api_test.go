// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
)

// api is a simulated API server.
type api struct{ *cloudtest.Server }

func newAPI(tb testing.TB) *api {
	tb.Helper()
	a := &api{cloudtest.Start()}
	tb.Cleanup(a.Close)
	return a
}

func (a *api) put(tb testing.TB, o metav1.Object) {
	tb.Helper()
	if err := a.Put(o); err != nil {
		tb.Fatal(err)
	}
}

// watched waits until all resources are watched.
func (a *api) watched(tb testing.TB) {
	tb.Helper()
	if err := a.Watched(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// model is a DeviceModel with a temperature, a setpoint and a picture.
func model(name string) *v1beta1.DeviceModel {
	return &v1beta1.DeviceModel{
		TypeMeta:   metav1.TypeMeta{APIVersion: "devices.kubeedge.io/v1beta1", Kind: "DeviceModel"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name},
		Spec: v1beta1.DeviceModelSpec{Properties: []v1beta1.ModelProperty{
			{Name: "temperature", Type: v1beta1.DOUBLE, AccessMode: v1beta1.ReadOnly, Unit: "°C", Minimum: "-20", Maximum: "120"},
			{Name: "setpoint", Type: v1beta1.INT, AccessMode: v1beta1.ReadWrite},
			{Name: "picture", Type: v1beta1.STREAM, AccessMode: v1beta1.ReadOnly},
		}},
	}
}

// device is a Device of a model.
func device(name, model string) *v1beta1.Device {
	d := &v1beta1.Device{
		TypeMeta:   metav1.TypeMeta{APIVersion: "devices.kubeedge.io/v1beta1", Kind: "Device"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name, Labels: map[string]string{"hall": "3"}},
	}
	d.Spec.DeviceModelRef = new(localObjectReference)
	d.Spec.DeviceModelRef.Name, d.Spec.NodeName = model, "edge-1"
	for _, p := range []string{"temperature", "temperature-anomaly", "setpoint", "picture"} {
		d.Spec.Properties = append(d.Spec.Properties, v1beta1.DeviceProperty{Name: p})
	}
	return d
}

// The times of twins are milliseconds after began: an int may have 32 bits.
const (
	began = int64(1_700_000_000_000)
	noon  = 1 // of twins; 0 is none
)

// status is a DeviceStatus whose twins are property, value and time in milliseconds from noon on, which is began; 0 is none.
func status(name string, twins ...any) *v1beta1.DeviceStatus {
	s := &v1beta1.DeviceStatus{
		TypeMeta:   metav1.TypeMeta{APIVersion: "devices.kubeedge.io/v1beta1", Kind: "DeviceStatus"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name},
	}
	s.Status.Extensions.Data = map[string]any{"anomaly-detector": map[string]any{"data": map[string]any{"severity": "critical"}}}
	for i := 0; i+2 < len(twins); i += 3 {
		t := v1beta1.Twin{PropertyName: twins[i].(string)}
		t.Reported.Value = fmt.Sprint(twins[i+1])
		if ms := twins[i+2].(int); ms != 0 {
			t.Reported.Metadata = map[string]string{"timestamp": strconv.FormatInt(began+int64(ms-noon), 10), "type": "string"}
		}
		s.Status.Twins = append(s.Status.Twins, t)
	}
	return s
}
