// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/filelock"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// Record is the state of one stream.
type Record struct {
	ID       string
	Detector string
	Model    string    // version of the trained model beneath; "" where there is none
	Gone     time.Time // since when nobody has the stream open, as far as processes saw; of a stream that is open, now
	Run      int64     // in which the stream was open last: runs of mappers in the directory have ascending numbers
	State    []byte    // of the detector
	Stages   []byte    // of the stages before it
}

// Store is where an adapter keeps what its detectors learned. Its methods are not called at the same time.
type Store interface {
	// Open takes the store for this process, as far as it can; what is wrong is told with what is loaded and saved.
	Open()
	// Load returns the records of streams that are gone for no longer than retain, by ID, and the number of this run. What
	// could be read is returned also with an error.
	Load(retain time.Duration) (records map[string]Record, run int64, err error)
	// Save keeps the records, but for those gone for longer than retain, in place of all that were there; of the streams
	// that are missing among them it leaves what is there.
	Save(records []Record, missing map[string]struct{}, now time.Time, retain time.Duration) error
	Close() error
	// String says where it is, for people.
	String() string
}

// directory is a [Store]: it keeps records in a file of the state directory: a sequence of sealed records. It is replaced as a whole by a
// rename, so that a crash leaves the old or the new one; a file that is damaged all the same is set aside, and its good
// records are used.
//
// A file belongs to one process at a time. Where several mappers share a directory, the second one has a file of its own
// beside the first one's. Which is whose may be another way round after a restart, so each of them reads all.
type directory struct {
	dir  string
	slot int      // of the file that is written to, from 1
	lock *os.File // on it; nil where there can be none
	run  int64    // number of this one, known after Load
	warn func(error)
}

const (
	filePattern   = "inprocess*.snapshot"
	recordSchema  = "inprocess/stream"
	recordVersion = 2
	maxName       = 4 << 10
	mostSlots     = 64
)

// newStore makes a store; warn hears of what does not keep it from its work.
func newStore(dir string, warn func(error)) *directory {
	return &directory{dir: dir, slot: 1, warn: warn}
}

// String is the directory.
func (s *directory) String() string { return s.dir }

// path of the file, or of another that ends so, in a slot.
func (s *directory) path(slot int, end string) string {
	name := "inprocess"
	if slot > 1 {
		name += "-" + strconv.Itoa(slot)
	}
	return filepath.Join(s.dir, name+end)
}

// Open takes the first file that no other process has. Where locks cannot be made, files cannot be written either, which
// is told when they are.
func (s *directory) Open() {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return
	}
	for slot := 1; slot <= mostSlots; slot++ {
		lock, err := filelock.Take(s.path(slot, ".lock"))
		if err == nil {
			s.slot, s.lock = slot, lock
			break
		}
		if !errors.Is(err, filelock.ErrInUse) {
			return
		}
	}
	if s.slot > 1 {
		s.warn(fmt.Errorf("%s is in use by another mapper: what is learned here is kept beside it in %s; mappers want a directory each",
			s.dir, filepath.Base(s.path(s.slot, ".snapshot"))))
	}
}

// Close gives the file up for another process.
func (s *directory) Close() error {
	if s.lock == nil {
		return nil
	}
	lock := s.lock
	s.lock = nil
	return lock.Close()
}

// Load reads the records of all files whose streams are gone for no longer than retain. What could be read is returned
// also with an error.
func (s *directory) Load(retain time.Duration) (map[string]Record, int64, error) {
	own := s.path(s.slot, ".snapshot")
	atomicfile.Clean(s.dir, filepath.Base(own))
	files, err := filepath.Glob(filepath.Join(s.dir, filePattern))
	if err != nil {
		return make(map[string]Record), 0, fmt.Errorf("read snapshots: %w", err)
	}
	all, now := make(map[string]Record), time.Now()
	var errs []error
	for _, path := range files {
		records, err := s.read(path, now, retain)
		if path == own {
			errs = append(errs, s.setAside(path, len(records), err))
		} else {
			errs = append(errs, err)
		}
		for id, rec := range records {
			s.run = max(s.run, rec.Run)
			if known, ok := all[id]; !ok || rec.Run > known.Run || rec.Run == known.Run && rec.Gone.After(known.Gone) {
				all[id] = rec
			}
		}
	}
	s.run++
	return all, s.run, errors.Join(errs...)
}

// read reads a file; one that is not there has no records.
func (s *directory) read(path string, now time.Time, retain time.Duration) (map[string]Record, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read snapshots: %w", err)
	}
	return DecodeRecords(data, now, retain)
}

// setAside renames a file that is damaged.
func (s *directory) setAside(path string, recovered int, damage error) error {
	if damage == nil || errors.As(damage, new(*fs.PathError)) {
		return damage
	}
	aside := path + ".damaged"
	if err := os.Rename(path, aside); err != nil {
		return errors.Join(damage, err)
	}
	return fmt.Errorf("%s: set aside as %s, %d streams recovered: %w", path, filepath.Base(aside), recovered, damage)
}

// Save replaces the file.
func (s *directory) Save(records []Record, missing map[string]struct{}, now time.Time, retain time.Duration) error {
	var damaged error
	if len(missing) > 0 { // an incomplete file would forget them
		var old map[string]Record
		if old, damaged = s.read(s.path(s.slot, ".snapshot"), now, retain); len(old) > 0 {
			for id := range missing {
				if rec, ok := old[id]; ok {
					rec.Gone = now
					records = append(records, rec)
				}
			}
		}
	}
	return errors.Join(damaged, s.write(records, now, retain))
}

func (s *directory) write(records []Record, now time.Time, retain time.Duration) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("save snapshots: %w", err)
	}
	var data []byte
	for i := range records {
		if now.Sub(records[i].Gone) > retain {
			continue
		}
		var err error
		if data, err = AppendRecord(data, &records[i], now); err != nil {
			return fmt.Errorf("save snapshot of %s: %w", records[i].ID, err)
		}
	}
	if err := atomicfile.WriteBytes(s.path(s.slot, ".snapshot"), 0o600, data); err != nil {
		return fmt.Errorf("save snapshots: %w", err)
	}
	return nil
}

// AppendRecord appends a sealed record. It says for how long the stream is gone, not since when: of the wall clock, which
// may be wrong by a year, nothing depends.
func AppendRecord(data []byte, rec *Record, now time.Time) ([]byte, error) {
	var w state.Writer
	w.Text(rec.ID)
	w.Text(rec.Detector)
	w.Text(rec.Model)
	w.Int(int64(max(now.Sub(rec.Gone), 0)))
	w.Int(rec.Run)
	w.Text(string(rec.State))
	w.Text(string(rec.Stages))
	sealed, err := model.Seal(recordSchema, recordVersion, w.Bytes)
	if err != nil {
		return nil, err
	}
	return append(data, sealed...), nil
}

// DecodeRecords returns the good records, and the errors of the others.
func DecodeRecords(data []byte, now time.Time, retain time.Duration) (map[string]Record, error) {
	records := make(map[string]Record)
	var errs []error
	for len(data) > 0 {
		frame, rest := model.Next(data)
		rec, err := decodeRecord(frame, now)
		if err != nil { // its length may be what is wrong: look for the next record inside it, too
			errs = append(errs, err)
			rest = model.Resume(data)
		} else if now.Sub(rec.Gone) <= retain {
			records[rec.ID] = rec
		}
		data = rest
	}
	return records, errors.Join(errs...)
}

func decodeRecord(sealed []byte, now time.Time) (Record, error) {
	payload, err := model.Unseal(recordSchema, recordVersion, sealed)
	first := errors.Is(err, model.ErrSchema)
	if first { // the first version had the time of the wall clock
		payload, err = model.Unseal(recordSchema, 1, sealed)
	}
	if err != nil {
		return Record{}, err
	}
	r := state.NewReader(payload)
	rec := Record{ID: r.Text("stream", maxName), Detector: r.Text("detector", maxName), Model: r.Text("model", maxName)}
	age := r.Int()
	if first {
		age = 0
	} else {
		rec.Run = r.Int()
	}
	rec.Gone = now.Add(-time.Duration(max(age, 0)))
	rec.State = []byte(r.Text("state", model.MaxPayload))
	rec.Stages = []byte(r.Text("stages", model.MaxPayload))
	return rec, r.Close()
}
