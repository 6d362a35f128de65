// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/sink/activity"
	"github.com/kubeedge/edge-anomaly/device/config"
)

func TestSeverities(t *testing.T) {
	a, err := startCloud([]string{"light-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer http.DefaultClient.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, a.URL+"/apis/devices.kubeedge.io/v1beta1/namespaces/"+namespace+"/devicestatuses/light-1",
		strings.NewReader(`{"status":{"extensions":{"anomaly-detector":{"data":{"severity":"warning","device":null}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/merge-patch+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	if got := a.severity("light-1"); got != "warning" {
		t.Errorf("severity %q", got)
	}
	if got := a.severity("light-2"); got != "" {
		t.Errorf("severity %q of a device that is not there", got)
	}
	if _, err := fetch(t.Context(), a.URL+"/metrics"); err == nil || !strings.Contains(err.Error(), "404") {
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
	defer s.api.Close()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	ad := c.AnomalyDetection
	if len(ad.Sinks) != 8 || ad.SinkOptions["devicestatus"]["server"] != s.api.URL || "http://"+ad.SinkOptions["api"]["address"].(string) != s.out.api {
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
