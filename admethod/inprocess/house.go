// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// watchLanes looks for detectors that hang. It waits for nothing.
func (a *Adapter) watchLanes(ctx context.Context) {
	interval := a.config.Hang / looks
	looked := time.Now()
	wait.Tick(ctx, interval, func(time.Time) {
		// Where the process gets no time to look, its detectors get none to return.
		late := time.Since(looked) > interval*3/2
		looked = time.Now()
		if late {
			return
		}
		for _, l := range a.lanes() {
			l.watch(a.config.Hang)
		}
	})
}

// keepHouse takes snapshots and looks for changed models. Both may have to wait for a lane.
func (a *Adapter) keepHouse(ctx context.Context) {
	snapshot := time.NewTicker(a.config.Snapshot)
	defer snapshot.Stop()
	models := time.NewTicker(a.config.Reload)
	defer models.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-models.C:
			limited, cancel := context.WithTimeout(ctx, a.config.Hang)
			a.reloadModels(limited)
			cancel()
		case <-snapshot.C:
			if a.store == nil {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, a.config.Snapshot)
			if err := a.Save(limited); ctx.Err() == nil {
				a.saved(err)
			}
			cancel()
		}
	}
}

// saved tells what came of a snapshot.
func (a *Adapter) saved(err error) {
	switch {
	case err != nil && a.report == nil:
		a.trouble("", err)
	case err != nil:
		a.count("", err)
	}
	if a.report != nil {
		a.report("learned state", fmt.Sprintf("what detectors learned since the last snapshot is lost with the process; it is tried again every %v; is there room in %s, and may it be written to?",
			a.config.Snapshot, a.store), err)
	}
}

// save writes the state of every stream, open or parked. A lane that is busy for too long delays that of its own streams
// alone: of those that it did not come to, what was saved last is kept.
func (a *Adapter) save(ctx context.Context) error {
	a.round++
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		all  = collection{round: a.round}
	)
	for _, l := range a.lanes() {
		wg.Go(func() {
			if err := l.snapshot(ctx, &all); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	records, missing := all.close()
	now := time.Now()
	a.mu.Lock()
	for _, rec := range a.parked {
		records = append(records, rec)
	}
	a.mu.Unlock()
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%d streams keep their last snapshot, of %d", len(missing), len(missing)+len(records)))
	}
	return errors.Join(append(errs, a.store.Save(records, missing, now, a.config.Retain))...)
}

// collection collects records from the goroutines of lanes, which may come late.
type collection struct {
	round uint64

	mu      sync.Mutex
	closed  bool
	records []Record
	missing map[string]struct{} // streams that were not come to
}

// take makes the record of a stream. It is called on the goroutine of its lane.
func (c *collection) take(s *stream) {
	rec, ok, err := s.record(time.Now())
	if err != nil {
		s.adapter.trouble(s.id(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok && !c.closed {
		c.records = append(c.records, rec)
	}
}

func (c *collection) miss(streams []*stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range streams {
		if c.missing == nil {
			c.missing = make(map[string]struct{})
		}
		c.missing[s.id()] = struct{}{}
	}
}

func (c *collection) close() (records []Record, missing map[string]struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for i := range c.records { // one may have come after its lane was given up
		delete(c.missing, c.records[i].ID)
	}
	return c.records, c.missing
}

// snapshotTurn is how long the lane makes records before a reading has its turn.
const snapshotTurn = 20 * time.Millisecond

// snapshot collects the records of the open streams on the lane's goroutine, those first that wait for it longest, a few
// at a turn so that readings go on. It ends with ctx, and notes whom it did not come to.
func (l *lane) snapshot(ctx context.Context, c *collection) error {
	l.mu.Lock()
	streams := slices.Collect(maps.Keys(l.streams))
	l.mu.Unlock()
	slices.SortFunc(streams, func(x, y *stream) int { return cmp.Compare(x.round, y.round) })
	for rest := streams; len(rest) > 0; {
		var done atomic.Int64 // the job may run on when do has given it up
		err := l.do(ctx, func() {
			for began := time.Now(); done.Load() < int64(len(rest)) && time.Since(began) < snapshotTurn; {
				if s := rest[done.Load()]; !s.cut.Load() {
					c.take(s)
				}
				done.Add(1)
			}
		})
		n := done.Load()
		for _, s := range rest[:n] {
			s.round = c.round
		}
		if err != nil {
			c.miss(rest[n:])
			return err
		}
		rest = rest[n:]
	}
	return nil
}
