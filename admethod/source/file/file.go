// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package file is the source that reads a table: a file of CSV or JSON lines that grows, or the data set of a recorder. It is
// for trials, and for devices whose readings somebody writes to a file. Import it for its side effect: it registers itself
// under the name "file".
//
// What the columns are, and how times and numbers are written, is found out, see package pkg/dataset/input. A column of
// readings is a property of one device, which the options name; in a file whose rows are of series, a series is a device,
// or device/property, or namespace/device/property where as many columns tell series apart, as in what a recorder exports.
//
// A file that shrinks, or is another one than before, is read from its beginning. How far it was read is kept in the state
// directory, by the line: what was written while the program was away is read then, and nothing comes twice.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Name of the source.
const Name = "file"

func init() { source.Register(Factory()) }

// Factory describes the source.
func Factory() source.Factory {
	return source.Factory{
		Name:    Name,
		Summary: "follows a file of CSV or JSON lines, or reads the data set of a recorder",
		New:     func(s source.Settings) (source.Source, error) { return New(s) },
		Params:  func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Config is the configuration of the source.
type Config struct {
	Path       string   `param:"path" doc:"the file, or the directory of a recorder's data set"`
	Follow     bool     `param:"follow" doc:"wait for what is written to the file later; a data set is read once"`
	Past       bool     `param:"past" doc:"what is there at the first start is learned from, and no verdict on it is told"`
	Namespace  string   `param:"namespace" doc:"of the devices, where the file does not say"`
	Device     string   `param:"device" doc:"whose properties the columns are, in a file without series; empty: the name of the file"`
	Property   string   `param:"property" doc:"of a file with one column of readings; empty: the name of the column"`
	Time       string   `param:"time" doc:"column with the time; empty: it is found"`
	TimeFormat string   `param:"timeFormat" doc:"how times are written, such as DD.MM.YYYY hh:mm:ss; empty: it is found"`
	TimeZone   string   `param:"timeZone" doc:"of times that carry none, such as Europe/Berlin"`
	Columns    []string `param:"columns" doc:"columns of readings; empty: they are found"`
	Series     []string `param:"series" doc:"columns that tell series apart; empty: they are found"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Follow: true, Namespace: "default", TimeZone: "UTC"} }

const (
	batch   = 256 // readings that are handed over at once
	lookFor = 200 * time.Millisecond
)

// Source reads a file.
type Source struct {
	config   Config
	name     string
	report   admethod.Report
	location *time.Location
	place    place
	log      logs.Limiter
}

// New makes a source. The file may not be there yet.
func New(s source.Settings) (*Source, error) {
	c := DefaultConfig()
	errs := []error{source.Decode(&c, s.Options)}
	if c.Path == "" {
		errs = append(errs, &params.Error{Key: "path", Want: "required"})
	}
	location, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		errs = append(errs, &params.Error{Key: "timeZone", Value: c.TimeZone, Want: "a name such as Europe/Berlin"})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if c.Device == "" {
		c.Device, _, _ = strings.Cut(filepath.Base(c.Path), ".")
	}
	return &Source{config: c, name: s.Name, report: s.Report, location: location, place: newPlace(s.StateDir)}, nil
}

func (s *Source) part() string { return "source " + s.name + ": " + s.config.Path }

// Run is as [source.Source] has it.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	if err := s.place.load(); err != nil {
		s.report(s.part()+": state", "the file is read from its beginning", err)
	}
	defer func() {
		s.report(s.part()+": state", "what was read is read again after a restart", s.place.save(true))
	}()
	for backoff := (wait.Backoff{First: lookFor, Longest: 10 * time.Second}); ; {
		err := s.read(ctx, in)
		over := source.Over(ctx, err)
		switch {
		case over != nil:
			return over
		case err == nil && !s.config.Follow: // all is read
			<-ctx.Done()
			return context.Cause(ctx)
		case err == nil: // it is another file now
			s.place.Line, s.place.Size = 0, 0
			backoff.Reset()
			continue
		}
		s.report(s.part(), "nothing is read meanwhile; it is tried again", err)
		if err := wait.Sleep(ctx, backoff.Next()); err != nil {
			return err
		}
	}
}

// read reads the file to its end: nil where it is replaced, or is not to be followed.
func (s *Source) read(ctx context.Context, in source.Intake) error {
	info, err := os.Stat(s.config.Path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return s.readSet(ctx, in)
	}
	f, err := os.Open(s.config.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return err
	}
	s.place.begin(info.Size())
	until := int64(0)
	if s.config.Past && !s.place.known {
		until = info.Size()
	}
	return s.table(ctx, in, &tail{ctx: ctx, file: f, path: s.config.Path, follow: s.config.Follow}, until)
}

// table hands over the rows of a table. Those that begin before the offset until are of the past.
func (s *Source) table(ctx context.Context, in source.Intake, src io.Reader, until int64) error {
	o := input.Options{
		Time: s.config.Time, TimeFormat: s.config.TimeFormat, Location: s.location, Columns: s.config.Columns, Series: s.config.Series, Texts: true,
	}
	r, err := input.NewReader(src, o)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", s.config.Path, err)
		}
		return nil // there was nothing in it
	}
	s.report(s.part(), "", nil)
	for _, note := range r.Notes() {
		logs.InfoS("Read as", "file", s.config.Path, "note", note)
	}
	var readings []source.Reading
	line := 0
	flush := func() error {
		if len(readings) > 0 {
			refused, err := source.Refused(in.Take(ctx, readings))
			if err != nil {
				return &source.EndedError{Err: err}
			}
			for _, f := range refused {
				s.log.ErrorS("refused", f.Err, "A reading is not judged", "source", s.name)
			}
			readings = readings[:0]
		}
		s.place.Line, s.place.Size = max(s.place.Line, line), max(s.place.Size, r.Offset())
		s.report(s.part()+": state", "what was read is read again after a restart", s.place.save(false))
		return nil
	}
	for {
		row, err := r.Read()
		var bad *dataset.RowError
		switch {
		case errors.As(err, &bad):
			if line = bad.Line; line > s.place.Line {
				s.log.ErrorS("row", err, "A row is left out", "source", s.name, "file", s.config.Path)
			}
		case err != nil:
			if flushed := flush(); flushed != nil || errors.Is(err, io.EOF) {
				return flushed
			}
			return fmt.Errorf("%s: %w", s.config.Path, err)
		default:
			if line = row.Line; line > s.place.Line {
				readings = s.append(readings, &row, r, until > 0 && r.Offset() <= until)
			}
		}
		if len(readings) >= batch || !r.Buffered() {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// append appends the readings of a row.
func (s *Source) append(to []source.Reading, row *input.Row, r *input.Reader, past bool) []source.Reading {
	for i, c := range row.Cells {
		if c.Missing && c.Text == "" {
			continue
		}
		key := driver.Key{Namespace: s.config.Namespace, Device: s.config.Device, Property: r.Columns()[i].Name}
		if s.config.Property != "" && len(row.Cells) == 1 {
			key.Property = s.config.Property
		}
		switch parts := strings.Split(row.Series, "/"); {
		case row.Series == "":
		case len(parts) == 1:
			key.Device = parts[0]
		case len(parts) == 2:
			key.Device, key.Property = parts[0], parts[1]
		default:
			key.Namespace, key.Device, key.Property = parts[0], parts[1], strings.Join(parts[2:], ".")
		}
		one := source.Reading{Key: key, At: row.At, Value: c.Value, Past: past}
		if math.IsNaN(c.Value) { // a text, or none
			one.Text = c.Text
		}
		to = append(to, one)
	}
	return to
}
