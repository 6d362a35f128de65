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
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/model"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

// modelWatch looks whether the files of trained models change, by polling: a file may be renamed over, or be reached
// through the symbolic links of a ConfigMap, which file system notifications do not follow.
//
// A file system may hang: files are looked at by goroutines of their own, which are waited for for a moment only. Those
// who want a model do without it until it was read.
type modelWatch struct {
	fetch func(dir, file string, known stamp) fetched // fetchModel

	mu      sync.Mutex
	files   map[string]*watchedFile
	reading map[string]*reading // files that are being looked at
	readers sync.WaitGroup
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

// fetched is what became of a look at a model file.
type fetched struct {
	data    []byte
	version string // "" where it is as it was
	at      stamp
	err     error
}

// fetchModel reads a model file and names its version, unless it is the one that is known.
func fetchModel(dir, file string, known stamp) (f fetched) {
	name, err := filepath.Rel(dir, file)
	if err != nil {
		return fetched{err: fmt.Errorf("model: %w", err)}
	}
	if info, err := regular.Stat(dir, name); err == nil { // also of what is refused: it is looked at again when it changes
		if f.at = (stamp{info.Size(), info.ModTime()}); f.at == known {
			return f
		}
	} else if known != (stamp{}) {
		return fetched{at: known} // being replaced, or gone for the moment: the model in use stays
	}
	data, info, err := regular.ReadIn(dir, name, largestModel)
	if err != nil {
		f.err = fmt.Errorf("model: %w", err)
		return f
	}
	return fetched{data: data, version: model.Version(file, data), at: stamp{info.Size(), info.ModTime()}}
}

// reading is a look at a file that is under way. Its result is written before done is closed.
type reading struct {
	dir    string
	began  time.Time
	done   chan struct{}
	result fetched
}

const (
	readPatience = time.Second // with a file system
	mostReading  = 4           // files of one directory that are being looked at
)

var errSlow = fmt.Errorf("model: the file system does not answer in %v; it is still being read", readPatience)

// read is fetch, but for a moment at most: where a look takes longer it is errSlow, and what it came to is the result of
// a later call, which does not wait for it again.
func (w *modelWatch) read(dir, file string, known stamp) fetched {
	w.mu.Lock()
	r := w.reading[file]
	if r == nil {
		if w.under(dir) >= mostReading {
			w.mu.Unlock()
			return fetched{at: known, err: errSlow}
		}
		if w.reading == nil {
			w.reading = make(map[string]*reading)
		}
		r = &reading{dir: dir, began: time.Now(), done: make(chan struct{})}
		w.reading[file] = r
		w.readers.Go(func() {
			defer close(r.done)
			if err := guard.Do("the reader of a model", func() { r.result = w.fetch(dir, file, known) }); err != nil {
				r.result = fetched{at: known, err: err}
			}
		})
	}
	w.mu.Unlock()
	timer := time.NewTimer(readPatience - time.Since(r.began))
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
		select {
		case <-r.done:
		default:
			return fetched{at: known, err: errSlow}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reading[file] == r {
		delete(w.reading, file)
	}
	return r.result
}

// under is how many files of a directory are being looked at. It forgets what nobody waits for any more. The caller holds
// the lock.
func (w *modelWatch) under(dir string) (n int) {
	for file, r := range w.reading {
		select {
		case <-r.done:
			if w.files[file] == nil {
				delete(w.reading, file)
			}
		default:
			if r.dir == dir {
				n++
			}
		}
	}
	return n
}

// join waits for those who read.
func (w *modelWatch) join(ctx context.Context) error {
	err := guard.Join(ctx, &w.readers)
	if err == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Errorf("models are still being read, the file system hangs: %v: %w", slices.Sorted(maps.Keys(w.reading)), err)
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
	fetched
	file    string
	streams []*stream
}

// changed returns every file that is another than it was.
func (w *modelWatch) changed() (out []changedFile) {
	type look struct {
		dir, file string
		known     stamp
	}
	w.mu.Lock()
	looks := make([]look, 0, len(w.files))
	for file, f := range w.files {
		looks = append(looks, look{f.dir, file, f.seen})
	}
	w.mu.Unlock()
	for _, l := range looks {
		now := w.read(l.dir, l.file, l.known)
		if now.at == l.known { // also where nothing is known of it yet
			continue
		}
		w.mu.Lock()
		if f := w.files[l.file]; f != nil {
			f.seen = now.at
			out = append(out, changedFile{now, l.file, slices.Collect(maps.Keys(f.streams))})
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
		for _, s := range c.streams {
			refused := c.err
			if refused == nil {
				refused = a.exchange(ctx, s, c.data, c.version)
			}
			if errors.Is(refused, errBusy) { // its turn never came: the next look tries again
				a.models.again(file)
			}
			if refused != nil {
				a.trouble(s.id(), fmt.Errorf("model %s: goes on with %s: %w", file, *s.model.Load(), refused))
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
	err = s.lane.do(ctx, func() {
		s.detector, s.judged = d, false
		s.model.Store(&version)
	})
	if hook := a.hooks.ModelLoaded; err == nil && hook != nil {
		hook(s.key, version)
	}
	return err
}

// waiting stands for a detector whose model is not there, or damaged, until a usable one appears.
type waiting struct{ why string }

// Detect judges nothing, and says why.
func (w waiting) Detect(_ driver.Row, out *driver.Result) {
	out.Kind, out.Message = driver.KindFailed, w.why
}

// opener opens a stream's detector with a model.
type opener func(data []byte, version string) (driver.Detector, error)
