// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package recorder is the sink that mirrors every reading, with its verdict, to a directory of the mapper or of an external
// detector, for export and training (see package store). Import it for its side effect: it registers itself under the
// name "recorder". Once a property names it, it mirrors the readings of all properties of the handler.
//
// It sees readings and verdicts by hooks, beside detection and before verdicts are coalesced, and puts them in a bounded
// queue: neither the device nor detection ever waits for the disk. Readings that nobody judges, because they were held
// back, the detector is down or its queue full, are mirrored as well. A program without a handler, or a mapper that wants
// properties recorded which are not watched, gives readings by [Recorder.Record].
//
// While it runs, the sink "api", where that is in use, answers GET /v1/dataset with what was recorded and
// GET /v1/dataset/status with the state of recording, GET /v1/readings with those of a property for a chart,
// GET /v1/seen with when it was last as high or low as a reading, and
// GET /v1/try with what other settings would have told of them.
package recorder

import (
	"context"
	"errors"
	"math"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/devices"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
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
		Summary: "mirrors every reading, with its verdict, to a directory, for export and training",
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
			r := New(c)
			r.report, r.tell, r.about = s.Hooks, s.Report, s.About
			r.watched, r.stateDir = s.Watched, s.StateDir
			return r, nil
		},
		Params: func() []params.Param { return params.Describe(defaults()) },
	}
}

// Recorder is the sink. A program that has no handler gives it readings by [Recorder.Record].
type Recorder struct {
	config Config
	hooks  admethod.Hooks
	report *admethod.Hooks             // hear of trouble; may be nil
	store  atomic.Pointer[store.Store] // nil before Start and after Shutdown

	watched  func(driver.Key) (admethod.Watched, bool) // nil where there is no handler
	stateDir string                                    // where the API may keep what people say; may be ""
	drivers  *driver.Registry                          // to try; nil means driver.Default
	scans    chan struct{}                             // readings that are being looked for
	trying   chan struct{}                             // what is being tried

	tell    admethod.Report                 // of trouble; nil tells the log alone
	about   func(driver.Key) admethod.About // nil where there is no handler
	devices *devices.Book                   // of the goroutine that calls Start and Write
	limiter logs.Limiter
	failing bool // of the store's goroutine

	mu     sync.Mutex
	ended  store.Stats
	routes []func() // remove them
}

// New makes a recorder; it records from Start to Shutdown.
func New(c Config) *Recorder {
	r := &Recorder{config: c, scans: make(chan struct{}, scansAtOnce), trying: make(chan struct{}, 1)}
	r.hooks.Reading, r.hooks.Verdict = r.reading, r.verdict
	return r
}

// Hooks see every reading and every verdict.
func (r *Recorder) Hooks() *admethod.Hooks { return &r.hooks }

// Start opens the directory. A full disk is no error of Start: see [Recorder.Stats].
func (r *Recorder) Start(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := store.Open(r.config.Dir, store.Settings{
		MaxAge: r.config.MaxAge, MaxBytes: int64(r.config.MaxMiB) << 20, State: r.state,
	})
	if err != nil {
		return err
	}
	if err := r.mount(); err != nil {
		return errors.Join(err, s.Close())
	}
	if r.devices, err = devices.Open(r.config.Dir); err != nil {
		for _, remove := range r.routes {
			remove()
		}
		r.routes = nil
		return errors.Join(err, s.Close())
	}
	r.store.Store(s)
	return nil
}

// mount adds the routes. The server of the sink "api" has checked who asks before it passes a request on.
func (r *Recorder) mount() error {
	r.routes = append(r.routes, httpapi.Default.Recording(func(ctx context.Context, key driver.Key, from, to time.Time, each func(time.Time, float64, string) error) error {
		return r.scan(ctx, &asked{key, from, to}, func(e *store.Entry) error { return each(e.At, e.Value, e.Text) })
	}))
	for pattern, h := range map[string]http.HandlerFunc{"GET /v1/readings": r.readings, "GET /v1/seen": r.seen, "GET /v1/try": r.tryOut} {
		remove, err := httpapi.Default.HandleSeen(pattern, h)
		if err != nil {
			return err
		}
		r.routes = append(r.routes, remove)
	}
	for pattern, h := range map[string]http.Handler{
		"GET " + Path:             Handler(HandlerOptions{Dir: r.config.Dir, Authorize: func(*http.Request) bool { return true }}),
		"GET " + Path + "/status": http.HandlerFunc(r.status),
	} {
		remove, err := httpapi.Default.Handle(pattern, h)
		if err != nil {
			return err
		}
		r.routes = append(r.routes, remove)
	}
	return nil
}

// state hears whenever recording fails, and when it works again.
func (r *Recorder) state(err error) {
	if r.tell != nil {
		r.tell("recording", "readings are lost until this ends; is there room in "+r.config.Dir+", and may it be written to?", err)
	} else if err != nil {
		r.limiter.Warningf("recording", "recorder: readings are lost until this ends: %v", err)
	}
	if failing := err != nil; failing != r.failing {
		r.failing = failing
		if failing && r.report != nil && r.report.SinkFailed != nil {
			r.report.SinkFailed(Name, err, true)
		}
	}
}

// Write notes the labels of devices, as far as they are known, beside the readings, which may be chosen by them then. The hook
// saw the verdicts already.
func (r *Recorder) Write(_ context.Context, batch []driver.Result) error {
	if r.about == nil {
		return nil
	}
	for i := range batch {
		k := batch[i].Key
		if labels := r.about(k).Labels; labels != nil && k.Device != "" {
			r.devices.Note(devices.Device{Namespace: k.Namespace, Name: k.Device, Labels: labels})
		}
	}
	return r.devices.Save()
}

// Shutdown writes what waits in the queue.
func (r *Recorder) Shutdown(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, remove := range r.routes {
		remove()
	}
	r.routes = nil
	s := r.store.Swap(nil)
	if s == nil {
		return nil
	}
	err := s.Close()
	r.ended = s.Stats()
	return err
}

// Stats are the counts since Start.
func (r *Recorder) Stats() store.Stats {
	if s := r.store.Load(); s != nil {
		return s.Stats()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// Measure implements [admethod.Measurer].
func (r *Recorder) Measure() map[string]float64 {
	st := r.Stats()
	failing := 0.0
	if st.Err != nil {
		failing = 1
	}
	return map[string]float64{
		"written_readings": float64(st.Written), "lost_readings": float64(st.Lost), "stored_bytes": float64(st.Bytes), "failing": failing,
		"damaged_bytes": float64(st.Damaged),
	}
}

// Record takes a reading that no handler sees. It does not block, and reports whether there was room for it.
func (r *Recorder) Record(e store.Entry) bool {
	s := r.store.Load()
	return s != nil && s.Add(e)
}

func (r *Recorder) reading(sample *driver.Sample, judged bool) {
	if s := r.store.Load(); s != nil {
		s.Mirror(store.Entry{
			Namespace: sample.Key.Namespace, Device: sample.Key.Device, Property: sample.Key.Property,
			At: sample.At, Value: sample.Value, Text: sample.Text, Score: math.NaN(),
		}, judged)
	}
}

func (r *Recorder) verdict(v *driver.Result) {
	s := r.store.Load()
	if s == nil || v.Key.Property == "" {
		return // of a device or a group as a whole: not of a reading
	}
	e := store.Entry{
		Namespace: v.Key.Namespace, Device: v.Key.Device, Property: v.Key.Property, At: v.At, Value: v.Value,
		Severity: v.Severity.String(), Score: v.Score, Kind: string(v.Kind), Band: store.Band{Expected: v.Expected, Lower: v.Lower, Upper: v.Upper},
	}
	switch {
	case v.Detector != driver.QualityStage:
		s.Judge(e)
	case v.Severity.Anomalous():
		s.Remark(e)
	}
}
