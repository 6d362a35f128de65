// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// groupDrivers are those for several members: they can be trained.
var groupDrivers = sync.OnceValue(func() (names []string) {
	for _, f := range driver.Default.Factories() {
		d, err := f.Open(driver.Settings{Members: make([]driver.Member, min(f.Info().Members, 2))}, nil)
		if _, trained := d.(driver.Trainer); err == nil && trained {
			names = append(names, f.Info().Name)
		}
	}
	return names
})

// univariate lists the other drivers.
func univariate() []driver.Factory {
	return slices.DeleteFunc(driver.Default.Factories(), func(f driver.Factory) bool {
		return slices.Contains(groupDrivers(), f.Info().Name)
	})
}

func factory(tb testing.TB, name string) driver.Factory {
	tb.Helper()
	for _, f := range driver.Default.Factories() {
		if f.Info().Name == name {
			return f
		}
	}
	tb.Fatalf("no driver %q", name)
	return driver.Factory{}
}

func TestGroupContract(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for _, name := range groupDrivers() {
		for _, members := range []int{1, 5} {
			if members == 1 && !heavy() {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", name, members), func(t *testing.T) {
				drivertest.Check(t, factory(t, name), drivertest.Members(members))
			})
		}
	}
}

// The rows of the check hold numbers, so a categorical member is one whose numbers are indices.
func TestBayesnetContract(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	categories := drivertest.Settings(func(s *driver.Settings) {
		for i := range 25 {
			s.Members[0].Categories = append(s.Members[0].Categories, fmt.Sprintf("level-%d", i))
		}
	})
	for name, options := range map[string][]drivertest.Option{
		"a categorical member": {categories},
		"each row alone":       {drivertest.Config(map[string]any{"persist": false})},
		"a tree":               {drivertest.Config(map[string]any{"structure": "chowliu", "trainRows": 100})},
		"adapting":             {drivertest.Config(map[string]any{"adapt": true})},
		"adapting, alone":      {drivertest.Config(map[string]any{"adapt": true, "persist": false, "bins": 4})},
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.Check(t, factory(t, bayesnetName), append(options, drivertest.Members(3))...)
		})
	}
}
