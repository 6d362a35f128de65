// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package activity is the sink that runs a script when an incident begins. Import it for its side effect: it registers
// itself under the name "activity".
//
// An activity runs once, and a lock keeps it from running again for the same property until the incident is over (the
// property is back to normal, or what it does is the new normal), its model was retrained or reloaded, or time has passed.
// Of an incident that becomes bad enough, or of the right kind, only while it lasts, it runs then. The lock is on disk before the script starts, so an
// activity runs at most once for a lock: if the process is killed in between, not at all. Locks of properties that are no
// longer watched are kept for a day, in case that they come back.
//
// Scripts come from one folder. Verdicts reach them as environment variables (ANOMALY_DEVICE, ANOMALY_VALUE …) and as
// JSON on standard input, never as text of a command. A script has a process group of its own, which ends with it, at its
// timeout at the latest; a child that leaves the group on purpose, as setsid does, is not followed.
package activity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "activity"

// Config of the sink.
type Config struct {
	File        string   `param:"file" doc:"YAML file of activities"`
	Folder      string   `param:"folder" doc:"folder that holds the scripts"`
	Run         []string `param:"run" doc:"activities without match that run on every anomaly"`
	Allow       []string `param:"allow" doc:"programs that may run a script, for exec"`
	Concurrency int      `param:"concurrency" min:"1" max:"256" doc:"scripts that run at one time; as many again may run of namespaces of which none does"`
	Queue       int      `param:"queue" min:"1" max:"10000" doc:"runs of a namespace that wait; what finds no room is not started, and tried again with the next verdict"`
	Output      int      `param:"output" min:"0" max:"1048576" doc:"bytes kept of what a script prints"`
}

// DefaultConfig has limits that suit a small gateway.
func DefaultConfig() Config {
	return Config{Allow: []string{"python3", "sh"}, Concurrency: 4, Queue: 64, Output: 16 << 10}
}

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "runs a script when an incident begins, once until it is unlocked",
		Alerts:  true,
		New: func(settings admethod.SinkSettings) (admethod.Sink, error) {
			config := DefaultConfig()
			if err := params.Decode(&config, settings.Options); err != nil {
				return nil, err
			}
			s, err := newSink(config, settings.StateDir, httpapi.Default)
			if err != nil {
				return nil, err
			}
			if settings.About != nil {
				s.about = settings.About
			}
			return s, nil
		},
		Params: func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

type sink struct {
	config     Config
	folder     string // absolute, without links
	activities []Activity
	routes     *httpapi.Routes
	about      func(driver.Key) admethod.About
	now        func() time.Time

	mu       sync.Mutex // locks, status, closed
	locks    locks
	loaded   bool // the locks of the process before are known
	status   map[string]*status
	closed   bool
	reloaded struct { // by the handler's hook, which must not wait for the disk
		sync.Mutex
		keys map[driver.Key]struct{}
	}

	// Guarded by mu.
	lined   map[string][]job // that wait, by namespace
	turns   []string         // namespaces of those, the next first
	waiting map[string]int   // runs that wait or are to, by namespace
	queued  int              // all of these
	running map[string]int   // runs, by namespace
	busy    int              // all of these
	changed sync.Cond        // a run may begin, or none will any more

	workers sync.WaitGroup
	cancel  context.CancelFunc
	remove  []func()
}

type job struct {
	activity *Activity
	lock     lockID
	result   driver.Result
}

// status is what an activity did.
type status struct {
	Running int        `json:"running"`
	Runs    int        `json:"runs"`
	Failed  int        `json:"failed"`
	Skipped int        `json:"skipped"` // no room for its namespace in the queue, or among the locks
	Last    *time.Time `json:"last,omitempty"`
	For     string     `json:"for,omitempty"` // the property of the last run
	Code    int        `json:"code"`          // exit code of the last run; -1 where it did not start or was killed
	Error   string     `json:"error,omitempty"`
	Output  string     `json:"output,omitempty"`
	Seconds float64    `json:"seconds"`
}

func newSink(config Config, stateDir string, routes *httpapi.Routes) (*sink, error) {
	if config.File == "" || config.Folder == "" {
		return nil, errors.New("activity: want file and folder")
	}
	folder, err := filepath.Abs(config.Folder)
	if err == nil {
		folder, err = filepath.EvalSymlinks(folder)
	}
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return nil, admethod.Unavailable(fmt.Errorf("folder: %w", err))
	} else if !info.IsDir() || info.Mode().Perm()&0o002 != 0 {
		return nil, admethod.Unavailable(fmt.Errorf("folder: %s: want a directory that not everybody may write", folder))
	}
	s := &sink{
		config: config, folder: folder, routes: routes, now: time.Now,
		about:  func(driver.Key) admethod.About { return admethod.About{} },
		status: make(map[string]*status),
		lined:  make(map[string][]job), waiting: make(map[string]int), running: make(map[string]int),
	}
	s.changed.L = &s.mu
	info, err = os.Stat(config.File)
	if err == nil && info.Mode().Perm()&0o002 != 0 {
		err = fmt.Errorf("%s: everybody may write it; want a file that others cannot change", config.File)
	}
	if err == nil {
		s.activities, err = readFile(config.File, config.Run, config.Allow)
	}
	if err != nil {
		return nil, admethod.Unavailable(fmt.Errorf("file: %w", err))
	}
	for i := range s.activities {
		s.status[s.activities[i].Name] = new(status)
	}
	s.reloaded.keys = make(map[driver.Key]struct{})
	if stateDir != "" {
		s.locks.file = filepath.Join(stateDir, "activity-locks.json")
	}
	return s, nil
}

// Start reads the locks and begins to take runs. If they cannot be read yet, verdicts wait for them.
func (s *sink) Start(ctx context.Context) error {
	if s.locks.file == "" {
		logs.Warningf("activity: no state directory is set, so activities run again after a restart")
	}
	s.mu.Lock()
	err := s.load()
	s.mu.Unlock()
	if err != nil {
		logs.Errorf("activity: nothing runs until the locks can be read: %v", err)
	}
	if err := s.register(); err != nil {
		return err
	}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range 2 * s.config.Concurrency {
		s.workers.Go(func() {
			for {
				j, ok := s.next()
				if !ok {
					return
				}
				_ = guard.Do("an activity", func() { s.work(ctx, &j) }) // is logged
				s.ended(&j)
			}
		})
	}
	return nil
}

// load reads the locks, once. The caller holds mu.
func (s *sink) load() error {
	if s.loaded {
		return nil
	}
	if s.locks.file != "" {
		if err := os.MkdirAll(filepath.Dir(s.locks.file), 0o700); err != nil {
			return err
		}
	}
	if err := s.locks.load(s.now()); err != nil {
		return err
	}
	s.loaded = true
	return nil
}

// Hooks tell which models were taken into use anew.
func (s *sink) Hooks() *admethod.Hooks {
	return &admethod.Hooks{ModelLoaded: func(key driver.Key, _ string) {
		s.reloaded.Lock()
		defer s.reloaded.Unlock()
		if len(s.reloaded.keys) < maxLocks {
			s.reloaded.keys[key] = struct{}{}
		}
	}}
}

// Write releases locks and starts what the verdicts ask for. It fails when locks cannot be written; nothing runs then.
func (s *sink) Write(_ context.Context, batch []driver.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return admethod.Permanent(admethod.ErrClosed)
	}
	if err := s.load(); err != nil {
		return fmt.Errorf("activity: locks: %w", err)
	}
	s.release()
	var jobs []job
	for i := range batch {
		r := &batch[i]
		metric := s.about(r.Key).Predicted
		for j := range s.activities {
			a := &s.activities[j]
			id := a.lockOf(r.Key, metric)
			s.locks.seen(id)
			s.unlock(a, id, r)
			_, locked := s.locks.held[id]
			if !a.matches(r, metric) {
				continue
			} else if locked {
				s.locks.hold(id, r)
				continue
			}
			if !s.room(r.Key.Namespace) || s.locks.full(r.Key.Namespace) {
				s.status[a.Name].Skipped++
				continue
			}
			s.waiting[r.Key.Namespace]++
			s.queued++
			l := Lock{
				Activity: a.Name, Namespace: id.key.Namespace, Device: id.key.Device, Property: id.key.Property,
				Since: s.now().UTC(), began: s.now(), Model: r.Model, Incident: name(r.Incident.ID),
			}
			if id.key != r.Key {
				l.Ran, l.Holds = r.Key.String(), map[string]string{r.Key.String(): l.Incident}
			}
			s.locks.add(id, l)
			jobs = append(jobs, job{a, id, r.Clone()})
		}
	}
	if err := s.locks.save(s.now()); err != nil {
		for _, j := range jobs {
			s.taken(&j)
			s.locks.drop(j.lock)
		}
		return fmt.Errorf("activity: %d runs wait for their locks to be written: %w", len(jobs), err)
	}
	for _, j := range jobs {
		s.enqueue(j)
	}
	return nil
}

// Forget marks the locks of a property that is no longer watched.
func (s *sink) Forget(key driver.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.activities {
		a := &s.activities[i]
		if a.Lock == LockProperty || a.Lock == LockMetric {
			s.locks.gone(lockID{a.Name, key}, s.now())
		}
	}
	for id, l := range s.sharedLocks() {
		if l.Ran == key.String() {
			s.locks.gone(id, s.now())
		}
	}
	if err := s.locks.save(s.now()); err != nil {
		logs.Warningf("activity: locks: %v", err) // the next change tries again
	}
}

// name is that of an incident; "" where there is none.
func name(id uint64) string {
	if id == 0 {
		return ""
	}
	return shared.ID(id)
}

// begin notes that a run begins; the status is nil where it is too late to.
func (s *sink) begin(ctx context.Context, j *job) (*status, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken(j)
	st := s.status[j.activity.Name]
	if ctx.Err() != nil { // the next process may
		s.locks.drop(j.lock)
		return nil, time.Time{}
	}
	st.Running++
	return st, s.now()
}

func (s *sink) work(ctx context.Context, j *job) {
	st, began := s.begin(ctx, j)
	if st == nil {
		return
	}
	o := outcome{code: -1}
	if err := guard.Do("a run of an activity", func() { o = s.run(ctx, j.activity, &j.result) }); err != nil {
		o.err = err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Running--
	st.Runs++
	st.Last, st.For, st.Code, st.Error, st.Output, st.Seconds = &began, j.result.Key.String(), o.code, "", o.output, s.now().Sub(began).Seconds()
	if o.err != nil {
		st.Failed++
		st.Error = o.err.Error()
		logs.ErrorS(o.err, "Activity failed", "activity", j.activity.Name, "property", j.result.Key.String())
		return
	}
	logs.InfoS("Activity ran", "activity", j.activity.Name, "property", j.result.Key.String(), "seconds", st.Seconds)
}

// Shutdown lets what is queued run within ctx, and kills the rest.
func (s *sink) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	if was || s.cancel == nil {
		return nil
	}
	for _, remove := range s.remove {
		remove()
	}
	stop := context.AfterFunc(ctx, s.cancel)
	s.workers.Wait()
	stop()
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locks.dirty = s.locks.dirty || len(s.locks.held) > 0 // for how long
	return errors.Join(ctx.Err(), s.locks.save(s.now()))
}
