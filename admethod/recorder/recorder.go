// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package recorder is the sink that keeps every reading that is judged, with its verdict, in a directory of the mapper
// or of an external detector, for export and training (see package store). Import it for its side effect: it registers
// itself under the name "recorder".
//
// It sees each verdict by a hook, before verdicts are coalesced, and puts it in a bounded queue: detection never waits
// for the disk. [Handler] serves what was recorded over HTTP.
package recorder

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "recorder"

func init() { admethod.RegisterSink(Factory()) }

// Config is what the mapper sets for the sink.
type Config struct {
	Dir    string        `param:"dir" doc:"directory of the readings; empty is readings below the directory for learned state"`
	MaxAge time.Duration `param:"maxAge" doc:"how long readings are kept" min:"1m"`
	MaxMiB int           `param:"maxMiB" doc:"how much the readings may take on the disk; the oldest are removed beyond that" min:"1"`
}

func defaults() Config { return Config{MaxAge: 7 * 24 * time.Hour, MaxMiB: 1024} }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "keeps every judged reading with its verdict in a directory, for export and training",
		New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			c := defaults()
			if err := params.Decode(&c, s.Options); err != nil {
				return nil, err
			}
			if c.Dir == "" {
				if s.StateDir == "" {
					return nil, errors.New("dir: want a directory, as there is none for learned state either")
				}
				c.Dir = filepath.Join(s.StateDir, "readings")
			}
			return New(c), nil
		},
		Params: func() []params.Param { return params.Describe(defaults()) },
	}
}

// Recorder is the sink. A program that has no handler gives it readings by [Recorder.Record].
type Recorder struct {
	config Config
	hooks  admethod.Hooks

	mu    sync.RWMutex
	store *store.Store // nil before Start and after Shutdown
	ended store.Stats
}

// New makes a recorder; it records from Start to Shutdown.
func New(c Config) *Recorder {
	r := &Recorder{config: c}
	r.hooks.Verdict = r.verdict
	return r
}

// Hooks see every verdict.
func (r *Recorder) Hooks() *admethod.Hooks { return &r.hooks }

// Start opens the directory.
func (r *Recorder) Start(context.Context) error {
	s, err := store.Open(r.config.Dir, store.Settings{
		MaxAge: r.config.MaxAge, MaxBytes: int64(r.config.MaxMiB) << 20, State: r.state,
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store = s
	return nil
}

func (r *Recorder) state(err error) {
	if err != nil {
		klog.Errorf("recorder: readings are lost until this ends: %v", err)
		return
	}
	klog.Infof("recorder: recording to %s works again", r.config.Dir)
}

// Write has nothing to do: the hook saw the verdicts already.
func (r *Recorder) Write(context.Context, []driver.Result) error { return nil }

// Shutdown writes what waits in the queue.
func (r *Recorder) Shutdown(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		return nil
	}
	err := r.store.Close()
	r.ended, r.store = r.store.Stats(), nil
	return err
}

// Stats are the counts since Start.
func (r *Recorder) Stats() store.Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.store == nil {
		return r.ended
	}
	return r.store.Stats()
}

// Record takes a reading that no handler sees. It does not block, and reports whether there was room for it.
func (r *Recorder) Record(e store.Entry) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.store != nil && r.store.Add(e)
}

func (r *Recorder) verdict(v *driver.Result) {
	if math.IsNaN(v.Value) && v.Key.Property == "" {
		return // of a device or a group as a whole: not a reading
	}
	r.Record(store.Entry{
		Namespace: v.Key.Namespace, Device: v.Key.Device, Property: v.Key.Property, At: v.At, Value: v.Value,
		Severity: v.Severity.String(), Score: v.Score, Kind: string(v.Kind),
	})
}
