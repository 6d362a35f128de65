// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestAllLinksTheDefaults(t *testing.T) {
	// What is linked here and what an error tells a smaller program to import are the same.
	if names, known := admethod.Adapters.Names(), slices.Sorted(maps.Keys(admethod.Adapters.Packages)); !slices.Equal(names, known) {
		t.Errorf("adapters %q, of which packages are known: %q", names, known)
	}
	if names, known := admethod.Sinks.Names(), slices.Sorted(maps.Keys(admethod.Sinks.Packages)); !slices.Equal(names, known) {
		t.Errorf("sinks %q, of which packages are known: %q", names, known)
	}
	if _, err := driver.Default.Lookup(admethod.DefaultConfig().Detector); err != nil {
		t.Error(err)
	}
}
