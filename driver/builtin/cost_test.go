// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin_test

import (
	"os"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// The declared cost holds at the parameters that take most memory, too. Those that learn for long are measured by a part
// of what they may be told to keep.
func TestCostAtLargeParameters(t *testing.T) {
	if os.Getenv("EDGE_ANOMALY_HEAVY") == "" {
		t.Skip("keeps hundreds of megabytes; make test-long measures it")
	}
	for _, c := range []struct {
		name    string
		members int
		warmUp  int
		config  map[string]any
	}{
		{"mad", 1, 12_000, map[string]any{"window": 10_000}},
		{"knn", 1, 3000, map[string]any{"lag": 64, "windows": 4096}},
		{"knn", 16, 400, map[string]any{"lag": 8, "windows": 512}},
		{"iforest", 8, 2200, map[string]any{"trees": 300, "sample": 1024, "trainRows": 2000}},
		{"pca", 32, 1200, map[string]any{"trainRows": 1000}},
		{"autogroup", 16, 4200, map[string]any{"trainRows": 4000}},
	} {
		f, err := driver.Default.Lookup(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := drivertest.VerifyCost(f, drivertest.Members(c.members), drivertest.Config(c.config), drivertest.WarmUp(c.warmUp)); err != nil {
			t.Errorf("%s with %d members, %v: %v", c.name, c.members, c.config, err)
		}
	}
}

// The costs that were found to be out of all proportion to what was documented.
func TestCostNamesWhatItIsFor(t *testing.T) {
	for _, c := range []struct {
		name    string
		config  map[string]any
		atLeast int64
		by      string
	}{
		{"knn", map[string]any{"windows": 4096, "lag": 64}, 2 << 20, "windows"},
		{"iforest", map[string]any{"trees": 1000}, 4 << 20, "trees"},
		{"autogroup", map[string]any{"trainRows": 100_000}, 1 << 20, "trainRows"},
	} {
		f, err := driver.Default.Lookup(c.name)
		if err != nil {
			t.Fatal(err)
		}
		cost, err := f.Cost(driver.Settings{Members: make([]driver.Member, 1)}, c.config)
		if err != nil || cost.Bytes < c.atLeast || cost.By != c.by {
			t.Errorf("%s %v costs %+v, error %v: want %d bytes or more for %s", c.name, c.config, cost, err, c.atLeast, c.by)
		}
	}
	f, err := driver.Default.Lookup("knn")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Cost(driver.Settings{}, map[string]any{"windows": "many"}); err == nil {
		t.Error("a wrong parameter has a cost")
	}
}
