// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package spool keeps records on disk until they are done with: a first-in-first-out log of bounded size and age that
// survives the death of its process at any moment, and a disk that is full.
//
// The log is a directory of segments. Records are appended to the newest; that a record is done is written over a byte
// of the record itself, which takes no space and so works on a full disk. A segment whose records are all done is
// removed. When the log is full the oldest segment is given up.
//
// Age is what the processes that had the log open saw pass. The wall clock has no part in it: one that is a year ahead
// gives up nothing, and one that is set back keeps nothing for longer.
//
// What was appended survives the process at once, and a power cut from the next [Log.Sync] on. A record that was being
// written when the process died is cut off.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/filelock"
)

// State of a record: Done, or flags with a meaning for the user of the log.
type State uint8

// Done is the state of a record that the log need not keep.
const Done State = 1 << 7

// Record is what the log keeps.
type Record struct {
	ID    uint64
	At    time.Time // for the limit of age; of records of an earlier process, so long before the log was opened as their age is
	State State
	Data  []byte
}

// Pos is the place of a record. Places of later records are greater. The zero value is before all of them.
type Pos struct {
	segment uint64
	offset  int64
}

// Before tells the order of two places.
func (p Pos) Before(q Pos) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

// Options of a log.
type Options struct {
	MaxBytes int64         // what the segments may take on disk; at least MinBytes
	MaxAge   time.Duration // records older than this, as far as time was seen to pass, are given up by Trim
	Label    string        // kept with the log: the label of a log that exists wins; at most 128 bytes
	// Found gets each record that is not done when the log is opened, in order and without At; it may be nil. It must not
	// keep Data.
	Found func(Pos, Record)
	// Lost gets each record that is given up before it is done, for want of space or for its age; it may be nil. It is
	// called from Append and Trim, and must not keep Data.
	Lost func(Record)
	// Damaged gets what is wrong with the files of a log that is opened; it may be nil. Good records before the damage in
	// a segment are used, those behind it are not.
	Damaged func(error)
}

const (
	// MinBytes is the smallest limit of size.
	MinBytes = 1 << 20
	segments = 16 // that a full log consists of: this part of it is given up at a time
	// A segment that is idle is given up for a new one when it has grown to this size.
	idleBytes = 64 << 10
	suffix    = ".seg"
	maxLabel  = 128
)

// ErrTooLarge is returned for a record of more than a sixteenth of the log, and for records of more than half of it.
var ErrTooLarge = errors.New("record too large for the spool")

// Log is a log in a directory. Append, Trim, Sync, SetMark and Close are called from one goroutine; the other methods
// from any.
type Log struct {
	dir  string
	opts Options
	lock *os.File
	meta meta
	buf  []byte // of Append

	opened time.Time     // by the clock of the process
	base   time.Duration // by the clock of the log: that much has passed before

	mu       sync.Mutex
	segments []*segment // in order; numbers are ascending
	active   *segment   // the last one, if it may be appended to
	bytes    int64      // of all segments
	waiting  int        // records not done
	last     uint64     // number of the newest segment there ever was
}

// Open opens or makes the log in the directory. A log is open in one process at a time.
func Open(dir string, o Options) (*Log, error) {
	if o.MaxBytes < MinBytes || o.MaxAge <= 0 || len(o.Label) > maxLabel {
		return nil, fmt.Errorf("spool %s: want a size of at least %d, a positive age and a label of at most %d bytes", dir, MinBytes, maxLabel)
	}
	if o.Damaged == nil {
		o.Damaged = func(error) {}
	}
	if o.Lost == nil {
		o.Lost = func(Record) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	l := &Log{dir: dir, opts: o, opened: time.Now()}
	var err error
	if l.lock, err = filelock.Take(filepath.Join(dir, "lock")); err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	err = l.meta.open(filepath.Join(dir, "meta"), o)
	if l.base = l.meta.clock; err == nil {
		err = l.recover()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool %s: %w", dir, err), l.Close())
	}
	return l, nil
}

// recover reads the segments that are there.
func (l *Log) recover() error {
	entries, err := os.ReadDir(l.dir) // sorted, and so are the numbers
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		var number uint64
		if _, err := fmt.Sscanf(name, "%016x", &number); !ok || err != nil || fileName(number) != e.Name() {
			continue
		}
		s, err := openSegment(filepath.Join(l.dir, e.Name()), number)
		if err != nil {
			return err
		}
		l.last = number
		end, damage := s.scan(s.begin(), s.size, make([]byte, scanBuffer), func(p Pos, r Record) bool {
			s.newest = r.At
			if r.State != Done {
				s.waiting++
				if l.opts.Found != nil {
					r.At = time.Time{} // the clock is not known yet
					l.opts.Found(p, r)
				}
			}
			return true
		})
		if damage != nil {
			l.opts.Damaged(damage)
		}
		if end.offset < s.size {
			s.size = end.offset
			_ = s.file.Truncate(s.size) // else it is found again
		}
		l.segments = append(l.segments, s)
		l.bytes += s.size
		l.waiting += s.waiting
		if s.waiting == 0 {
			l.remove(s)
		}
	}
	for _, s := range l.segments { // the process before was killed after them
		l.base = max(l.base, time.Duration(s.newest.UnixNano()))
	}
	for _, s := range l.segments {
		s.newest = l.time(time.Duration(s.newest.UnixNano()))
	}
	return nil
}

// Label is what tells this log from others, over restarts.
func (l *Log) Label() string { return l.meta.label }

// Mark is the number that SetMark kept last, 0 at first.
func (l *Log) Mark() uint64 { return l.meta.mark }

// SetMark keeps a number with the log.
func (l *Log) SetMark(n uint64) error { return l.meta.set(n, l.clock(time.Now())) }

// Waiting is the number of records that are not done.
func (l *Log) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

// Bytes is what the segments take on disk.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// End is the place behind the newest record.
func (l *Log) End() Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.segments); n > 0 {
		return Pos{l.segments[n-1].number, l.segments[n-1].size}
	}
	return Pos{l.last + 1, headerSize}
}

// Append writes the records, none of which is done, and returns their places in places, which is grown as needed.
// An error means that none of them was written. Old segments are given up to make room.
func (l *Log) Append(records []Record, places []Pos) ([]Pos, error) {
	places = places[:0]
	if len(records) == 0 {
		return places, nil
	}
	limit := l.opts.MaxBytes / segments
	l.buf = l.buf[:0]
	for i := range records {
		if recordSize(len(records[i].Data)) > limit-headerSize {
			return places, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(records[i].Data))
		}
		l.buf = appendRecord(l.buf, &records[i], l.clock(records[i].At))
	}
	need := int64(len(l.buf))
	if need > l.opts.MaxBytes/2 {
		return places, fmt.Errorf("%w: %d records of %d bytes", ErrTooLarge, len(records), need)
	}
	newest := records[len(records)-1].At
	l.mu.Lock()
	s := l.active
	l.mu.Unlock()
	if s != nil && (s.size+need > max(limit, headerSize+need) || s.size > idleBytes && l.idle(s) || newest.Sub(s.born) > l.opts.MaxAge/segments) {
		l.retire(s)
		s = nil
	}
	for room := true; room && l.Bytes()+need+headerSize > l.opts.MaxBytes; {
		room = l.giveUp()
	}
	if s == nil {
		var err error
		if s, err = l.begin(newest); err != nil {
			return places, err
		}
	}
	if _, err := s.file.WriteAt(l.buf, s.size); err != nil {
		// What was written of it must not be found by the next process, and takes room that others need.
		if cut := s.file.Truncate(s.size); cut != nil {
			l.retire(s)
			err = errors.Join(err, cut)
		}
		return places, fmt.Errorf("spool: %w", err)
	}
	at := s.size
	for i := range records {
		places = append(places, Pos{s.number, at})
		at += recordSize(len(records[i].Data))
	}
	l.mu.Lock()
	s.size, s.newest, s.dirty = at, newest, true
	s.waiting += len(records)
	l.waiting += len(records)
	l.bytes += need
	l.mu.Unlock()
	return places, nil
}

func (l *Log) idle(s *segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.waiting == 0
}

// begin makes a new segment.
func (l *Log) begin(at time.Time) (*segment, error) {
	l.mu.Lock()
	number := l.last + 1
	l.mu.Unlock()
	s, err := createSegment(filepath.Join(l.dir, fileName(number)), number)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	_ = atomicfile.SyncDir(l.dir)
	s.born, s.newest = at, at
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = number
	l.segments = append(l.segments, s)
	l.active = s
	l.bytes += s.size
	return s, nil
}

// retire takes no more records into the segment.
func (l *Log) retire(s *segment) {
	_ = s.file.Sync() // the next Sync does not look at it
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active == s {
		l.active = nil
	}
	if s.waiting == 0 {
		l.remove(s)
	}
}

// remove deletes the segment. The caller holds l.mu, or is alone.
func (l *Log) remove(s *segment) {
	i := slices.Index(l.segments, s)
	if i < 0 {
		return
	}
	l.segments = slices.Delete(l.segments, i, i+1)
	l.bytes -= s.size
	l.waiting -= s.waiting
	if l.active == s {
		l.active = nil
	}
	_ = s.file.Close()
	_ = os.Remove(filepath.Join(l.dir, fileName(s.number)))
}

// giveUp removes the oldest segment, and tells what was lost with it.
func (l *Log) giveUp() bool {
	l.mu.Lock()
	if len(l.segments) == 0 {
		l.mu.Unlock()
		return false
	}
	s := l.segments[0]
	size := s.size
	l.mu.Unlock()
	_, _ = s.scan(s.begin(), size, make([]byte, scanBuffer), func(_ Pos, r Record) bool {
		if r.State != Done {
			l.opts.Lost(l.adopt(r))
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(s)
	return true
}

// find returns where the segment is, or where it would be, and whether it is there. The caller holds l.mu.
func (l *Log) find(number uint64) (int, bool) {
	return slices.BinarySearchFunc(l.segments, number, func(s *segment, n uint64) int { return cmp.Compare(s.number, n) })
}

// Next visits the records from the place on that are not done, in order, and returns the place behind them. It ends
// with the record for which visit returns false, or when some have been visited. The end is reached when the place is
// not before [Log.End]. buf, which should have 64 KiB, is where Data is until the next call.
func (l *Log) Next(from Pos, buf []byte, visit func(Pos, Record) bool) (Pos, error) {
	l.mu.Lock()
	i, found := l.find(from.segment)
	if i < len(l.segments) && found && from.offset >= l.segments[i].size && i+1 < len(l.segments) {
		i, found = i+1, false
	}
	if i == len(l.segments) {
		l.mu.Unlock()
		return l.End(), nil
	}
	s := l.segments[i]
	size := s.size
	l.mu.Unlock()
	if !found || from.offset < headerSize {
		from = s.begin()
	}
	next, err := s.scanSome(from, size, buf, func(p Pos, r Record) bool { return r.State == Done || visit(p, l.adopt(r)) })
	if errors.Is(err, fs.ErrClosed) {
		err = nil // given up meanwhile
	}
	if err != nil { // what is behind the damage cannot be read: leave it to its age
		err = fmt.Errorf("spool: %w", err)
		next = Pos{s.number, size}
	}
	if !from.Before(next) {
		next = Pos{s.number, size}
	}
	return next, err
}

// Set changes the state of a record. A record that is done must not be set again.
func (l *Log) Set(p Pos, to State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, found := l.find(p.segment)
	if !found {
		return nil // given up
	}
	s := l.segments[i]
	_, err := s.file.WriteAt([]byte{byte(to)}, p.offset+stateOffset)
	s.dirty = true
	if to != Done {
		return err
	}
	s.waiting--
	l.waiting--
	if s.waiting == 0 && s != l.active {
		l.remove(s)
	}
	return err
}

// Sync waits until all that was written would survive a power cut.
func (l *Log) Sync() error {
	l.mu.Lock()
	var dirty []*segment
	for _, s := range l.segments {
		if s.dirty {
			s.dirty = false
			dirty = append(dirty, s)
		}
	}
	l.mu.Unlock()
	var errs []error
	for _, s := range dirty {
		if err := s.file.Sync(); err != nil && !errors.Is(err, fs.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close gives the log up for another process to open. It does not sync.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	if l.waiting > 0 {
		errs = append(errs, l.meta.set(l.meta.mark, l.clock(time.Now())))
	}
	errs = append(errs, l.meta.close())
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	l.segments, l.active = nil, nil
	return errors.Join(append(errs, l.lock.Close())...)
}
