// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// endingSink hangs in Write, or tells whether it had time to shut down.
type endingSink struct {
	hangs bool
	ended error
}

func (s *endingSink) Start(context.Context) error { return nil }

func (s *endingSink) Write(ctx context.Context, _ []driver.Result) error {
	if s.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *endingSink) Shutdown(ctx context.Context) error {
	s.ended = ctx.Err()
	return nil
}

// A sink that hangs takes the time of its own end, and not of the others'.
func TestShutdownOfSinksTogether(t *testing.T) {
	for range 10 { // they are in no order
		synctest.Test(t, func(t *testing.T) {
			calm := &endingSink{ended: errors.New("not shut down")}
			sinks := new(admethod.SinkRegistry)
			for name, s := range map[string]admethod.Sink{"hangs": &endingSink{hangs: true}, "calm": calm} {
				sinks.Register(name, admethod.SinkFactory{Name: name, New: func(admethod.SinkSettings) (admethod.Sink, error) { return s, nil }})
			}
			h, err := NewHandler(Options{Sinks: sinks, DefaultSinks: []string{"hangs", "calm"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.Reject(driver.Key{Device: "d"}, errors.New("to have something to write"))
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := h.Shutdown(ctx); err == nil {
				t.Error("the verdict that could not be written is no error")
			}
			if calm.ended != nil {
				t.Errorf("the other sink had no time to end: %v", calm.ended)
			}
		})
	}
}
