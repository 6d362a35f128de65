// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	carriersFile = "verdict-twins.json" // in the state directory
	// mostCarriers bounds what is remembered of Devices that were deleted while no mapper ran.
	mostCarriers = 100_000
)

// carriers remembers which twins carry verdicts, by the resource ID of their Device: the cloud keeps the last value of a
// twin whatever becomes of the property that it tells of, so it must be cleared then. With a file this is known to the
// next process too.
type carriers struct {
	wake chan struct{} // one token: something has changed

	mu    sync.Mutex
	names map[string]map[string]bool
	count int
	file  string // "": nothing outlives the process
	dirty bool   // the file does not have it all
}

func newCarriers() *carriers {
	return &carriers{wake: make(chan struct{}, 1), names: make(map[string]map[string]bool)}
}

// open takes over what the file in a state directory tells, and keeps it from now on; "" keeps none. A file that cannot
// be used costs what it told.
func (c *carriers) open(dir string) error {
	if dir == "" {
		c.mu.Lock()
		c.file = ""
		c.mu.Unlock()
		return nil
	}
	file := filepath.Join(dir, carriersFile)
	var stored map[string][]string
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil:
		err = fmt.Errorf("twins that carry verdicts: %w", err)
	default:
		if err = json.Unmarshal(data, &stored); err != nil {
			err = fmt.Errorf("twins that carry verdicts: %s is damaged and set aside, those of properties that are gone are not cleared: %w",
				file, errors.Join(err, os.Rename(file, file+".damaged")))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file = file
	if c.count > 0 { // of another directory
		c.changed()
	}
	for device, names := range stored {
		for _, name := range names {
			if strings.HasSuffix(name, verdictSuffix) {
				c.put(device, name)
			}
		}
	}
	return err
}

// put needs mu.
func (c *carriers) put(device, name string) {
	if c.names[device][name] || c.count >= mostCarriers {
		return
	}
	if c.names[device] == nil {
		c.names[device] = make(map[string]bool)
	}
	c.names[device][name] = true
	c.count++
}

// set says which twins of a device carry verdicts.
func (c *carriers) set(device string, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.names[device]
	if len(names) == len(before) && !slices.ContainsFunc(names, func(name string) bool { return !before[name] }) {
		return
	}
	c.count -= len(before)
	delete(c.names, device)
	for _, name := range names {
		c.put(device, name)
	}
	c.changed()
}

func (c *carriers) has(device, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[device][name]
}

// changed needs mu.
func (c *carriers) changed() {
	c.dirty = true
	wait.Wake(c.wake)
}

// run saves what changes until ctx ends, and what changed last: off the devices' goroutines, as a disk may hang.
func (c *carriers) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
		case <-c.wake:
		}
		if err := c.save(); err != nil {
			logs.ErrorS(err, "Which twins carry verdicts is not saved: the verdict on a property that goes while the mapper is down stays on show")
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// save writes the file, so that it is whole whenever the process stops.
func (c *carriers) save() error {
	c.mu.Lock()
	if !c.dirty || c.file == "" {
		c.mu.Unlock()
		return nil
	}
	stored := make(map[string][]string, len(c.names))
	for device, names := range c.names {
		stored[device] = slices.Sorted(maps.Keys(names))
	}
	file := c.file
	c.dirty = false
	c.mu.Unlock()
	data, err := json.Marshal(stored)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = atomicfile.WriteBytes(file, 0o600, data)
	}
	if err != nil {
		c.mu.Lock()
		c.dirty = true // goes with the next change
		c.mu.Unlock()
	}
	return err
}
