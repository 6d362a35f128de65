// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/snappy"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// The formats of [Export].
const (
	CSV     = "csv"     // a row for each reading
	WideCSV = "wide"    // a row for each time, a column for each property
	JSON    = "jsonl"   // a JSON object for each reading
	Parquet = "parquet" // columns as in CSV
)

// Formats are the names of all formats.
func Formats() []string { return []string{CSV, WideCSV, JSON, Parquet} }

// MaxWide is how many readings a wide table takes, unless less is set: it is sorted in memory.
const MaxWide = 4 << 20

// ErrTooWide says that a wide table would take more readings than it may.
var ErrTooWide = errors.New("too many readings for a wide table; choose a shorter time range, fewer properties or the format csv")

// ExportOptions configure [Export].
type ExportOptions struct {
	Format  string        // one of [Formats]; "" is CSV
	Align   time.Duration // of a wide table: times are rounded down to multiples of it; 0 takes them as they are
	MaxWide int           // readings of a wide table; 0 is [MaxWide]
	// Progress is told how many bytes of the store are read, of how many, and how many readings are written.
	Progress func(done, total int64, readings int)
}

// columns of the long formats.
var columns = []string{"time", "namespace", "device", "property", "value", "text", "severity", "score", "kind", "label"}

// exported is an entry in Parquet, as Spark, DuckDB and pandas read it: time in microseconds, which all of them know,
// what is missing as NULL, texts in UTF-8.
type exported struct {
	At        int64    `parquet:"time,delta,timestamp(microsecond)"`
	Namespace string   `parquet:"namespace,dict"`
	Device    string   `parquet:"device,dict"`
	Property  string   `parquet:"property,dict"`
	Value     *float64 `parquet:"value"`
	Text      *string  `parquet:"text,dict"`
	Severity  *string  `parquet:"severity,dict"`
	Score     *float64 `parquet:"score"`
	Kind      *string  `parquet:"kind,dict"`
	Label     *string  `parquet:"label,dict"`
}

// writer takes entries to a format.
type writer interface {
	write(batch []Entry) error
	close() error
}

// Export writes the entries of a directory that match to dst, and returns how many. It holds a batch at a time, but for
// a wide table.
func Export(ctx context.Context, dst io.Writer, dir string, q Query, opts ExportOptions) (readings int, err error) {
	var w writer
	switch opts.Format {
	case "", CSV:
		w = &csvFormat{dataset.NewCSVWriter(dst, columns...)}
	case WideCSV:
		w = &wideFormat{dst: dst, align: opts.Align, most: cmp.Or(opts.MaxWide, MaxWide)}
	case JSON:
		out := bufio.NewWriterSize(dst, 64<<10)
		w = &jsonFormat{out, json.NewEncoder(out)}
	case Parquet:
		w = &parquetFormat{w: parquet.NewGenericWriter[exported](dst, parquet.Compression(&snappy.Codec{}),
			parquet.MaxRowsPerRowGroup(128<<10), parquet.CreatedBy("edge-anomaly", "", ""))}
	default:
		return 0, fmt.Errorf("format: got %q, want one of %s", opts.Format, strings.Join(Formats(), ", "))
	}
	progress := func(done, total int64) {
		if opts.Progress != nil {
			opts.Progress(done, total, readings)
		}
	}
	err = scan(ctx, dir, q, progress, func(batch []Entry) error {
		readings += len(batch)
		return w.write(batch)
	})
	if err != nil {
		return readings, err
	}
	return readings, w.close()
}

type csvFormat struct{ w *dataset.CSVWriter }

func (f *csvFormat) write(batch []Entry) error {
	for i := range batch {
		e := &batch[i]
		f.w.Time(e.At)
		f.w.Text(e.Namespace)
		f.w.Text(e.Device)
		f.w.Text(e.Property)
		f.w.Number(e.Value)
		f.w.Text(e.Text)
		f.w.Text(e.Severity)
		f.w.Number(e.Score)
		f.w.Text(e.Kind)
		f.w.Text(e.Label)
		f.w.End()
	}
	return nil
}

func (f *csvFormat) close() error { return f.w.Flush() }

// jsonFormat writes numbers that JSON has not, NaN and infinities, as null.
type jsonFormat struct {
	out *bufio.Writer
	enc *json.Encoder
}

func (f *jsonFormat) write(batch []Entry) error {
	for i := range batch {
		e := &batch[i]
		err := f.enc.Encode(struct {
			At        time.Time `json:"time"`
			Namespace string    `json:"namespace"`
			Device    string    `json:"device"`
			Property  string    `json:"property"`
			Value     *float64  `json:"value"`
			Text      string    `json:"text,omitempty"`
			Severity  string    `json:"severity,omitempty"`
			Score     *float64  `json:"score,omitempty"`
			Kind      string    `json:"kind,omitempty"`
			Label     string    `json:"label,omitempty"`
		}{e.At, e.Namespace, e.Device, e.Property, finite(&e.Value), e.Text, e.Severity, finite(&e.Score), e.Kind, e.Label})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *jsonFormat) close() error { return f.out.Flush() }

func finite(v *float64) *float64 {
	if math.IsNaN(*v) || math.IsInf(*v, 0) {
		return nil
	}
	return v
}

type parquetFormat struct {
	w    *parquet.GenericWriter[exported]
	rows []exported
}

func (f *parquetFormat) write(batch []Entry) error {
	f.rows = f.rows[:0]
	for i := range batch {
		e := &batch[i]
		f.rows = append(f.rows, exported{
			e.At.UnixMicro(), utf8(e.Namespace), utf8(e.Device), utf8(e.Property), number(&e.Value),
			text(e.Text), text(e.Severity), number(&e.Score), text(e.Kind), text(e.Label),
		})
	}
	_, err := f.w.Write(f.rows)
	return err
}

func (f *parquetFormat) close() error { return f.w.Close() }

// utf8 is a text of which what is no UTF-8 is replaced: readers refuse a whole column for one byte.
func utf8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func text(s string) *string {
	if s == "" {
		return nil
	}
	s = utf8(s)
	return &s
}

func number(v *float64) *float64 {
	if math.IsNaN(*v) {
		return nil
	}
	return v
}

// wideFormat writes a column for each property, named as short as tells them apart, and a column with the label. Of
// several readings of a property at the same time the last counts.
type wideFormat struct {
	dst   io.Writer
	align time.Duration
	most  int
	names map[seriesKey]int
	cells []cell
}

type seriesKey struct{ namespace, device, property string }

type cell struct {
	at     int64
	series int
	entry  dataset.Reading
	label  string
}

func (f *wideFormat) write(batch []Entry) error {
	if f.names == nil {
		f.names = make(map[seriesKey]int)
	}
	if len(f.cells)+len(batch) > f.most {
		return fmt.Errorf("more than %d: %w", f.most, ErrTooWide)
	}
	for i := range batch {
		e := &batch[i]
		key := seriesKey{e.Namespace, e.Device, e.Property}
		n, ok := f.names[key]
		if !ok {
			n = len(f.names)
			f.names[key] = n
		}
		at := e.At
		if f.align > 0 {
			at = at.Truncate(f.align)
		}
		f.cells = append(f.cells, cell{at.UnixNano(), n, dataset.Reading{At: at, Value: e.Value, Text: e.Text}, e.Label})
	}
	return nil
}

func (f *wideFormat) close() error {
	keys := make([]seriesKey, len(f.names))
	var namespaces, devices []string
	for k, i := range f.names {
		keys[i] = k
		namespaces, devices = append(namespaces, k.namespace), append(devices, k.device)
	}
	names := columnNames(keys, several(namespaces), several(devices))
	order := make([]int, len(keys)) // of columns
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	header := []string{"time"}
	for _, i := range order {
		header = append(header, names[i])
	}
	w := dataset.NewCSVWriter(f.dst, append(header, "label")...)
	slices.SortStableFunc(f.cells, func(a, b cell) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	line := make([]*cell, len(keys))
	for len(f.cells) > 0 {
		clear(line)
		at, label, n := f.cells[0].at, "", 0
		for ; n < len(f.cells) && f.cells[n].at == at; n++ {
			c := &f.cells[n]
			line[c.series] = c
			if c.label != "" {
				label = c.label
			}
		}
		f.cells = f.cells[n:]
		w.Time(time.Unix(0, at))
		for _, i := range order {
			switch c := line[i]; {
			case c == nil:
				w.Text("")
			case c.entry.Text != "" && math.IsNaN(c.entry.Value):
				w.Text(c.entry.Text)
			default:
				w.Number(c.entry.Value)
			}
		}
		w.Text(label)
		w.End()
	}
	return w.Flush()
}

// columnNames names a column for each series, as short as tells them apart. No two have one name, and none has one that
// readers take for the time or for labels.
func columnNames(keys []seriesKey, manyNamespaces, manyDevices bool) []string {
	levels := 1
	if manyDevices {
		levels = 2
	}
	if manyNamespaces {
		levels = 3
	}
	names := make([]string, len(keys))
	taken := make(map[string]int)
	for i, k := range keys {
		parts := []string{k.namespace, k.device, k.property}
		names[i] = strings.Join(parts[3-levels:], "/")
		if levels == 1 && (names[i] == "" || input.Reserved(names[i])) {
			names[i] = strings.Join(parts[1:], "/")
		}
		taken[names[i]]++
	}
	for i, k := range keys {
		if taken[names[i]] > 1 || input.Reserved(names[i]) { // a name has the separator in it
			names[i] = url.PathEscape(k.namespace) + "/" + url.PathEscape(k.device) + "/" + url.PathEscape(k.property)
		}
	}
	return names
}

func several(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return n != names[0] })
}
