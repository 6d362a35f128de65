// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"slices"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestAllLinksTheDefaults(t *testing.T) {
	for _, name := range []string{"grpc", "http", "inprocess"} {
		if names := admethod.Adapters.Names(); !slices.Contains(names, name) {
			t.Errorf("adapters %q, want %s among them", names, name)
		}
	}
	for _, name := range []string{"activity", "api", "devicestatus", "history", "log", "metrics", "mqtt", "recorder", "webhook"} {
		if names := admethod.Sinks.Names(); !slices.Contains(names, name) {
			t.Errorf("sinks %q, want %s among them", names, name)
		}
	}
	if _, err := driver.Default.Lookup(admethod.DefaultConfig().Detector); err != nil {
		t.Error(err)
	}
}
