// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudtest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
)

// The examples of RFC 7386.
func TestMerge(t *testing.T) {
	type object = map[string]any
	for _, tt := range []struct{ object, patch, want object }{
		{object{"a": "b"}, object{"a": "c"}, object{"a": "c"}},
		{object{"a": "b"}, object{"b": "c"}, object{"a": "b", "b": "c"}},
		{object{"a": "b", "b": "c"}, object{"a": nil}, object{"b": "c"}},
		{object{"a": object{"b": "c"}}, object{"a": object{"b": "d", "c": nil}}, object{"a": object{"b": "d"}}},
		{object{"a": []any{1}}, object{"a": "c"}, object{"a": "c"}},
		{object{"e": nil}, object{"a": 1}, object{"e": nil, "a": 1}},
		{nil, object{"a": object{"bb": object{"ccc": nil}}}, object{"a": object{"bb": object{}}}},
	} {
		if diff := cmp.Diff(tt.want, cloudtest.Merge(tt.object, tt.patch)); diff != "" {
			t.Errorf("%v with %v (-want +got):\n%s", tt.object, tt.patch, diff)
		}
	}
}

// What is asked of it that makes no sense is refused as by an API server, and changes nothing.
func TestPatch(t *testing.T) {
	s := cloudtest.Start()
	defer s.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if err := s.Put(&v1beta1.DeviceStatus{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "light-1"}}); err != nil {
		t.Fatal(err)
	}
	const body = `{"status":{"extensions":{"anomaly-detector":{"data":{"severity":"warning","device":null}}}}}`
	for _, tt := range []struct {
		name, kind, body string
		want             int
	}{
		{"light-1", "application/merge-patch+json", body, http.StatusOK},
		{"light-2", "application/merge-patch+json", body, http.StatusNotFound},
		{"light-1", "application/json-patch+json", body, http.StatusUnsupportedMediaType},
		{"light-1", "application/merge-patch+json", body[1:], http.StatusBadRequest},
	} {
		url := s.URL + "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devicestatuses/" + tt.name
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, url, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != tt.want {
			t.Errorf("%s %s: %s %s, %v, want %d", tt.name, tt.kind, resp.Status, text, err, tt.want)
		}
	}
	got := s.Status("default", "light-1")
	want := map[string]any{"extensions": map[string]any{"anomaly-detector": map[string]any{"data": map[string]any{"severity": "warning"}}}}
	if diff := cmp.Diff(want, got["status"]); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if version := got["metadata"].(map[string]any)["resourceVersion"]; version != "2" {
		t.Errorf("version %v after one patch", version)
	}
}
