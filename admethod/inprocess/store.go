// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// record is the state of one stream.
type record struct {
	id       string
	detector string
	model    string // version of the trained model beneath; "" where there is none
	saved    time.Time
	state    []byte // of the detector
	stages   []byte // of the stages before it
}

// store keeps records in one file of the state directory. The file is a sequence of sealed records. It is replaced as a whole by a rename, so that a crash leaves the old or the new
// one; a file that is damaged all the same is set aside, and its good records are used.
type store struct {
	dir string
}

const (
	fileName      = "inprocess.snapshot"
	tmpPattern    = ".tmp*"
	recordSchema  = "inprocess/stream"
	recordVersion = 1
	maxName       = 4 << 10
)

func newStore(dir string) *store { return &store{dir: dir} }

// load reads the records saved since oldest. It returns what could be read also with an error.
func (s *store) load(oldest time.Time) (map[string]record, error) {
	path := filepath.Join(s.dir, fileName)
	if leftovers, err := filepath.Glob(path + tmpPattern); err == nil { // of a process that was killed while it saved
		for _, name := range leftovers {
			_ = os.Remove(name)
		}
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return make(map[string]record), nil
	case err != nil:
		return make(map[string]record), fmt.Errorf("read snapshots: %w", err)
	}
	records, err := decodeRecords(data, oldest)
	if err != nil {
		aside := path + ".damaged"
		if renameErr := os.Rename(path, aside); renameErr != nil {
			return records, errors.Join(err, renameErr)
		}
		return records, fmt.Errorf("%s: set aside as %s, %d streams recovered: %w", path, filepath.Base(aside), len(records), err)
	}
	return records, nil
}

// save replaces the file by one with the given records, but for those saved before oldest.
func (s *store) save(records []record, oldest time.Time) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("save snapshots: %w", err)
	}
	var data []byte
	for i := range records {
		if records[i].saved.Before(oldest) {
			continue
		}
		var err error
		if data, err = appendRecord(data, &records[i]); err != nil {
			return fmt.Errorf("save snapshot of %s: %w", records[i].id, err)
		}
	}
	if err := writeAtomically(filepath.Join(s.dir, fileName), data); err != nil {
		return fmt.Errorf("save snapshots: %w", err)
	}
	return nil
}

// writeAtomically leaves, whatever happens, the old content or the new one under path.
func writeAtomically(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+tmpPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	// The rename itself must survive a power cut, too. Not every file system can sync a directory; then the data of
	// the file are safe and at worst the old name is found.
	if d, openErr := os.Open(filepath.Dir(path)); openErr == nil {
		_ = d.Sync()
		return d.Close()
	}
	return nil
}

func appendRecord(data []byte, rec *record) ([]byte, error) {
	var w state.Writer
	w.Text(rec.id)
	w.Text(rec.detector)
	w.Text(rec.model)
	w.Int(rec.saved.Unix())
	w.Text(string(rec.state))
	w.Text(string(rec.stages))
	sealed, err := model.Seal(recordSchema, recordVersion, w.Bytes)
	if err != nil {
		return nil, err
	}
	return append(data, sealed...), nil
}

// decodeRecords returns the good records, and the errors of the others.
func decodeRecords(data []byte, oldest time.Time) (map[string]record, error) {
	records := make(map[string]record)
	var errs []error
	for len(data) > 0 {
		frame, rest := model.Next(data)
		rec, err := decodeRecord(frame)
		if err != nil { // its length may be what is wrong: look for the next record inside it, too
			errs = append(errs, err)
			rest = model.Resume(data)
		} else if !rec.saved.Before(oldest) {
			records[rec.id] = rec
		}
		data = rest
	}
	return records, errors.Join(errs...)
}

func decodeRecord(sealed []byte) (record, error) {
	payload, err := model.Unseal(recordSchema, recordVersion, sealed)
	if err != nil {
		return record{}, err
	}
	r := state.NewReader(payload)
	rec := record{id: r.Text("stream", maxName), detector: r.Text("detector", maxName), model: r.Text("model", maxName)}
	rec.saved = time.Unix(r.Int(), 0)
	rec.state = []byte(r.Text("state", model.MaxPayload))
	rec.stages = []byte(r.Text("stages", model.MaxPayload))
	return rec, r.Close()
}
