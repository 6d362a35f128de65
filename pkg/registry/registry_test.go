// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"slices"
	"testing"
)

func ExampleRegistry() {
	var drivers Registry[int]
	drivers.Register("pca", 1)
	drivers.Register("zscore", 2)
	fmt.Println(drivers.Names())
	_, err := drivers.Lookup("detector", "pac")
	fmt.Println(err)
	_, err = drivers.Lookup("detector", "forest")
	fmt.Println(err)
	// Output:
	// [pca zscore]
	// unknown detector "pac": did you mean "pca"? registered: pca, zscore
	// unknown detector "forest": forgotten import? registered: pca, zscore
}

// What a program has left out is told from what nobody knows.
func ExampleRegistry_packages() {
	sinks := Registry[int]{Packages: map[string]string{"mqtt": "example.org/sink/mqtt"}}
	_, err := sinks.Lookup("sink", "mqtt")
	fmt.Println(err)
	sinks.Register("mqtt", 1)
	fmt.Println(sinks.Lookup("sink", "mqtt"))
	// Output:
	// sink "mqtt" is not linked into this program: import _ "example.org/sink/mqtt" where its main is
	// 1 <nil>
}

func TestRegistry(t *testing.T) {
	var r Registry[string]
	if _, err := r.Lookup("sink", "log"); err == nil {
		t.Error("an empty registry finds something")
	}
	r.Register("b", "B")
	r.Register("a", "A")
	if got, err := r.Lookup("sink", "a"); got != "A" || err != nil {
		t.Errorf("Lookup = %q, %v", got, err)
	}
	if got := r.Items(); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("Items = %q, want them by name", got)
	}
	for name, item := range map[string]string{"a name that is taken": "a", "no name": ""} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			r.Register(item, "again")
		})
	}
}
