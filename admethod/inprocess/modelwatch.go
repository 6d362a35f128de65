// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

// modelWatch looks whether the files of trained models change, by polling: a file may be renamed over, or be reached
// through the symbolic links of a ConfigMap, which file system notifications do not follow.
type modelWatch struct {
	mu    sync.Mutex
	files map[string]*watchedFile
}

// watchedFile is a model file and the streams that judge by it.
type watchedFile struct {
	dir     string // that it must not lead out of
	seen    stamp
	streams map[*stream]struct{}
}

// stamp tells versions of a file apart without reading it.
type stamp struct {
	size    int64
	changed time.Time
}

// largestModel bounds what is read from a model file.
const largestModel = model.MaxPayload

// readModel reads a model file and names its version.
func readModel(dir, file string) (data []byte, version string, at stamp, err error) {
	name, err := filepath.Rel(dir, file)
	if err != nil {
		return nil, "", at, fmt.Errorf("model: %w", err)
	}
	if info, err := regular.Stat(dir, name); err == nil { // also of what is refused: it is looked at again when it changes
		at = stamp{info.Size(), info.ModTime()}
	}
	data, info, err := regular.ReadIn(dir, name, largestModel)
	if err != nil {
		return nil, "", at, fmt.Errorf("model: %w", err)
	}
	return data, model.Version(file, data), stamp{info.Size(), info.ModTime()}, nil
}

func (w *modelWatch) add(dir, file string, seen stamp, s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = make(map[string]*watchedFile)
	}
	f, ok := w.files[file]
	if !ok {
		f = &watchedFile{dir: dir, seen: seen, streams: make(map[*stream]struct{})}
		w.files[file] = f
	}
	f.streams[s] = struct{}{}
}

func (w *modelWatch) remove(s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for file, f := range w.files {
		if delete(f.streams, s); len(f.streams) == 0 {
			delete(w.files, file)
		}
	}
}

// again lets the file be taken as changed at the next look.
func (w *modelWatch) again(file string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f, ok := w.files[file]; ok {
		f.seen = stamp{}
	}
}

// changedFile is a file that is another than it was, and the streams that judge by it.
type changedFile struct {
	dir, file string
	streams   []*stream
}

// changed returns every file that is another than it was. Files are looked at without the lock, which Open needs: a file
// system may hang.
func (w *modelWatch) changed() (out []changedFile) {
	w.mu.Lock()
	files := make([]changedFile, 0, len(w.files))
	for file, f := range w.files {
		files = append(files, changedFile{dir: f.dir, file: file})
	}
	w.mu.Unlock()
	for _, c := range files {
		name, err := filepath.Rel(c.dir, c.file)
		if err != nil {
			continue
		}
		info, err := regular.Stat(c.dir, name)
		if err != nil {
			continue // being replaced, or gone for the moment: the model in use stays
		}
		now := stamp{info.Size(), info.ModTime()}
		w.mu.Lock()
		if f := w.files[c.file]; f != nil && f.seen != now {
			f.seen = now
			c.streams = slices.Collect(maps.Keys(f.streams))
			out = append(out, c)
		}
		w.mu.Unlock()
	}
	return out
}

// reloadModels gives streams whose model file has changed a detector with the new model. A model that is refused
// leaves the old one in use. No reading is lost: the detectors are exchanged between two readings.
func (a *Adapter) reloadModels(ctx context.Context) {
	for _, c := range a.models.changed() {
		file := c.file
		data, version, _, err := readModel(c.dir, file)
		for _, s := range c.streams {
			refused := err
			if refused == nil {
				refused = a.exchange(ctx, s, data, version)
			}
			if errors.Is(refused, errBusy) { // its turn never came: the next look tries again
				a.models.again(file)
			}
			if refused != nil {
				a.trouble(s.id(), fmt.Errorf("model %s: goes on with %s: %w", file, *s.model.Load(), refused))
				continue
			}
			if hook := a.hooks.ModelLoaded; hook != nil {
				hook(s.key, version)
			}
		}
	}
}

// exchange opens a detector with the new model and puts it in the place of the old one.
func (a *Adapter) exchange(ctx context.Context, s *stream, data []byte, version string) error {
	if *s.model.Load() == version {
		return nil // touched, not changed
	}
	d, err := s.open(data, version)
	if err != nil {
		return err
	}
	return s.lane.do(ctx, func() {
		s.detector, s.judged = d, false
		s.model.Store(&version)
	})
}

// waiting stands for a detector whose model is not there, or damaged, until a usable one appears.
type waiting struct{ why string }

// Detect judges nothing, and says why.
func (w waiting) Detect(_ driver.Row, out *driver.Result) {
	out.Kind, out.Message = driver.KindFailed, w.why
}

// opener opens a stream's detector with a model.
type opener func(data []byte, version string) (driver.Detector, error)
