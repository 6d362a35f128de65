// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package inprocess is the adapter that scores readings inside the mapper. Import it for its side effect: it registers
// itself under the name "inprocess".
//
// Streams are spread over lanes, each a queue with one goroutine, so that the readings of a stream are judged in order
// and a stream costs no goroutine. A detector that panics is cut off; one that hangs is cut off as well, and its lane
// goes on with a new goroutine. What detectors have learned is kept in one file in the state directory, written
// periodically and at shutdown.
package inprocess

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

// Name is the adMethodName of this adapter.
const Name = "inprocess"

func init() {
	admethod.RegisterAdapter(Factory())
}

// Factory describes the adapter.
func Factory() admethod.AdapterFactory {
	return admethod.AdapterFactory{
		Name:    Name,
		Summary: "scores readings inside the mapper",
		New:     func(s admethod.AdapterSettings) (admethod.Adapter, error) { return New(s) },
		Params:  func() []params.Param { return nil },
		Cost:    cost,
		Check:   func(settings map[string]any) error { return params.Decode(&struct{}{}, settings) },
	}
}

// FactoryWith describes an adapter whose store is given; made, which may be nil, hears of it.
func FactoryWith(store Store, made func(*Adapter)) admethod.AdapterFactory {
	f := Factory()
	f.New = func(s admethod.AdapterSettings) (admethod.Adapter, error) {
		a, err := NewWith(s, store)
		if err != nil {
			return nil, err
		}
		if made != nil {
			made(a)
		}
		return a, nil
	}
	return f
}

// cost is that of the detector. A model takes some four times the size of its file.
func cost(drivers *driver.Registry, s *admethod.StreamSettings) (driver.Cost, error) {
	c, err := admethod.DetectorCost(drivers, s.Config.Detector, "detector.", s, s.Config.Options["detector"])
	if s.ModelFile == "" || err != nil {
		return c, err
	}
	name, err := filepath.Rel(s.ModelDir, s.ModelFile)
	if err != nil {
		return c, fmt.Errorf("model: %w", err)
	}
	if info, err := regular.Stat(s.ModelDir, name); err == nil && info.Mode().IsRegular() { // one that is not there yet costs nothing yet
		if model := 4 * min(info.Size(), largestModel); model > c.Bytes {
			c.Bytes, c.By = c.Bytes+model, "model"
		} else {
			c.Bytes += model
		}
	}
	return c, nil
}

// Config is the mapper's configuration of the adapter.
type Config struct {
	Lanes    int           `param:"lanes" min:"0" max:"256" doc:"goroutines that judge; 0 means one a processor, at most 4"`
	Queue    int           `param:"queue" min:"16" max:"1048576" doc:"readings that may wait in each lane; the oldest is dropped when full"`
	Snapshot time.Duration `param:"snapshot" min:"1s" doc:"time between two snapshots of what was learned; at most this much is lost when the mapper is killed"`
	Hang     time.Duration `param:"hang" min:"100ms" doc:"time after which a detector that does not return is cut off"`
	Reload   time.Duration `param:"reload" min:"10ms" doc:"time between two looks at the files of trained models"`
	Parked   int           `param:"parked" min:"1" doc:"streams that are gone whose state is kept at most; the oldest is forgotten first"`
	Retain   time.Duration `param:"retain" min:"1m" doc:"how long the state of a stream that is gone is kept"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Queue: 16384, Snapshot: 5 * time.Minute, Hang: 5 * time.Second, Reload: 2 * time.Second, Parked: 100_000, Retain: 7 * 24 * time.Hour}
}

// Adapter scores in process.
type Adapter struct {
	drivers *driver.Registry
	hooks   *admethod.Hooks
	report  admethod.Report
	said    logs.Limiter
	config  Config
	store   Store // nil where no state is kept
	models  modelWatch

	saving sync.Mutex // around save; taken before mu

	mu     sync.Mutex
	phase  phase
	pools  []*pool           // the first one is for streams without a tenant
	run    int64             // number of this one, in the store
	parked map[string]Record // state of streams that are closed or not yet open, by stream ID
	round  uint64            // of snapshots; guarded by saving
	cancel context.CancelFunc
	wg     sync.WaitGroup // housekeeping; the lanes have their own
}

type phase uint8

const (
	created phase = iota
	running
	stopped
)

// New makes an adapter. It does nothing before Start.
func New(s admethod.AdapterSettings) (*Adapter, error) { return NewWith(s, nil) }

// NewWith is New with a store in place of the state directory; nil is none.
func NewWith(s admethod.AdapterSettings, store Store) (*Adapter, error) {
	config := DefaultConfig()
	if err := params.Decode(&config, s.Options); err != nil {
		return nil, err
	}
	if config.Lanes == 0 {
		config.Lanes = min(runtime.GOMAXPROCS(0), 4)
	}
	a := &Adapter{drivers: s.Drivers, hooks: s.Hooks, report: s.Report, config: config, parked: make(map[string]Record), models: modelWatch{fetch: fetchModel}}
	if a.store = store; store == nil && s.StateDir != "" {
		a.store = newStore(s.StateDir, func(err error) { a.trouble("", err) })
	}
	return a, nil
}

// Start reads the snapshots and begins to judge.
func (a *Adapter) Start(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.phase {
	case running:
		return nil
	case stopped:
		return admethod.ErrClosed
	}
	if a.store != nil {
		a.store.Open()
		records, run, err := a.store.Load(a.config.Retain)
		if err != nil {
			a.trouble("", err) // what could be read is used; a mapper that forgets beats one that does not start
		}
		a.parked, a.run = records, run
	}
	a.pools = []*pool{a.newPool()}
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.wg.Go(func() { guard.Loop(ctx, "the watch over detectors", a.watchLanes) })
	a.wg.Go(func() { guard.Loop(ctx, "the keeper of snapshots and models", a.keepHouse) })
	a.phase = running
	return nil
}

// Open opens a detector of the configured driver for the stream, with what it learned before if that is known. A stream
// whose model file is missing, damaged or on a file system that hangs gets verdicts of kind failed until a usable file is there.
func (a *Adapter) Open(s admethod.StreamSettings) (admethod.Stream, error) {
	c, id := &s.Config, s.ID()
	if err := params.Decode(&struct{}{}, c.Options[Name]); err != nil {
		return nil, err
	}
	if len(s.Members) == 0 {
		return nil, errors.New("a stream has at least one member")
	}
	open := func(data []byte, version string) (d driver.Detector, err error) {
		settings := c.DriverSettings(s.Members)
		settings.Seed, settings.Model, settings.ModelName = seed(id), data, version
		err = guard.Call(fmt.Sprintf("detector %q", c.Detector), func() (err error) {
			d, err = a.drivers.Open(c.Detector, settings, c.Options["detector"])
			return err
		})
		return d, err
	}
	var data []byte
	var version string
	var seen stamp
	var err error
	var missing error // a model that cannot be used yet
	if s.ModelFile != "" {
		f := a.models.read(s.ModelDir, s.ModelFile, stamp{})
		data, version, seen, missing = f.data, f.version, f.at, f.err
	}
	d, err := open(data, version)
	var wrong *params.Error
	if err != nil && s.ModelFile != "" && !errors.As(err, &wrong) {
		missing, err = cmp.Or(missing, err), nil
	}
	if err != nil {
		return nil, err
	}
	if missing != nil {
		d, data, version = waiting{"waits for the model: " + missing.Error()}, nil, ""
		a.trouble(id, missing)
	}
	st := &stream{
		name: c.Detector, threshold: c.Threshold, language: c.Language,
		detector: d, deliver: s.Deliver, dropped: s.Dropped, answer: s.Answer, aux: s.Aux, adapter: a,
	}
	st.model.Store(&noModel)
	if s.ModelFile != "" {
		st.model.Store(&version)
	}
	st.key = s.Members[0].Key
	if s.Group != "" {
		st.group = &group{id: s.Group}
		for _, m := range s.Members[1:] {
			st.group.others = append(st.group.others, m.Key)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase != running {
		return nil, admethod.ErrClosed
	}
	if rec, ok := a.parked[id]; ok {
		delete(a.parked, id)
		if err := st.restore(rec); err != nil {
			a.trouble(id, fmt.Errorf("starts anew: %w", err))
			// A detector that refused its state is as it was by contract; a fresh one does not depend on it.
			if st.detector, err = open(data, version); err != nil {
				return nil, err
			}
		}
	}
	st.pool = a.poolOf(s.Tenant)
	st.pool.streams++
	st.lane = st.pool.lanes[seed(id)%uint64(len(st.pool.lanes))]
	st.lane.add(st)
	if s.ModelFile != "" {
		st.open = open
		a.models.add(s.ModelDir, s.ModelFile, seen, st)
	}
	return st, nil
}

// noModel is shared by all streams that have none.
var noModel = ""

// seed gives each stream random numbers of its own, the same ones in each run.
func seed(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// Flush waits until every row submitted before is judged or dropped.
func (a *Adapter) Flush(ctx context.Context) error {
	var errs []error
	for _, l := range a.lanes() {
		errs = append(errs, l.flush(ctx))
	}
	return errors.Join(errs...)
}

// Shutdown judges what is queued, saves what was learned and joins every goroutine. A detector that hangs cannot be
// joined; the error names its stream.
func (a *Adapter) Shutdown(ctx context.Context) error {
	a.mu.Lock()
	if a.phase != running {
		a.phase = stopped
		a.mu.Unlock()
		return nil
	}
	a.phase = stopped
	a.mu.Unlock()
	var errs []error
	patience, cancel := halfOf(ctx) // a detector that hangs must not take the time that saving the others needs
	defer cancel()
	for _, l := range a.lanes() {
		errs = append(errs, l.flush(patience))
	}
	saving, cancel := mostOf(ctx) // likewise
	defer cancel()
	a.cancel()
	a.wg.Wait()
	if a.store != nil {
		errs = append(errs, a.Save(saving))
	}
	for _, l := range a.lanes() {
		errs = append(errs, l.stop(ctx))
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	errs = append(errs, a.models.join(ctx))
	return errors.Join(errs...)
}

// Save keeps the state of every stream, as it is done from time to time. Where it must be that after a certain reading,
// [Adapter.Flush] goes before it, and nothing is submitted meanwhile.
func (a *Adapter) Save(ctx context.Context) error {
	if a.store == nil {
		return nil
	}
	a.saving.Lock()
	defer a.saving.Unlock()
	return a.save(ctx)
}

// halfOf is a context with half of the time that ctx has left, mostOf one with most of it.
func halfOf(ctx context.Context) (context.Context, context.CancelFunc) { return partOf(ctx, 0.5) }
func mostOf(ctx context.Context) (context.Context, context.CancelFunc) { return partOf(ctx, 0.75) }

func partOf(ctx context.Context, share float64) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, time.Duration(share*float64(time.Until(deadline))))
	}
	return context.WithCancel(ctx)
}

// park keeps the state of a stream that was closed.
func (a *Adapter) park(rec Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parked[rec.ID] = rec
	if len(a.parked) <= a.config.Parked {
		return
	}
	// A few at a time, as it takes a look at all.
	all := slices.SortedFunc(maps.Values(a.parked), func(x, y Record) int { return x.Gone.Compare(y.Gone) })
	for _, old := range all[:1+a.config.Parked/64] {
		delete(a.parked, old.ID)
	}
}

// trouble tells what is wrong with learned state or a model.
func (a *Adapter) trouble(id string, err error) {
	a.said.ErrorS("state of "+id, err, "Trouble with what detectors have learned", "stream", id)
	a.count(id, err)
}

// count lets observers count it.
func (a *Adapter) count(id string, err error) {
	if hook := a.hooks.State; hook != nil {
		hook(id, err)
	}
}

func (a *Adapter) failed(s *stream, err error) {
	if hook := a.hooks.Failed; hook != nil {
		hook(s.key, err)
		if s.group == nil {
			return
		}
		for _, key := range s.group.others {
			hook(key, err)
		}
	}
}
