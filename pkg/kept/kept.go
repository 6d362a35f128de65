// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kept keeps a value over a restart, as JSON in a file of a state directory.
package kept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

// most bytes of a file.
const most = 1 << 28

// File keeps a value as JSON. Nil and the zero value keep nothing. It is not safe for concurrent use.
type File struct {
	path  string
	every time.Duration
	saved time.Time
}

// New is the file of a name in a state directory, which is written once in a while at most; 0 is whenever it is saved. Without
// a directory nothing is kept.
func New(dir, name string, every time.Duration) *File {
	if dir == "" {
		return new(File)
	}
	return &File{path: filepath.Join(dir, name), every: every}
}

// Load reads into the value that to points to, and reports whether there was one. A file that is not there is no error; one
// that makes no sense is, and leaves the start as the first one.
func (f *File) Load(to any) (bool, error) {
	if !f.Keeps() {
		return false, nil
	}
	text, err := regular.Read(f.path, most)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.path, err)
	}
	return true, nil
}

// Keeps reports whether there is a file.
func (f *File) Keeps() bool { return f != nil && f.path != "" }

// Due reports whether Save writes.
func (f *File) Due(now bool) bool { return f.Keeps() && (now || time.Since(f.saved) >= f.every) }

// Same notes that the file holds what it should, as a save does that is not needed.
func (f *File) Same() { f.saved = time.Now() }

// Save writes the value, now or when it is time to.
func (f *File) Save(v any, now bool) error {
	if !f.Due(now) {
		return nil
	}
	f.saved = time.Now()
	text, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(f.path), 0o700)
	}
	if err == nil {
		err = atomicfile.WriteBytes(f.path, 0o600, text)
	}
	return err
}
