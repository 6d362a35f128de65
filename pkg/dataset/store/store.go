// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/filelock"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Settings of a [Store]. Zero means the default.
type Settings struct {
	// MaxAge is for how long segments are kept; 0 keeps them. It is the time that stores which had the directory open saw
	// pass: neither the wall clock nor the times of readings, both of which may be years off, remove anything.
	MaxAge   time.Duration
	MaxBytes int64 // the oldest files are removed beyond that; 0 is no limit
	// SegmentRows and SegmentAge are when a log is sealed: 65536 readings, an hour.
	SegmentRows int
	SegmentAge  time.Duration
	// FlushEvery is how often readings go to the log: 250 ms. A killed process loses no more than twice that, as a
	// reading may wait once for its verdict.
	FlushEvery time.Duration
	// Queue is how many readings wait for the log at most: 32768. More are lost, and counted.
	Queue int
	// State is called whenever recording fails, and with nil when it works again, from a goroutine of the store.
	State func(err error)
}

// Stats are the counts of a [Store] since it was opened.
type Stats struct {
	Written uint64 // readings in the log
	Lost    uint64 // for want of room in the queue or on the disk
	Bytes   int64  // of all files, as of the last flush
	Damaged int64  // bytes of logs that could not be read when they were sealed; what is around them is kept
	Err     error  // why recording fails now; nil while it works
}

// Store records readings in a directory. Its methods may be called concurrently.
type Store struct {
	dir  string
	set  Settings
	lock *os.File
	stop chan struct{}
	seal chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	queue  []item
	closed bool
	stats  Stats

	// Of the goroutine that writes.
	log     *os.File
	enc     *encoder
	spare   []item
	joiner  joiner
	rows    int
	length  int64
	opened  time.Time
	flushes int

	sealing sync.Mutex // guards active and held by those who remove files
	active  uint64     // the log that is written to
	sealErr error

	ages ages // of the goroutine that seals
}

// Open records in a directory, which is made where it is missing. What an earlier recorder left is sealed. A full disk
// is no error of Open: see [Stats].
func Open(dir string, set Settings) (*Store, error) {
	if set.SegmentRows <= 0 {
		set.SegmentRows = 64 << 10
	}
	if set.SegmentAge <= 0 {
		set.SegmentAge = time.Hour
	}
	if set.FlushEvery <= 0 {
		set.FlushEvery = 250 * time.Millisecond
	}
	if set.Queue <= 0 {
		set.Queue = 32 << 10
	}
	if set.State == nil {
		set.State = func(error) {}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := filelock.Take(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	atomicfile.Clean(dir, "")
	files, err := list(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), lock.Close())
	}
	s := &Store{dir: dir, set: set, lock: lock, stop: make(chan struct{}), seal: make(chan struct{}, 1)}
	s.ages.load(dir)
	// All room at once: growing would be paid for by Add.
	s.queue, s.spare = make([]item, 0, set.Queue), make([]item, 0, set.Queue)
	if n := len(files); n > 0 {
		s.active = files[n-1].seq
	}
	s.active++
	s.seal <- struct{}{}
	s.wg.Go(s.write)
	s.wg.Go(s.sealAll)
	return s, nil
}

// Add takes a reading that has all that is known of it. It does not block, and reports whether there was room for it.
func (s *Store) Add(e Entry) bool { return s.take(&e, whole) }

// Mirror takes a reading whose verdict is not known yet. It does not block, and reports whether there was room for it.
// If judged, the verdict is expected to follow by [Store.Judge]; the reading waits for it in the queue, for no longer
// than from one flush to the next. Where Text is not "", Value is the number of its category, which is not kept.
func (s *Store) Mirror(e Entry, judged bool) bool {
	if judged {
		return s.take(&e, waiting)
	}
	return s.take(&e, reading)
}

// Judge takes the verdict on a mirrored reading: its series, the time and the value of the reading, and severity, score
// and kind. A verdict on a reading that is not in the queue any more has no effect.
func (s *Store) Judge(v Entry) { s.take(&v, judgment) }

// Remark takes something that was wrong with a mirrored reading, as [Store.Judge] does; its verdict may follow. The
// worse of the two is kept.
func (s *Store) Remark(v Entry) { s.take(&v, remark) }

func (s *Store) take(e *Entry, w what) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.queue) >= s.set.Queue {
		if w <= reading {
			s.stats.Lost++
		}
		return false
	}
	s.queue = append(s.queue, item{*e, w})
	return true
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close writes what waits and ends recording. The log stays as it is, for the next [Open].
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	close(s.stop)
	s.wg.Wait()
	return errors.Join(s.Stats().Err, s.lock.Close())
}

// write is the goroutine of the log.
func (s *Store) write() {
	defer s.closeLog()
	tick := time.NewTicker(s.set.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			_ = guard.Do("the writer of a recording", func() { s.flush(true) }) // is logged
			return
		case <-tick.C:
			_ = guard.Do("the writer of a recording", func() { s.flush(false) }) // is logged
		}
	}
}

func (s *Store) flush(last bool) {
	s.mu.Lock()
	queue := s.queue
	s.queue = s.spare[:0]
	s.mu.Unlock()
	batch := s.joiner.join(queue, last)
	clear(queue) // lets go of the strings
	s.spare = queue[:0]
	lost := 0
	var err error
	for rest := batch; len(rest) > 0 && err == nil; {
		n := min(len(rest), frameReadings)
		if err = s.appendLog(rest[:n]); err != nil {
			lost = len(rest)
			break
		}
		rest = rest[n:]
	}
	if len(batch) > 0 || s.flushes%16 == 0 {
		s.note(err, len(batch)-lost, lost, len(batch) > 0)
	}
	if s.rows >= s.set.SegmentRows || s.rows > 0 && time.Since(s.opened) >= s.set.SegmentAge {
		s.rotate()
	}
	if s.flushes++; s.flushes%16 == 0 {
		s.wake() // for retention, and to try again what failed
	}
}

// note counts, and tells changes of the state.
func (s *Store) note(err error, written, lost int, tried bool) {
	s.sealing.Lock()
	sealErr := s.sealErr
	s.sealing.Unlock()
	s.mu.Lock()
	before := s.stats.Err
	s.stats.Written += uint64(written)
	s.stats.Lost += uint64(lost)
	if !tried && sealErr == nil {
		err = before // nothing was written: no news
	}
	if err == nil {
		err = sealErr
	}
	s.stats.Err = err
	s.mu.Unlock()
	if err != nil && tried || (err == nil) != (before == nil) {
		s.set.State(err)
	}
}

// appendLog appends a frame as a whole, or leaves the log as it was.
func (s *Store) appendLog(batch []Entry) error {
	if s.log == nil {
		s.sealing.Lock()
		name := filepath.Join(s.dir, logName(s.active))
		s.sealing.Unlock()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		s.log, s.enc, s.rows, s.length, s.opened = f, newEncoder(), 0, 0, time.Now()
	}
	frame := s.enc.frame(batch)
	if _, err := s.log.Write(frame); err != nil {
		// The frame's strings are lost with it, so this log is at its end.
		err = errors.Join(err, s.log.Truncate(s.length))
		s.rotate()
		return fmt.Errorf("recording: %w", err)
	}
	s.length += int64(len(frame))
	s.rows += len(batch)
	return nil
}

// rotate ends the log; the other goroutine seals it.
func (s *Store) rotate() {
	s.closeLog()
	s.sealing.Lock()
	s.active++
	s.sealing.Unlock()
	s.rows = 0
	s.wake()
}

func (s *Store) closeLog() {
	if s.log != nil {
		s.log.Close()
		s.log = nil
	}
}

func (s *Store) wake() {
	wait.Wake(s.seal)
}

// sealAll is the goroutine that seals logs and removes what is old.
func (s *Store) sealAll() {
	for {
		select {
		case <-s.stop:
			s.ages.end(time.Now())
			return
		case <-s.seal:
		}
		err := guard.Call("the sealer of a recording", s.maintain)
		s.sealing.Lock()
		s.sealErr = err
		s.sealing.Unlock()
	}
}

func (s *Store) maintain() error {
	s.sealing.Lock()
	active := s.active
	s.sealing.Unlock()
	files, err := list(s.dir)
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	if files, err = s.retain(files, active); err != nil {
		return err
	}
	var rows []row
	for _, f := range files {
		if f.sealed {
			// A log that is there still was not removed for a crash.
			if err := remove(s.dir, logName(f.seq)); err != nil {
				return err
			}
			continue
		}
		select {
		case <-s.stop:
			return nil
		default:
		}
		if f.seq >= active {
			continue
		}
		if rows, err = s.sealLog(f, rows[:0]); err != nil {
			return fmt.Errorf("sealing: %w", err)
		}
	}
	return nil
}

func (s *Store) sealLog(f file, rows []row) ([]row, error) {
	if rows == nil {
		rows = make([]row, 0, s.set.SegmentRows+s.set.Queue/8) // a log ends after the flush that makes it long
	}
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	name := filepath.Join(s.dir, f.name)
	damaged, err := scanLogFile(name, func(r *row) error {
		rows = append(rows, *r)
		from, to = min(from, r.At), max(to, r.At)
		return nil
	})
	if err != nil {
		return rows, err
	}
	if damaged > 0 {
		s.mu.Lock()
		s.stats.Damaged += damaged
		s.mu.Unlock()
	}
	if len(rows) > 0 {
		if err := writeSegment(filepath.Join(s.dir, segmentName(f.seq, from, to)), rows); err != nil {
			return rows, err
		}
	}
	return rows, remove(s.dir, f.name)
}

// retain removes what is too old or too much, oldest first, and returns what stays.
func (s *Store) retain(files []file, active uint64) ([]file, error) {
	var total int64
	for _, f := range files {
		total += f.size
	}
	ages := s.ages.advance(time.Now(), files)
	keep := files[:0:0]
	for _, f := range files {
		old := s.set.MaxAge > 0 && f.sealed && ages[f.seq] > s.set.MaxAge
		much := s.set.MaxBytes > 0 && total > s.set.MaxBytes && f.seq < active
		if !old && !much {
			keep = append(keep, f)
			continue
		}
		if err := remove(s.dir, f.name); err != nil {
			return nil, err
		}
		total -= f.size
	}
	s.mu.Lock()
	s.stats.Bytes = total
	s.mu.Unlock()
	return keep, nil
}

func remove(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}
