// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// A property at which the watch over readings panics keeps it from none of the others, and the goroutines of the handler
// go on.
func TestPanicOfAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := NewHandler(Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, device := range []string{"a", "b", "c"} { // without anything that a property needs
			b := &Binding{handler: h, refs: 1}
			b.row[0].Key = driver.Key{Device: device}
			h.bindings[b.Key()] = b
		}
		config, err := admethod.ParseSettings(map[string]any{"detector": "x", "quality.cycle": "1s"})
		if err != nil {
			t.Fatal(err)
		}
		good := &Binding{handler: h, setup: &setup{config: config}, config: &config, refs: 1, stream: new(countedStream)}
		good.row[0].Key = driver.Key{Device: "good"}
		h.bindings[good.Key()] = good
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		good.Observe(time.Now(), 1)
		<-time.After(time.Minute)
		good.mu.Lock()
		if !good.silent {
			t.Error("no silence of the property beside those")
		}
		good.mu.Unlock()
		if now := time.Now(); now.Sub(h.clock.wall()) > time.Second {
			t.Errorf("the clock stands at %v, %v behind", h.clock.wall(), now.Sub(h.clock.wall()))
		}
		h.mu.Lock()
		clear(h.bindings)
		h.mu.Unlock()
		if err := h.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}
