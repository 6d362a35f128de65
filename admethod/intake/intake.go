// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package intake takes what comes from outside, whoever brings it: clients of the endpoints of package detectserver, and
// sources. It has the one set of routes, series, limits and answers that all of them share.
//
// A series is what is scored as one: a property, or a group. It is opened when its first reading comes, with the settings
// that the routes of the operator give it, or with those that its client describes. It outlives the connections of its
// client; what its detector learned is kept in the state directory. The first one wins: while a session uses a series, no
// other client may use it and no other session may configure it otherwise; such readings are answered without a verdict.
//
// Who waits for answers opens a [Session]; a source is given a [Feed].
//
// Rows of a group that the client does not number are put together here, in the order in which readings come.
package intake

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess" // judges
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	coarseTick = 50 * time.Millisecond
	shutdown   = 10 * time.Second // for what is on its way
)

// Config of an [Intake].
type Config struct {
	Drivers  *driver.Registry // nil means driver.Default
	Language driver.Language  // of what sinks say in their own words; "" is English
	StateDir string           // keeps what detectors learned over a restart; "" keeps nothing
	ModelDir string           // where the models are that clients name
	Defaults map[string]any   // keys of anomalyDetection for what a client leaves open
	Routes   []Route          // more of them, for some properties; later ones win

	// Sinks get the verdicts, as those of a mapper do. None means none.
	Sinks        []string
	SinkRegistry *admethod.SinkRegistry    // nil means the linked ones
	SinkOptions  map[string]map[string]any // by name of the sink
	Hooks        admethod.Hooks

	MaxStreams int           // at one time; 0 means 1,024
	MaxSeries  int           // properties scored at one time; each takes up to 32 KiB. 0 means 10,000
	Idle       time.Duration // a series without readings is closed after it; 0 means an hour
	Handover   time.Duration // time without readings after which a series may pass to another client; 0 means a minute
	// Deadline is when a reading is answered without a verdict; a detector that takes half of it for one reading is cut
	// off, so that others of its client go on. 0 means 5 s, which is less than the patience of this project's clients.
	Deadline time.Duration
	Snapshot time.Duration // between two times that what was learned is written; 0 means 5 min

	// Driven is for who brings readings from a log, tells what time it is by [Intake.Advance], and goes on with the log
	// where another stopped: the intake looks at no clock, and judges each time as it did the first time. The log is
	// bounded where it is written, so memory is bounded by MaxSeries alone.
	Driven   bool
	Adapters *admethod.AdapterRegistry // with the adapter inprocess; nil means the linked ones
	Told     func(*driver.Result)      // hears what sinks are to hear, as [pipeline.Options] has it; nil is nobody

	_ struct{} // keyed literals only: fields may be added
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		of    *time.Duration
		value time.Duration
	}{
		{&c.Idle, time.Hour}, {&c.Handover, time.Minute}, {&c.Deadline, 5 * time.Second}, {&c.Snapshot, 5 * time.Minute},
	} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
	for _, d := range []struct {
		of    *int
		value int
	}{{&c.MaxStreams, 1024}, {&c.MaxSeries, 10_000}} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
}

// Intake is made by [New].
type Intake struct {
	Config Config // with its defaults; not to be changed

	handler *pipeline.Handler
	budget  map[string]int64 // of the handler; not changed any more while it runs
	clients []*Client        // likewise
	log     logs.Limiter     // of refusals, by cause
	clock   atomic.Int64     // coarse, Unix ns
	told    bool             // what time it is, where it is driven
	ended   chan struct{}    // closed when it drains
	working sync.WaitGroup   // open sessions

	mu       sync.Mutex
	draining bool
	sessions map[*Session]struct{}
	series   map[string]*series     // by ID
	groups   map[driver.Key]*series // of their members
	weight   int                    // members of all series
}

var errDrain = status.Error(codes.Unavailable, "the detector shuts down")

// New checks the configuration.
func New(c Config) (*Intake, error) {
	c.setDefaults()
	in := &Intake{
		Config: c, budget: make(map[string]int64), sessions: make(map[*Session]struct{}),
		series: make(map[string]*series), groups: make(map[driver.Key]*series), ended: make(chan struct{}),
	}
	in.clock.Store(time.Now().UnixNano())
	sinks := c.Sinks
	if sinks == nil {
		sinks = []string{}
	}
	var err error
	in.handler, err = pipeline.NewHandler(pipeline.Options{
		Drivers: c.Drivers, StateDir: c.StateDir, ModelDir: c.ModelDir, Language: c.Language,
		DefaultSinks: sinks, Sinks: c.SinkRegistry, SinkOptions: c.SinkOptions, Hooks: c.Hooks,
		Budget: pipeline.Budget{Of: in.budget}, Replay: c.Driven, Adapters: c.Adapters, Told: c.Told,
		AdapterOptions: map[string]map[string]any{"inprocess": {
			"queue": 1 << 16, "hang": max(c.Deadline/2, 100*time.Millisecond).String(), "snapshot": c.Snapshot.String(),
			"lanes": lanes(&c),
		}},
	})
	if err := errors.Join(c.checkSettings(), err); err != nil {
		return nil, err
	}
	return in, nil
}

// lanes is one where verdicts are to come in the same order each time.
func lanes(c *Config) int {
	if c.Driven {
		return 1
	}
	return 0
}

// Run starts the detectors, runs the parts, which are endpoints and sources, until ctx ends or one of them fails, and
// joins all. A part returns soon after its context has ended; by then all sessions are told to finish. What was read is
// answered, within ten seconds, and what was learned is kept.
func (in *Intake) Run(ctx context.Context, parts ...func(context.Context) error) error {
	detached := context.WithoutCancel(ctx)
	started := in.handler.Start(detached)
	if started != nil {
		var ended context.CancelFunc
		ctx, ended = context.WithCancel(ctx)
		ended() // the endpoints close what they listen on
	}
	var keeping sync.WaitGroup
	kept, stop := context.WithCancel(detached)
	if !in.Config.Driven {
		keeping.Go(func() { guard.Loop(kept, "the watch over sessions", in.keepHouse) })
		keeping.Go(func() { guard.Loop(kept, "the watch over idle series", in.closeIdle) })
	}
	serving, end := context.WithCancel(ctx)
	defer end()
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	wg.Go(func() {
		<-serving.Done()
		in.Drain()
	})
	for i, serve := range parts {
		wg.Go(func() {
			defer end()
			errs[i] = serve(serving)
		})
	}
	wg.Wait()
	in.working.Wait()
	stop()
	keeping.Wait()
	last, cancel := context.WithTimeout(detached, shutdown)
	defer cancel()
	return errors.Join(started, errors.Join(errs...), in.handler.Shutdown(last))
}

// Drain takes no more readings. What was read is answered.
func (in *Intake) Drain() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.draining {
		in.draining = true
		close(in.ended)
	}
	for session := range in.sessions {
		session.Finish(errDrain)
	}
}

// Report tells that something beside detection fails, as a source does, and by nil that it works again.
func (in *Intake) Report(part, risk string, err error) { in.handler.Report(part, risk, err) }

// Ended is closed when the intake drains.
func (in *Intake) Ended() <-chan struct{} { return in.ended }

// Wait waits until all sessions are closed.
func (in *Intake) Wait() { in.working.Wait() }

// Properties is how many are scored at present.
func (in *Intake) Properties() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.weight
}

// keepHouse keeps the coarse clock, and answers what waits for too long.
func (in *Intake) keepHouse(ctx context.Context) {
	looked := time.Now()
	wait.Tick(ctx, coarseTick, func(now time.Time) {
		in.clock.Store(now.UnixNano())
		if now.Sub(looked) < in.Config.Deadline/8 {
			return
		}
		looked = now
		in.mu.Lock()
		sessions := slices.Collect(maps.Keys(in.sessions))
		in.mu.Unlock()
		for _, session := range sessions {
			session.expire(now.Add(-in.Config.Deadline).UnixNano(), in.Config.Deadline)
		}
	})
}

// closeIdle closes series that nobody sends for. It has a goroutine of its own, as closing may wait for a detector.
func (in *Intake) closeIdle(ctx context.Context) {
	wait.Tick(ctx, in.Config.Idle/4, func(now time.Time) {
		in.expire(now.Add(-in.Config.Idle).UnixNano())
	})
}
