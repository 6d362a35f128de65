// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod/sink/activity"
	"github.com/kubeedge/edge-anomaly/device/config"
)

// The examples of RFC 7386.
func TestMergePatch(t *testing.T) {
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
		if diff := cmp.Diff(tt.want, mergePatch(tt.object, tt.patch)); diff != "" {
			t.Errorf("%v with %v (-want +got):\n%s", tt.object, tt.patch, diff)
		}
	}
}

func TestAPIServer(t *testing.T) {
	a, err := startAPIServer(t.Context(), []string{"light-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		http.DefaultClient.CloseIdleConnections()
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
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
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, a.url+statusesPath+tt.name, strings.NewReader(tt.body))
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
	if got := a.severity("light-1"); got != "warning" || a.patches != 1 {
		t.Errorf("severity %q after %d patches", got, a.patches)
	}
	if got := a.severity("light-2"); got != "" {
		t.Errorf("severity %q of a device that is not there", got)
	}
	if _, err := fetch(t.Context(), a.url+"/metrics"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a page that is not there: %v", err)
	}
}

// The mapper takes the configuration that the demo writes, and the activities.
func TestMapperConfig(t *testing.T) {
	t.Setenv("EDGE_ANOMALY_SOCKET_PATH", "/tmp/mapper.sock")
	s := &stage{root: filepath.Join("..", ".."), dir: t.TempDir(), logs: t.TempDir()}
	text, err := s.openOutlets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.api.close()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	ad := c.AnomalyDetection
	if len(ad.Sinks) != 8 || ad.SinkOptions["devicestatus"]["server"] != s.api.url || "http://"+ad.SinkOptions["api"]["address"].(string) != s.out.api {
		t.Errorf("sinks %v with %v", ad.Sinks, ad.SinkOptions)
	}
	raw, err := os.ReadFile(ad.SinkOptions["activity"]["file"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if list, err := activity.Parse(raw, nil); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestOnly(t *testing.T) {
	if got := only("a 1\nb 2\na 2\n", "a", "2"); got != "a 2" {
		t.Errorf("got %q", got)
	}
	if got := only("a\n", "b"); got != "" {
		t.Errorf("got %q", got)
	}
}
