// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/kept"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// tail reads a file as it grows, in whole lines: what its writer has not ended yet is waited for. It ends with the context,
// and where there is another file in its place, or less of it than before.
type tail struct {
	ctx    context.Context
	file   *os.File
	path   string
	follow bool

	at      int64 // bytes that were read of the file
	waiting []byte
	room    []byte // for what is read next
}

// Read reads whole lines, and the last one without an end where nothing is to be followed.
func (t *tail) Read(p []byte) (int, error) {
	for {
		whole := bytes.LastIndexByte(t.waiting, '\n') + 1
		if whole == 0 && len(t.waiting) > 0 && (!t.follow || len(t.waiting) >= mostLine) {
			whole = len(t.waiting)
		}
		if whole > 0 {
			n := copy(p, t.waiting[:whole])
			t.waiting = t.waiting[n:]
			return n, nil
		}
		if err := t.ctx.Err(); err != nil {
			return 0, io.EOF
		}
		if t.room == nil {
			t.room = make([]byte, 64<<10)
		}
		n, err := t.file.Read(t.room)
		t.waiting, t.at = append(t.waiting, t.room[:n]...), t.at+int64(n)
		switch {
		case n > 0:
		case err != nil && !errors.Is(err, io.EOF):
			return 0, err
		case !t.follow, t.replaced(), wait.Sleep(t.ctx, lookFor) != nil:
			if len(t.waiting) == 0 || t.follow {
				return 0, io.EOF
			}
		}
	}
}

const mostLine = 1 << 20 // bytes that are waited for the end of a line of

// replaced reports whether the path is of another file, or of less of it.
func (t *tail) replaced() bool {
	now, err := os.Stat(t.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	own, err := t.file.Stat()
	return err != nil || !os.SameFile(own, now) || now.Size() < t.at
}

// readSet reads the data set of a recorder, in order of time.
func (s *Source) readSet(ctx context.Context, in source.Intake) error {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := store.Export(ctx, w, s.config.Path, store.Query{}, store.ExportOptions{Format: store.CSV})
		w.CloseWithError(err)
	}()
	set := &Source{config: s.config, name: s.name, report: s.report, location: s.location, place: s.place}
	if len(set.config.Columns) == 0 {
		set.config.Columns, set.config.Series = []string{"value"}, []string{"namespace", "device", "property"}
	}
	until := int64(0)
	if s.config.Past {
		until = 1<<63 - 1
	}
	err := set.table(ctx, in, r, until)
	_ = r.Close() // so that the export ends where the table did not
	<-done
	s.place = set.place
	if err == nil && s.config.Follow {
		s.config.Follow = false // a data set is read once
	}
	return err
}

// place is how far a file was read.
type place struct {
	Line int   `json:"line"`
	Size int64 `json:"size"` // that it had at least

	file  *kept.File
	known bool // it was read before
	last  int  // line that is saved
}

func newPlace(dir string) place { return place{file: kept.New(dir, "place.json", time.Second)} }

// load goes on where the program ended.
func (p *place) load() error {
	found, err := p.file.Load(p)
	if err != nil || p.Line < 0 {
		p.Line, p.Size = 0, 0
		return err
	}
	p.known, p.last = found, p.Line
	return nil
}

// begin begins with a file of that size: one that is smaller than before is another one.
func (p *place) begin(size int64) {
	if size < p.Size {
		p.Line, p.Size = 0, 0
	}
}

// save writes the place, once a second unless now.
func (p *place) save(now bool) error {
	if p.Line == p.last || !p.file.Due(now) {
		return nil
	}
	err := p.file.Save(p, now)
	if err == nil {
		p.last = p.Line
	}
	return err
}
