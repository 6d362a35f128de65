// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry holds the parts of a program that are found by name: detector drivers, adapters, sinks, sources.
package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Registry maps names to values. The zero value is empty and ready for use; it is safe for concurrent use.
type Registry[T any] struct {
	// Packages are import paths by the names of items that a program may leave out: an error says what to import.
	Packages map[string]string

	mu    sync.RWMutex
	items map[string]T
	gone  map[string]string // names of items that there were, and what to use in their place
}

// Retire notes that there was an item of that name, and what to use in its place, so that the error for it says so.
func (r *Registry[T]) Retire(name, instead string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone == nil {
		r.gone = make(map[string]string)
	}
	r.gone[name] = instead
}

// Register adds an item. It panics if the name is empty or taken: both are mistakes of the program.
func (r *Registry[T]) Register(name string, item T) {
	if name == "" {
		panic(fmt.Sprintf("Register of a %T without a name", item))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.items[name]; taken {
		panic(fmt.Sprintf("Register called twice for %T %q", item, name))
	}
	if r.items == nil {
		r.items = make(map[string]T)
	}
	r.items[name] = item
}

// Lookup finds an item. The error for an unknown name calls it by its role ("detector"), suggests the nearest name and
// lists what is registered.
func (r *Registry[T]) Lookup(role, name string) (T, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if item, ok := r.items[name]; ok {
		return item, nil
	}
	var none T
	if path := r.Packages[name]; path != "" {
		return none, fmt.Errorf("%s %q is not linked into this program: import _ %q where its main is", role, name, path)
	}
	if instead := r.gone[name]; instead != "" {
		return none, fmt.Errorf("%s %q was removed: use %s", role, name, instead)
	}
	names := slices.Sorted(maps.Keys(r.items))
	if len(names) == 0 {
		return none, fmt.Errorf("unknown %s %q: none is linked (forgotten import?)", role, name)
	}
	hint := "forgotten import? "
	if near := params.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? ", near)
	}
	return none, fmt.Errorf("unknown %s %q: %sregistered: %s", role, name, hint, strings.Join(names, ", "))
}

// Names lists the registered names, sorted.
func (r *Registry[T]) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.items))
}

// Items lists the registered items, sorted by name.
func (r *Registry[T]) Items() []T {
	r.mu.RLock()
	defer r.mu.RUnlock()
	items := make([]T, 0, len(r.items))
	for _, name := range slices.Sorted(maps.Keys(r.items)) {
		items = append(items, r.items[name])
	}
	return items
}
