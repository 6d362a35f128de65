// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What `adctl lint --policy` prints refuses the Devices that EdgeCore would drop whole, and no others.
func TestAdmissionPolicy(t *testing.T) {
	s := Start(t, nil)
	policy, err := os.ReadFile("../../cmd/adctl/internal/lint/policy.yaml")
	must(t, err)
	s.Apply(t, string(policy))
	devices := s.Client(t, "").Resource(schema.GroupVersionResource{
		Group: "devices.kubeedge.io", Version: "v1beta1", Resource: "devices",
	}).Namespace("default")
	// Nothing is kept: the API server judges a dry run as it judges the real thing.
	create := func(property map[string]any) (*unstructured.Unstructured, error) {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": map[string]any{"name": "sensor-1"},
			"spec": map[string]any{"properties": []any{map[string]any{"name": "other"}, property}},
		}}
		if spec, ok := property["spec"]; ok {
			o.Object["spec"] = spec
		}
		return devices.Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	}
	try := func(property map[string]any) error {
		_, err := create(property)
		return err
	}
	detect := func(config map[string]any) map[string]any {
		return map[string]any{"name": "t", "pushMethod": map[string]any{"anomalyDetection": config}}
	}
	visitors := func(config map[string]any) map[string]any {
		return map[string]any{"name": "t", "visitors": map[string]any{"protocolName": "modbus", "configData": config}}
	}
	protocol := func(config map[string]any) map[string]any { // a Device that has this instead of properties
		return map[string]any{"spec": map[string]any{"protocol": map[string]any{"protocolName": "modbus", "configData": config}}}
	}
	nested := detect(map[string]any{"detector": map[string]any{"window": int64(60)}})
	within(t, time.Minute, "the policy in force", func() bool { return apierrors.IsInvalid(try(nested)) })
	for _, tt := range []struct {
		name     string
		property map[string]any
		refused  string // what the message says; "" where it is taken
	}{
		{"a map", nested, "holds a map"},
		{"an empty map", detect(map[string]any{"quality": map[string]any{}}), "holds a map"},
		{"a list", detect(map[string]any{"sinks": []any{"log"}}), "holds a map"},
		{"the key data", detect(map[string]any{"data": "x"}), "key data"},
		{"the key Data", detect(map[string]any{"Data": "x"}), "key data"},
		{"the key DATA", detect(map[string]any{"DATA": "x"}), "key data"},
		{"a map for the driver", visitors(map[string]any{"register": map[string]any{"from": int64(2)}}), "visitors.configData holds a map"},
		{"a list for the driver", visitors(map[string]any{"registers": []any{int64(2)}}), "visitors.configData holds a map"},
		{"the key data for the driver", visitors(map[string]any{"dAta": int64(2)}), "visitors.configData holds the key data"},
		{"a map for the protocol", protocol(map[string]any{"tls": map[string]any{}}), "the protocol's configData holds a map"},
		{"the key data for the protocol", protocol(map[string]any{"data": "x"}), "the protocol's configData holds the key data"},
		{"scalars for the driver", visitors(map[string]any{"register": int64(2), "scale": 0.1, "signed": true, "unit": "C"}), ""},
		{"scalars for the protocol", protocol(map[string]any{"port": int64(502)}), ""},
		{"scalars", detect(map[string]any{"detector": "auto", "threshold": 0.9, "detector.window": int64(60), "enabled": true}), ""},
		{"a target", detect(map[string]any{"adMethodName": "grpc", "grpc.target": "plant-a", "grpc.fallback.window": int64(60)}), ""},
		{"an address", detect(map[string]any{"adMethodName": "grpc", "grpc.address": "detector:6804"}), "must not set"},
		{"a file", detect(map[string]any{"http.token": "/etc/shadow"}), "must not set"},
		{"a port to listen on", detect(map[string]any{"http.callback.listen": "0.0.0.0:80"}), "must not set"},
		{"one JSON text", detect(map[string]any{"config": `{"detector":{"window":60}}`}), ""},
		{"no keys", detect(map[string]any{}), ""},
		{"no detection", map[string]any{"name": "t", "pushMethod": map[string]any{"mqtt": map[string]any{"topic": "t"}}}, ""},
		{"no push method", map[string]any{"name": "t"}, ""},
	} {
		err := try(tt.property)
		if tt.refused == "" && err != nil || tt.refused != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.refused)) {
			t.Errorf("%s: got %v, want it refused for %q", tt.name, err, tt.refused)
		}
	}

	// Some API servers take a null out before the policy sees it, others keep it. None gets past both.
	for name, property := range map[string]map[string]any{
		"detection": detect(map[string]any{"detector": nil}), "visitors": visitors(map[string]any{"register": nil}),
		"the protocol": protocol(map[string]any{"port": nil}), "beside others": detect(map[string]any{"detector": "auto", "model": nil}),
	} {
		o, err := create(property)
		if err != nil && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "a null")) {
			t.Errorf("a null in %s: got %v, want it refused for the null", name, err)
		}
		if err == nil && holdsNull(o.Object["spec"]) {
			t.Errorf("a null in %s is kept and let through: %v", name, o.Object["spec"])
		}
	}

	models := s.Client(t, "").Resource(schema.GroupVersionResource{
		Group: "devices.kubeedge.io", Version: "v1beta1", Resource: "devicemodels",
	}).Namespace("default")
	for _, tt := range []struct {
		name    string
		spec    map[string]any
		refused string
	}{
		{"a map for the driver", map[string]any{"properties": []any{visitors(map[string]any{"a": map[string]any{}})}}, "visitors.configData holds a map"},
		{"a list for the protocol", map[string]any{"protocolConfigData": map[string]any{"a": []any{}}}, "the protocol's configData holds a map"},
		{"the key Data for the protocol", map[string]any{"protocolConfigData": map[string]any{"Data": "a"}}, "the protocol's configData holds the key data"},
		{"scalars", map[string]any{"properties": []any{visitors(map[string]any{"a": "b"})}, "protocolConfigData": map[string]any{"a": true}}, ""},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel", "metadata": map[string]any{"name": "sensor"}, "spec": tt.spec,
		}}
		_, err := models.Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if tt.refused == "" && err != nil || tt.refused != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.refused)) {
			t.Errorf("a model, %s: got %v, want it refused for %q", tt.name, err, tt.refused)
		}
	}
}

func holdsNull(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for _, below := range v {
			if holdsNull(below) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, holdsNull)
	}
	return false
}
