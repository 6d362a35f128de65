// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package devicestatus is the sink that writes verdicts where cluster users look: into .status.extensions of the
// DeviceStatus that is named like the device. Import it for its side effect: it registers itself under the name
// "devicestatus".
//
// Only the sink's own extension is written, by an explicit JSON merge patch of the object (DeviceStatus has no status
// subresource): it needs no permission but patch, never creates an object by accident as server-side apply does, and
// says by its answer what else the extension holds, so that what a former process left is removed without a read.
//
// Write returns at once. The sink keeps the latest verdict of each property and a few writers; a device is written at
// once when its verdicts change, else now and then, never more often than once an interval, and what got worse goes
// first. Failures are waited out for each device apart, with the latest verdicts, whatever their number: the final
// state is not lost while the mapper runs.
//
// Verdicts on the members of a group are written to the devices of the members. A verdict on what cannot be the name of
// a Device is refused, and said so.
//
// It reaches the API server from within a pod, by a kubeconfig, or through EdgeCore's MetaServer (server:
// http://127.0.0.1:10550). The MetaServer takes the same requests on the same paths. It passes a patch on to CloudCore,
// which makes it, and answers with what the API server said; while there is no connection to the cloud, with an error
// 500, which is waited out as any other. It must be enabled in edgecore.yaml (modules.metaManager.metaServer.enable), and
// CloudCore's dynamic controller with it (modules.dynamicController.enable). With EdgeCore's feature gate
// requireAuthorization it speaks https and wants a service account's token: see tokenFile and caFile. This way is tested
// against a stand-in that was written from EdgeCore's sources, not against an EdgeCore; that CloudCore's own permissions
// allow the patch was not tried.
package devicestatus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/api/validation/path"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Sink writes DeviceStatus extensions. It is safe for concurrent use.
type Sink struct {
	config   Config
	client   *client
	hooks    *admethod.Hooks
	language driver.Language
	limiter  *rate.Limiter
	wake     chan struct{} // something may be due, or be done

	mu      sync.Mutex
	started bool
	closing bool // what fails is given up
	lost    int  // devices given up
	devices map[deviceID]*record
	left    map[deviceID]time.Time // when devices that are remembered no more were written last
	stats   Stats
	said    logs.Limiter // of the same trouble

	cancel context.CancelFunc
	done   chan struct{} // closed when all that the sink started has ended
}

// Stats counts what the sink did.
type Stats struct {
	Written   uint64 // patches that the server took
	Created   uint64 // DeviceStatuses that were created
	Missing   uint64 // answers that there is no such DeviceStatus
	Forbidden uint64 // answers that the sink may not
	Conflicts uint64 // answers that another was faster
	Throttled uint64 // answers to come later
	Failed    uint64 // all other failures: no answer, or a server in trouble
	Refused   uint64 // verdicts on more devices or properties than are remembered, or on what is no Device
	Devices   int    // devices remembered
	Waiting   int    // of those, devices with changes that are not written yet
}

var (
	_ admethod.Sink      = (*Sink)(nil)
	_ admethod.Forgetter = (*Sink)(nil)
	_ admethod.Measurer  = (*Sink)(nil)
)

// New makes a sink. It connects to nothing before Start.
func New(s admethod.SinkSettings) (*Sink, error) {
	config := DefaultConfig()
	if err := params.Decode(&config, s.Options); err != nil {
		return nil, err
	}
	connection, err := config.connection()
	if err != nil {
		return nil, err
	}
	c, err := newClient(connection, config.Timeout)
	if err != nil {
		return nil, err
	}
	hooks := s.Hooks
	if hooks == nil {
		hooks = new(admethod.Hooks)
	}
	return &Sink{
		config: config, client: c, hooks: hooks, language: s.Language, limiter: rate.NewLimiter(rate.Limit(config.Rate), 1),
		wake: make(chan struct{}, 1), devices: make(map[deviceID]*record), left: make(map[deviceID]time.Time), said: logs.Limiter{Every: time.Hour},
		done: make(chan struct{}),
	}, nil
}

// Start starts to write.
func (s *Sink) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return admethod.ErrClosed
	case s.started:
		return nil
	}
	s.started = true
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(s.done)
		guard.Loop(ctx, "the writer of device statuses", s.run)
	}()
	return nil
}

// Write takes the verdicts over and returns.
func (s *Sink) Write(_ context.Context, batch []driver.Result) error {
	now := time.Now()
	s.mu.Lock()
	for i := range batch {
		r := &batch[i]
		id := deviceID{r.Key.Namespace, r.Key.Device}
		if !id.valid() {
			s.stats.Refused++
			s.said.Warningf("no device", "devicestatus: verdicts on %q are not written: it cannot be the name of a Device", r.Key)
			continue
		}
		d := s.devices[id]
		if d == nil && len(s.devices) < s.config.Devices {
			d = s.remember(id)
		}
		if d == nil || !d.add(r, now, s.language) {
			s.stats.Refused++
			s.said.Warningf("refused", "devicestatus: no room for verdicts on %s: %d devices and %d properties of each are told at most",
				r.Key, s.config.Devices, mostProperties)
		}
	}
	s.mu.Unlock()
	s.poke()
	return nil
}

// valid says whether there can be a Device of this name. All others are no more than requests that fail.
func (id deviceID) valid() bool {
	for _, name := range []string{id.namespace, id.name} {
		if name == "" || len(name) > 253 || len(path.IsValidPathSegmentName(name)) > 0 {
			return false
		}
	}
	return true
}

// remember begins the record of a device. One that was written a moment ago has to wait as if it had never been
// forgotten.
func (s *Sink) remember(id deviceID) *record {
	d := &record{id: id, entries: make(map[string]entry), tried: s.left[id]}
	delete(s.left, id)
	s.devices[id] = d
	return d
}

// drop ends the record of a device.
func (s *Sink) drop(d *record, now time.Time) {
	delete(s.devices, d.id)
	for id, tried := range s.left {
		if now.Sub(tried) >= s.config.Interval {
			delete(s.left, id)
		}
	}
	s.left[d.id] = d.tried
}

// Forget drops a property, or for Property "" the verdict on the device as a whole, out of the extension. The extension
// goes with the last.
func (s *Sink) Forget(key driver.Key) {
	s.mu.Lock()
	if d := s.devices[deviceID{key.Namespace, key.Device}]; d != nil {
		d.remove(key.Property, time.Now())
	}
	s.mu.Unlock()
	s.poke()
}

// Stats returns the counts so far.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Devices, stats.Waiting = len(s.devices), s.waiting()
	return stats
}

// Measure implements [admethod.Measurer]. What waits are devices: a patch tells all of a device.
func (s *Sink) Measure() map[string]float64 {
	n := s.Stats()
	return map[string]float64{
		admethod.WaitingVerdicts: float64(n.Waiting), "devices": float64(n.Devices),
		"written_patches": float64(n.Written), "created_statuses": float64(n.Created), "missing_answers": float64(n.Missing),
		"forbidden_answers": float64(n.Forbidden), "conflict_answers": float64(n.Conflicts), "throttled_answers": float64(n.Throttled),
		"failed_requests": float64(n.Failed), "refused_verdicts": float64(n.Refused),
	}
}

func (s *Sink) waiting() (n int) {
	for _, d := range s.devices {
		if d.writing || d.changes != d.told {
			n++
		}
	}
	return n
}

// Shutdown writes what changed, once more where it failed before, and ends the sink.
func (s *Sink) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	started := s.started
	if first {
		for _, d := range s.devices {
			d.after = time.Time{}
		}
	}
	s.mu.Unlock()
	if !started {
		return nil
	}
	s.poke()
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cancel()
		<-s.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.lost + s.waiting(); n > 0 {
		return errors.Join(fmt.Errorf("devicestatus: the last verdicts of %d devices are not written", n), context.Cause(ctx))
	}
	return nil
}

func (s *Sink) poke() {
	wait.Wake(s.wake)
}

// run hands what is due to writers until ctx ends, or everything is told after Shutdown.
func (s *Sink) run(ctx context.Context) {
	defer s.cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, s.config.Writers)
	for {
		wait, finished := s.next()
		switch {
		case finished:
			return
		case wait > 0:
			timer := time.NewTimer(wait)
			select {
			case <-s.wake:
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			timer.Stop()
			continue
		}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if s.limiter.Wait(ctx) != nil {
			return
		}
		d, w := s.take() // only now: what matters most may be another by now
		if d == nil {
			<-free
			continue
		}
		wg.Go(func() {
			defer func() { <-free }()
			_ = guard.Do("a write of a device status", func() { s.write(ctx, d, w) }) // is logged
		})
	}
}

// idle is how long the sink sleeps where nothing is due.
const idle = time.Hour

// next says how long nothing will be due; finished, that nothing will be any more.
func (s *Sink) next() (wait time.Duration, finished bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = idle
	for _, d := range s.devices {
		if at, ok := d.due(&s.config); ok {
			wait = min(wait, max(0, at.Sub(now)))
		}
	}
	return wait, s.closing && s.waiting() == 0
}

// job is one write: the patch, and what it tells.
type job struct {
	body              []byte
	changes, verdicts uint64
	worst             driver.Severity
	gone              bool // the extension is to go
}

// take picks the device that matters most of those that are due, and renders what to write for it.
func (s *Sink) take() (*record, job) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *record
	for _, d := range s.devices {
		at, ok := d.due(&s.config)
		if !ok || at.After(now) {
			continue
		}
		if best == nil {
			best = d
			continue
		}
		a, b := d.rank(now), best.rank(now)
		if a > b || a == b && d.tried.Before(best.tried) {
			best = d
		}
	}
	if best == nil {
		return nil, job{}
	}
	body, err := best.render(s.config.Extension, now)
	if err != nil { // cannot be: all that is rendered is plain
		logs.Errorf("devicestatus: %s/%s: %v", best.id.namespace, best.id.name, err)
		delete(s.devices, best.id)
		return nil, job{}
	}
	best.writing, best.tried = true, now
	return best, job{body, best.changes, best.verdicts, best.worst, len(best.entries) == 0}
}
