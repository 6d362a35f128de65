// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// lateSink starts once it is told that it may.
type lateSink struct {
	memory
	fails func() error
}

func (s *lateSink) Start(context.Context) error { return s.fails() }

// withSinks is a handler of detector "over" and of some sinks, all of which every property has.
func withSinks(t *testing.T, sinks map[string]func() (admethod.Sink, error)) *pipeline.Handler {
	t.Helper()
	registry := new(admethod.SinkRegistry)
	var names []string
	for name, makeSink := range sinks {
		registry.Register(name, admethod.SinkFactory{
			Name: name, New: func(admethod.SinkSettings) (admethod.Sink, error) { return makeSink() },
		})
		names = append(names, name)
	}
	h, err := pipeline.NewHandler(pipeline.Options{
		Drivers: driver.NewRegistry(over), Adapters: inprocessOnly(), Sinks: registry, DefaultSinks: names,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func overConfig(t *testing.T) admethod.ADMethodConfig {
	t.Helper()
	config, err := admethod.ParseSettings(map[string]any{"detector": "over", "heartbeat": "0s"})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// A sink that cannot start ends nobody's detection: the others hear verdicts, and it hears what waited once it starts.
func TestSinkThatCannotStart(t *testing.T) {
	tests := []struct {
		name       string
		make, work error // of New and of Start, while it lasts
	}{
		{"a port is taken", nil, errors.New("address in use")},
		{"a file is not there yet", fmt.Errorf("passwordFile: %w", &fs.PathError{Op: "open", Path: "p", Err: fs.ErrNotExist}), nil},
		{"there is no cluster", admethod.Unavailable(errors.New("not in a pod")), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var passed atomic.Bool
				unless := func(err error) error {
					if passed.Load() {
						return nil
					}
					return err
				}
				healthy, late := new(memory), new(lateSink)
				late.fails = func() error { return unless(tt.work) }
				h := withSinks(t, map[string]func() (admethod.Sink, error){
					"healthy": func() (admethod.Sink, error) { return healthy, nil },
					"late":    func() (admethod.Sink, error) { return late, unless(tt.make) },
				})
				b, err := h.Bind(keyOf("t"), overConfig(t), admethod.Meta{})
				if err != nil {
					t.Fatalf("the property is not watched: %v", err)
				}
				b.Observe(time.Now(), 500)
				<-time.After(10 * time.Second)
				if got, want := healthy.story(keyOf("t")), "warning:spike"; got != want {
					t.Errorf("the other sink heard %q, want %q", got, want)
				}
				stats := h.Stats()
				if len(stats.Troubles) != 1 || stats.Troubles[0].Part != "sink late" || stats.Troubles[0].Times < 3 || stats.Sinks["late"].Started {
					t.Errorf("what fails is not told: %+v", stats)
				}
				passed.Store(true)
				<-time.After(time.Minute)
				if got, want := late.story(keyOf("t")), "warning:spike"; got != want {
					t.Errorf("the sink heard %q after it started, want %q", got, want)
				}
				if stats := h.Stats(); len(stats.Troubles) != 0 || !stats.Sinks["late"].Started {
					t.Errorf("it is told to fail although it works: %+v", stats)
				}
				if err := h.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What is wrong with the configuration of a sink is still an error of whoever binds, and is tried anew by the next.
func TestSinkThatIsMisconfigured(t *testing.T) {
	for _, wrong := range []error{
		&params.Error{Key: "port", Want: "unknown key"}, errors.New("file and folder: want both"), admethod.Permanent(fs.ErrInvalid),
	} {
		right := false
		h := withSinks(t, map[string]func() (admethod.Sink, error){"odd": func() (admethod.Sink, error) {
			if !right {
				return nil, wrong
			}
			return new(memory), nil
		}})
		if _, err := h.Bind(keyOf("t"), overConfig(t), admethod.Meta{}); !errors.Is(err, wrong) || !strings.Contains(err.Error(), `sink "odd"`) {
			t.Errorf("got %v, want %v of sink odd", err, wrong)
		}
		right = true
		if _, err := h.Bind(keyOf("t"), overConfig(t), admethod.Meta{}); err != nil {
			t.Errorf("after it was mended: %v", err)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A sink that never starts ends with the handler, which says what is lost with it.
func TestShutdownOfASinkThatNeverStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &lateSink{fails: func() error { return errors.New("address in use") }}
		h := withSinks(t, map[string]func() (admethod.Sink, error){"late": func() (admethod.Sink, error) { return late, nil }})
		b, err := h.Bind(keyOf("t"), overConfig(t), admethod.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		b.Observe(time.Now(), 500)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "2 verdicts are lost") { // that an incident began, and that nobody will know how it goes on
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("shutting down took %v", took)
		}
	})
}

// A sink that does not return from its start delays who binds for a moment, and nothing else at all.
func TestSinkThatHangsInStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		healthy, hangs := new(memory), &lateSink{fails: func() error { <-release; return nil }}
		h := withSinks(t, map[string]func() (admethod.Sink, error){
			"healthy": func() (admethod.Sink, error) { return healthy, nil },
			"hangs":   func() (admethod.Sink, error) { return hangs, nil },
		})
		var binding sync.WaitGroup
		binding.Go(func() {
			b, err := h.Bind(keyOf("t"), overConfig(t), admethod.Meta{})
			if err != nil {
				t.Error(err)
				return
			}
			b.Observe(time.Now(), 500)
		})
		<-time.After(time.Second)
		begin := time.Now()
		h.Stats()
		if took := time.Since(begin); took != 0 {
			t.Errorf("the counts came after %v", took)
		}
		binding.Wait()
		<-time.After(time.Second)
		if got, want := healthy.story(keyOf("t")), "warning:spike"; got != want {
			t.Errorf("the other sink heard %q, want %q", got, want)
		}
		if got := h.Stats().Troubles; len(got) != 1 {
			t.Errorf("troubles %+v, want that of the sink", got)
		}
		close(release)
		synctest.Wait()
		if got := h.Stats().Troubles; len(got) != 0 {
			t.Errorf("troubles %+v after the sink started", got)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
