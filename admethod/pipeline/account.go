// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// accountAfter is how long after its start a handler says what it watches: by then the devices are known.
const accountAfter = time.Minute

// account is what a handler says in the log of what it watches, so that a property that is healthy and one that nobody
// watches differ.
type account struct {
	mu      sync.Mutex
	refused map[driver.Key]struct{}
	since   time.Time
	told    bool
}

func (a *account) begin(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since = now
}

// watches notes a property that begins to be watched.
func (a *account) watches(b *Binding) {
	a.forget(b.Key())
	c := b.config
	logs.InfoS("Property is watched", "property", b.Key().String(), "detector", c.Detector, "adapter", c.ADMethodName,
		"group", c.Group, "sinks", len(b.setup.queues))
}

func (a *account) refuses(key driver.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == nil {
		a.refused = make(map[driver.Key]struct{})
	}
	a.refused[key] = struct{}{}
}

func (a *account) forget(key driver.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.refused, key)
}

// tell says once what is watched.
func (a *account) tell(now time.Time, bound []*Binding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told || now.Sub(a.since) < accountAfter {
		return
	}
	a.told = true
	devices := make(map[driver.Key]struct{})
	for _, b := range bound {
		key := b.Key()
		key.Property = ""
		devices[key] = struct{}{}
	}
	logs.Infof("Anomaly detection: watching %d properties of %d devices; %d refused", len(bound), len(devices), len(a.refused))
}
