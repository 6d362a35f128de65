// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// modelWatch looks whether the files of trained models change, by polling: a file may be renamed over, or be reached
// through the symbolic links of a ConfigMap, which file system notifications do not follow.
type modelWatch struct {
	mu    sync.Mutex
	files map[string]*watchedFile
}

// watchedFile is a model file and the streams that judge by it.
type watchedFile struct {
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
func readModel(file string) (data []byte, version string, at stamp, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, "", at, fmt.Errorf("model: %w", err)
	}
	at = stamp{info.Size(), info.ModTime()}
	if info.Size() > largestModel || !info.Mode().IsRegular() {
		return nil, "", at, fmt.Errorf("model %s: want a regular file of at most %d bytes", file, largestModel)
	}
	if data, err = os.ReadFile(file); err != nil {
		return nil, "", at, fmt.Errorf("model: %w", err)
	}
	return data, model.Version(file, data), at, nil
}

func (w *modelWatch) add(file string, seen stamp, s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = make(map[string]*watchedFile)
	}
	f, ok := w.files[file]
	if !ok {
		f = &watchedFile{seen: seen, streams: make(map[*stream]struct{})}
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

// changed returns the streams of every file that is another than it was, by file.
func (w *modelWatch) changed() map[string][]*stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out map[string][]*stream
	for file, f := range w.files {
		info, err := os.Stat(file)
		if err != nil {
			continue // being replaced, or gone for the moment: the model in use stays
		}
		if now := (stamp{info.Size(), info.ModTime()}); now != f.seen {
			f.seen = now
			if out == nil {
				out = make(map[string][]*stream)
			}
			for s := range f.streams {
				out[file] = append(out[file], s)
			}
		}
	}
	return out
}

// reloadModels gives streams whose model file has changed a detector with the new model. A model that is refused
// leaves the old one in use. No reading is lost: the detectors are exchanged between two readings.
func (a *Adapter) reloadModels(ctx context.Context) {
	for file, streams := range a.models.changed() {
		data, version, _, err := readModel(file)
		for _, s := range streams {
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
