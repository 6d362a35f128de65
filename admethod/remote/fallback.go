// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const judgeEvery = 5 * time.Millisecond

// local judges rows of a stream in the mapper while the detector is away. It also sees those that the detector judges,
// so that it knows what is normal when it is needed. It is guarded by link.delivering.
type local struct {
	name     string
	key      driver.Key
	group    bool
	detector driver.Detector
	broken   error
	unused   driver.Result
}

// openLocal opens the detector of the given driver for a stream. Errors are about the key "fallback" and those below it.
func openLocal(drivers *driver.Registry, name string, settings map[string]any, s *admethod.StreamSettings) (*local, error) {
	h := fnv.New64a()
	h.Write([]byte(s.ID()))
	opened := s.Config.DriverSettings(s.Members)
	opened.Seed = h.Sum64()
	d, err := drivers.Open(name, opened, settings)
	if err != nil {
		return nil, fallbackError(err)
	}
	return &local{name: name, key: s.Members[0].Key, group: s.Group != "", detector: d}, nil
}

// fallbackError says what is wrong with a fallback in terms of the keys that it was configured by.
func fallbackError(err error) error {
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		errs := slices.Clone(several.Unwrap())
		for i := range errs {
			errs[i] = fallbackError(errs[i])
		}
		return errors.Join(errs...)
	}
	var wrong *params.Error
	if errors.As(err, &wrong) {
		if key, ok := strings.CutPrefix(wrong.Key, "detector."); ok {
			return &params.Error{Key: "fallback." + key, Value: wrong.Value, Want: wrong.Want}
		}
	}
	return &params.Error{Key: "fallback", Want: err.Error()}
}

// checkFallback finds what is wrong with the fallback that a stream asks for by its own settings.
func checkFallback(drivers *driver.Registry, s *admethod.StreamSettings, name string, parameters map[string]any) error {
	if name == "" { // its parameters are for the one that the mapper may set
		return nil
	}
	_, err := openLocal(drivers, name, parameters, s)
	return err
}

// judge writes the verdict on a row to r, which was reset for it.
func (d *local) judge(row driver.Row, r *driver.Result) {
	d.detect(row, r)
	r.Detector = d.name
	if !d.group {
		r.Key = d.key
	}
	switch {
	case d.broken != nil:
		r.Severity, r.Score, r.Kind, r.Message = driver.Unknown, math.NaN(), driver.KindFailed, d.broken.Error()
	case r.Severity == driver.Unknown:
	case !(r.Score >= 0 && r.Score <= 1):
		r.Severity, r.Score, r.Kind = driver.Unknown, math.NaN(), driver.KindNone
	case r.Severity > driver.Critical:
		r.Severity = driver.Critical
	}
}

func (d *local) detect(row driver.Row, r *driver.Result) {
	if d.broken != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			d.broken = guard.Caught(fmt.Sprintf("fallback %q", d.name), p)
			logs.ErrorS(d.broken, "The fallback is off for this property", "property", d.key.String())
		}
	}()
	d.detector.Detect(row, r)
}

// learn shows the detector a row that another judged.
func (d *local) learn(row driver.Row) {
	d.unused.Reset(row)
	d.unused.Threshold = driver.DefaultThreshold
	d.detect(row, &d.unused)
}

// takeOver has rows judged in the mapper from now on.
func (l *link) takeOver(why error) {
	if l.local.Swap(true) {
		return
	}
	logs.Warningf("%s: detector at %s is away: the fallback judges in its place: %v", l.kind, l.config.Address, why)
	wait.Wake(l.judge)
}

// handBack ends that, when all that the detector has missed was sent. The caller holds l.mu.
func (l *link) handBack() {
	if l.retry.n > 0 || l.queue.n > batchSize || l.keeper != nil && l.keeper.behind() {
		return
	}
	l.local.Store(false)
	l.signal()
	logs.Infof("%s: detector at %s is back", l.kind, l.config.Address)
}

// judgeLocally judges rows while the detector is away, until ctx ends.
func (l *link) judgeLocally(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.judge:
		}
		l.judgeUntilBack(ctx)
	}
}

func (l *link) judgeUntilBack(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for l.local.Load() {
		for more := true; more && ctx.Err() == nil && l.local.Load(); {
			more = l.judgeNext()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C: // who observes does not pay for waking others
		}
	}
}

// judgeNext judges one row. It returns false where there is none.
func (l *link) judgeNext() bool {
	l.delivering.Lock()
	defer l.delivering.Unlock()
	l.mu.Lock()
	it := l.nextToJudge()
	if it == nil {
		l.mu.Unlock()
		return false
	}
	s, onDisk := it.s, it.onDisk
	l.row = append(l.row[:0], it.row...)
	it.judged = true
	noted := change{it.place, it.state()}
	l.judging = 1
	if l.keeper == nil {
		l.probe(it)
		l.queue.pop()
	}
	l.mu.Unlock()
	l.deliverLocally(s)
	if onDisk {
		l.keeper.set(noted.place, noted.to)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.judging = 0
	l.settle()
	return true
}

// nextToJudge is the oldest row in memory that nobody has judged and that is not on its way. The caller holds l.mu.
func (l *link) nextToJudge() *item {
	if l.keeper == nil {
		if l.queue.n == 0 && !l.fetch() {
			return nil
		}
		return l.queue.at(0)
	}
	for i := range l.retry.n {
		if it := l.retry.at(i); !it.judged {
			return it
		}
	}
	for l.fetch() {
		l.signal() // the sender looks for them in the inbox
	}
	for i := l.queue.after(l.keeper.judged); i < l.queue.n; i++ {
		it := l.queue.at(i)
		if l.keeper.judged = it.sequence; !it.judged {
			return it
		}
	}
	return nil
}

// probe has a row that was judged sent all the same, one at a time: its answer tells that the detector is back. With a
// spool all of them are sent. The caller holds l.mu.
func (l *link) probe(it *item) {
	if l.up && l.retry.n+l.pending.n == 0 {
		l.retry.move(it)
		l.probes = 1
		l.signal()
	}
}

// deliverLocally delivers the verdict on l.row. The caller holds l.delivering.
func (l *link) deliverLocally(s *Stream) {
	if s.closed.Load() {
		return
	}
	l.result.Reset(l.row)
	l.result.Threshold = s.Settings.Config.Threshold
	s.local.judge(l.row, &l.result)
	s.stale = ""
	s.Settings.Deliver(&l.result, l.row)
}

// judgePending judges what was sent and not answered, when its session has ended.
func (l *link) judgePending() {
	l.delivering.Lock()
	defer l.delivering.Unlock()
	for i := 0; ; i++ {
		l.mu.Lock()
		if i >= l.pending.n {
			l.mu.Unlock()
			return
		}
		it := l.pending.at(i)
		s, judged := it.s, it.judged
		l.row = append(l.row[:0], it.row...)
		it.judged = true
		l.mu.Unlock()
		if s != nil && !judged {
			l.deliverLocally(s)
		}
	}
}
