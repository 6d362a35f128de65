// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/spool"
)

const (
	keepEvery = 50 * time.Millisecond
	// Rows that are answered sooner never reach the disk.
	keepAfter = 100 * time.Millisecond
	syncEvery = time.Second
	retryOpen = time.Second
	loadBytes = 64 << 10
	// Sequences are reserved on disk in blocks, so that those of the next process are higher.
	reserve = 1 << 32
)

// keeper is what a link with a spool has beside: the rows on disk. What is on disk is also in memory while there is
// room, or is read back when its turn comes.
type keeper struct {
	kind string
	dir  string
	opts spool.Options
	log  atomic.Pointer[spool.Log] // nil while it cannot be opened

	streamID string // changed by the link's run goroutine only

	// Guarded by link.mu.
	byID      map[string]*Stream
	late      *opened              // after the start: to be adopted between two sessions
	orphans   map[string]spool.Pos // the first row of each stream that an earlier process left and that is not open
	recovered spool.Pos            // where the rows of earlier processes end
	returned  map[string]struct{}  // of orphans: opened since
	scanning  map[string]struct{}  // of orphans: being read from scan on
	scan      spool.Pos
	away      bool      // rows between cursor and the head of the queue are on disk alone
	cursor    spool.Pos // of the next one
	kept      uint64    // sequence of the last row that was looked at for keeping
	judged    uint64    // sequence of the last row of the queue that the fallback judged

	// Guarded by link.delivering.
	buf     []byte
	found   []found
	spare   item
	data    []byte
	records []spool.Record
	places  []spool.Pos
	lost    []lostRow

	// Of the goroutine that keeps.
	tried, synced, trimmed, swept time.Time
	unused                        map[string]unused // spools, by directory

	told logs.Limiter
}

type found struct {
	place  spool.Pos
	record spool.Record
}

type lostRow struct {
	sequence uint64
	id       string
	judged   bool
}

// newKeeper opens the spool in the directory. Where that fails it is tried again later, and rows are kept in memory
// until then.
func newKeeper(kind, dir string, c SpoolConfig) *keeper {
	k := &keeper{
		kind: kind, dir: dir, streamID: rand.Text(), byID: make(map[string]*Stream),
		returned: make(map[string]struct{}), buf: make([]byte, loadBytes),
	}
	k.opts = spool.Options{
		MaxBytes: int64(c.Size) << 20, MaxAge: c.Age, Label: k.streamID,
		Lost: func(r spool.Record) {
			if id, _, err := cutRow(r.Data); err == nil {
				k.lost = append(k.lost, lostRow{r.ID, string(id), r.State&stateJudged != 0})
			}
		},
		Damaged: func(err error) { logs.Warningf("%s: %v", kind, err) },
	}
	return k
}

// opened is a log that is not in use yet, with the first row of each stream in it.
type opened struct {
	log     *spool.Log
	orphans map[string]spool.Pos
}

func (k *keeper) open() (o opened, err error) {
	o.orphans = make(map[string]spool.Pos)
	opts := k.opts
	opts.Found = func(p spool.Pos, r spool.Record) {
		id, _, err := cutRow(r.Data)
		if err != nil {
			return
		}
		if _, ok := o.orphans[string(id)]; !ok {
			o.orphans[string(id)] = p
		}
	}
	o.log, err = spool.Open(k.dir, opts)
	return o, err
}

// openSpool opens the spool for the first time. The link is not in use yet.
func (l *link) openSpool() {
	k := l.keeper
	o, err := k.open()
	if err != nil {
		l.trouble(err)
		return
	}
	l.sequence = o.log.Mark()
	if err := l.install(o); err != nil {
		l.trouble(err)
		return
	}
	k.streamID = o.log.Label()
}

// install takes the log into use. The caller holds l.mu, or the link is not in use yet.
func (l *link) install(o opened) error {
	k, log := l.keeper, o.log
	if err := log.SetMark(l.sequence + reserve); err != nil {
		return errors.Join(err, log.Close())
	}
	k.orphans = o.orphans
	k.recovered = log.End()
	k.kept, k.judged = l.sequence, l.sequence
	for s := range l.streams {
		k.add(s)
	}
	k.log.Store(log)
	return nil
}

// openLate tries again to open the spool.
func (l *link) openLate(now time.Time) {
	k := l.keeper
	if k.log.Load() != nil || now.Sub(k.tried) < retryOpen {
		return
	}
	k.tried = now
	l.mu.Lock()
	found := k.late != nil
	l.mu.Unlock()
	if found {
		return
	}
	o, err := k.open()
	if err != nil {
		l.trouble(err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k.late = &o
	if l.interrupt != nil {
		l.interrupt(errors.New("the spool on disk has become available"))
	}
}

// adoptLate takes a spool into use that was opened after the start, between two sessions. The rows in memory get
// numbers behind those that the spool has used. It reports whether there was one.
func (l *link) adoptLate() bool {
	l.delivering.Lock()
	defer l.delivering.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keeper
	o := k.late
	if o == nil {
		return false
	}
	k.late = nil
	before := l.sequence
	l.sequence = max(l.sequence, o.log.Mark())
	if err := l.install(*o); err != nil {
		l.sequence = before
		l.trouble(err)
		return false
	}
	k.streamID = o.log.Label()
	for _, r := range []*ring{&l.retry, &l.queue} {
		for i := range r.n {
			it := r.at(i)
			it.sequence, it.attempt = l.sequence+1, 0
			l.sequence += uint64(len(it.row))
		}
		r.unsorted = false
	}
	return true
}

// trouble tells, once a minute, that rows are in memory alone.
func (l *link) trouble(err error) {
	l.keeper.told.Warningf("", "%s: %s: readings that are not answered are kept in memory only, the newest %d: %v", l.kind, l.config.Address, l.config.Queue, err)
}

// The following are called with link.mu held.

// behind tells that rows on disk are to be sent before those of the queue.
func (k *keeper) behind() bool { return k.away || k.scanning != nil || len(k.returned) > 0 }

func (k *keeper) waiting() int {
	if log := k.log.Load(); log != nil {
		return log.Waiting()
	}
	return 0
}

func (k *keeper) add(s *Stream) {
	k.byID[s.id] = s
	if _, ok := k.orphans[s.id]; ok {
		k.returned[s.id] = struct{}{}
	}
}

func (k *keeper) remove(s *Stream) {
	if k.byID[s.id] == s {
		delete(k.byID, s.id)
	}
}

// change is of the state of a row on disk.
type change struct {
	place spool.Pos
	to    spool.State
}

// mark changes states on disk. The caller holds link.delivering.
func (k *keeper) mark(changes []change) {
	for _, c := range changes {
		k.set(c.place, c.to)
	}
}

func (k *keeper) set(p spool.Pos, to spool.State) {
	if err := k.log.Load().Set(p, to); err != nil {
		logs.V(1).ErrorS(err, "A reading that was answered may be sent again", "adapter", k.kind)
	}
}

// mark changes states on disk.
func (l *link) mark(changes []change) {
	if len(changes) == 0 {
		return
	}
	l.delivering.Lock()
	defer l.delivering.Unlock()
	l.keeper.mark(changes)
}

// unused is a spool that nobody has opened, as far as this process knows.
type unused struct {
	seen    time.Time // first, by the clock of the process
	changed time.Time // of the directory then
}

// sweep gives up spools of targets that nobody uses any more: those that have lain there for longer than their own age
// while this process was looking.
func (k *keeper) sweep(now time.Time, lost func(lostRow)) {
	parent := filepath.Dir(k.dir)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	seen := make(map[string]unused)
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		age, err := spool.Age(dir)
		info, wrong := e.Info()
		if err != nil || wrong != nil || dir == k.dir {
			continue
		}
		// A spool that is used gets a new segment sixteen times in the age of its rows.
		u, known := k.unused[dir]
		if !known || !u.changed.Equal(info.ModTime()) {
			u = unused{now, info.ModTime()}
		}
		if now.Sub(u.seen) <= age+age/8 || !k.clear(dir, age, lost) {
			seen[dir] = u
		}
	}
	k.unused = seen
}

// clear removes a spool with what is in it, and reports whether it could be.
func (k *keeper) clear(dir string, age time.Duration, lost func(lostRow)) bool {
	log, err := spool.Open(dir, spool.Options{
		MaxBytes: math.MaxInt64, MaxAge: age, // what it holds is as old as that
		Lost: func(r spool.Record) {
			if id, _, err := cutRow(r.Data); err == nil {
				lost(lostRow{r.ID, string(id), r.State&stateJudged != 0})
			}
		},
	})
	if err != nil {
		return false // in use
	}
	log.Trim(time.Now().Add(2 * age))
	empty := log.Waiting() == 0
	_ = log.Close()
	if empty {
		if err := os.RemoveAll(dir); err != nil {
			logs.V(1).ErrorS(err, "Cannot remove a spool that nobody uses")
		}
	}
	return empty
}

// spoolDir is the directory for a target, which must not be in use by another.
func spoolDir(stateDir, kind string, identity uint64, used func(dir string) bool) string {
	base := filepath.Join(stateDir, kind+"-spool", fmt.Sprintf("%016x", identity))
	dir := base
	for n := 2; used(dir); n++ {
		dir = fmt.Sprintf("%s-%d", base, n)
	}
	return dir
}

// close gives up a spool that was opened for nothing.
func (k *keeper) close() error {
	if log := k.log.Load(); log != nil {
		return log.Close()
	}
	return nil
}
