// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/devices"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
)

// file is a log or a segment. A segment's name tells its times, so that it need not be opened to be passed over.
type file struct {
	seq      uint64
	sealed   bool
	from, to int64 // nanoseconds; of a segment
	name     string
	size     int64
}

func logName(seq uint64) string { return fmt.Sprintf("%016d.log", seq) }

func segmentName(seq uint64, from, to int64) string {
	return fmt.Sprintf("%016d_%d_%d.parquet", seq, from, to)
}

// list returns the files of a directory in the order in which they were recorded. Of a log that is sealed already, but
// was not removed yet, it returns the segment only.
func list(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		f, ok := parseName(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone
		}
		f.size = info.Size()
		if n := len(files); n > 0 && files[n-1].seq == f.seq {
			if f.sealed {
				files[n-1] = f
			}
			continue
		}
		files = append(files, f)
	}
	return files, nil
}

func parseName(name string) (f file, ok bool) {
	f.name = name
	if base, is := strings.CutSuffix(name, ".log"); is {
		seq, err := strconv.ParseUint(base, 10, 64)
		f.seq = seq
		return f, err == nil && len(base) == 16
	}
	base, is := strings.CutSuffix(name, ".parquet")
	parts := strings.Split(base, "_")
	if !is || len(parts) != 3 || len(parts[0]) != 16 {
		return f, false
	}
	var errs [3]error
	f.sealed = true
	f.seq, errs[0] = strconv.ParseUint(parts[0], 10, 64)
	f.from, errs[1] = strconv.ParseInt(parts[1], 10, 64)
	f.to, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	return f, errors.Join(errs[:]...) == nil
}

// scanBatch is the number of rows that are read at once.
const scanBatch = 1024

// Scan calls fn with the entries of the directory that match, in batches that are valid during the call. The readings
// of a property come about in the order of time: they do within a file, and files follow each other as they were
// recorded. It works while a recorder is at work. fn's error ends it; so does the context's end. Damaged segments are
// passed over, and are told by the error in the end.
func Scan(ctx context.Context, dir string, q Query, fn func([]Entry) error) error {
	return scan(ctx, dir, q, func(int64, int64) {}, fn)
}

func scan(ctx context.Context, dir string, q Query, progress func(done, total int64), fn func([]Entry) error) error {
	if err := q.Validate(); err != nil {
		return err
	}
	said, err := labels.Read(dir)
	if err != nil {
		return err
	}
	files, err := list(dir)
	if err != nil {
		return err
	}
	s := scanner{ctx: ctx, q: &q, fn: fn, labels: said, out: make([]Entry, 0, scanBatch)}
	if q.DeviceLabels != nil {
		if s.devices, err = devices.Read(dir); err != nil {
			return err
		}
	}
	s.from, s.to = q.span()
	buf := make([]row, scanBatch)
	var total, done int64
	for _, f := range files {
		total += f.size
	}
	var bad []error
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.file(dir, f, buf)
		switch {
		case s.stopped != nil:
			return s.stopped
		case err != nil:
			bad = append(bad, err)
		}
		done += f.size
		progress(done, total)
	}
	return errors.Join(bad...)
}

type scanner struct {
	ctx      context.Context //nolint:containedctx // lives as long as one call of Scan
	q        *Query
	fn       func([]Entry) error
	from, to int64
	labels   []labels.Label
	devices  *devices.Labels // nil where nothing is asked of them
	out      []Entry
	stopped  error // what fn or the context said

	last    row // the series that was matched last
	known   bool
	matched bool
	applied []labels.Label // of the last series
}

// file reads a file. A log may be sealed, and a segment be removed by age, since they were listed.
func (s *scanner) file(dir string, f file, buf []row) error {
	if !f.sealed {
		damaged, err := scanLogFile(filepath.Join(dir, f.name), func(r *row) error {
			s.row(r)
			if len(s.out) == cap(s.out) {
				return s.flush()
			}
			return nil
		})
		if err == nil {
			if err = s.flush(); err == nil && damaged > 0 {
				err = fmt.Errorf("log %s: %d bytes are damaged and passed over", f.name, damaged)
			}
			return err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		files, err := list(dir)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(files, func(o file) bool { return o.seq == f.seq && o.sealed })
		if i < 0 {
			return nil
		}
		f = files[i]
	}
	if f.to < s.from || f.from > s.to {
		return nil
	}
	err := scanSegment(filepath.Join(dir, f.name), s.q, buf, func(rows []row) error {
		for i := range rows {
			s.row(&rows[i])
		}
		return s.flush()
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *scanner) row(r *row) {
	if r.At < s.from || r.At > s.to {
		return
	}
	if !s.known || !s.last.series(r) {
		s.last, s.known = *r, true
		s.matched = labels.Match(s.q.Device, r.Device) && labels.Match(s.q.Namespace, r.Namespace) && labels.Match(s.q.Property, r.Property) &&
			(s.devices == nil || s.devices.Match(r.Namespace, r.Device, s.q.DeviceLabels))
		s.applied = s.applied[:0]
		for _, l := range s.labels {
			if s.matched && l.Of(r.Namespace, r.Device, r.Property) {
				s.applied = append(s.applied, l)
			}
		}
	}
	if !s.matched {
		return
	}
	if s.q.Verdicts != nil {
		v := r.Severity
		if v == "" {
			v = "none"
		}
		if !slices.Contains(s.q.Verdicts, v) {
			return
		}
	}
	e := r.entry()
	for _, v := range slices.Backward(s.applied) { // the one that was said last counts
		if l := &v; !e.At.Before(l.From) && e.At.Before(l.To) {
			e.Label = l.Label
			break
		}
	}
	if s.q.Label != "" && (e.Label == "" || !labels.Match(s.q.Label, e.Label)) {
		return
	}
	s.out = append(s.out, e)
}

func (s *scanner) flush() error {
	if s.stopped = s.ctx.Err(); s.stopped == nil && len(s.out) > 0 {
		s.stopped = s.fn(s.out)
	}
	s.out = s.out[:0]
	return s.stopped
}
