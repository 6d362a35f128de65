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
	if names := admethod.Adapters.Names(); !slices.Contains(names, "inprocess") {
		t.Errorf("adapters %q", names)
	}
	if names := admethod.Sinks.Names(); !slices.Contains(names, "log") {
		t.Errorf("sinks %q", names)
	}
	if _, err := driver.Default.Lookup(admethod.DefaultConfig().Detector); err != nil {
		t.Error(err)
	}
}
