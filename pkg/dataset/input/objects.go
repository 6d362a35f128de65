// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

// objects reads JSON: an object a line, or an array of objects. The keys are the columns, those of objects within
// objects dotted. Columns that the first object lacks are added as they come.
type objects struct {
	src     *bufio.Reader
	counted *counter
	array   *json.Decoder // nil for lines
	whole   bool          // all that is left is in within
	within  []any         // the rest of an array in the array
	entity  any           // that it is of, as Home Assistant names it
	line    int
	header  []string
	columns map[string]int
	row     []string
	lists   bool // some were left out
}

func newObjects(r *bufio.Reader, c *counter) (*objects, error) {
	o := &objects{src: r, counted: c, columns: make(map[string]int)}
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if strings.IndexByte(" \t\r\n", b) >= 0 {
			continue
		}
		if err := r.UnreadByte(); err != nil {
			return nil, err
		}
		if b == '[' {
			o.array = json.NewDecoder(r)
			o.array.UseNumber()
			if _, err := o.array.Token(); err != nil {
				return nil, err
			}
		}
		return o, nil
	}
}

func (o *objects) Header() []string { return o.header }
func (o *objects) Separator() byte  { return 0 }
func (o *objects) Offset() int64    { return o.counted.n }
func (o *objects) Buffered() bool   { return o.array != nil || o.whole || o.src.Buffered() > 0 }

// Read implements Grid.
func (o *objects) Read() ([]string, int, error) {
	for {
		o.line++
		var value map[string]any
		if o.array != nil {
			value, err := o.element()
			if err != nil {
				return nil, o.line, err
			}
			row := o.flatten(value)
			if len(o.header) > 1 || !o.lists {
				return row, o.line, nil
			}
			if err := o.deep(value); err != nil {
				return nil, o.line, err
			}
			o.line--
			continue
		}
		if o.whole {
			value, err := o.element()
			if err != nil {
				return nil, o.line, err
			}
			return o.flatten(value), o.line, nil
		}
		line, err := o.src.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) == 0 {
			if err != nil {
				return nil, o.line, err
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, o.line, err
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		err = d.Decode(&value)
		if o.line == 1 && (errors.Is(err, io.ErrUnexpectedEOF) || err == nil && holdsLists(value) && o.alone()) {
			if o.within, err = documentOf(io.MultiReader(bytes.NewReader(line), o.src)); err != nil {
				return nil, o.line, err
			}
			o.whole, o.line = true, 0
			continue
		}
		if err != nil {
			return nil, o.line, &dataset.RowError{Line: o.line, Err: fmt.Errorf("want a JSON object: %w", err)}
		}
		if said := reply(value); said != "" && o.line == 1 && o.alone() {
			return nil, o.line, fmt.Errorf("this is an answer, not a recording: %q", clip(said))
		}
		if row := o.flatten(value); len(o.header) > 0 || len(value) == 0 {
			return row, o.line, nil
		}
		return nil, o.line, fmt.Errorf("a JSON object of lists: %w", errShape)
	}
}

// alone reports whether nothing follows the first line.
func (o *objects) alone() bool {
	_, err := o.src.Peek(1)
	return errors.Is(err, io.EOF)
}

// deep takes the whole array for a document, of which the first element holds nothing but lists.
func (o *objects) deep(value any) error {
	var all document
	all.take(value, "")
	for o.array.More() {
		var next any
		if err := o.array.Decode(&next); err != nil {
			return o.cutOff()
		}
		if all.take(next, ""); o.counted.n > maxDocument {
			return fmt.Errorf("JSON objects of lists over %d bytes: %w", maxDocument, errShape)
		}
	}
	var err error
	o.within, err = all.table()
	o.array, o.whole, o.lists, o.header, o.columns = nil, true, false, nil, make(map[string]int)
	return err
}

// reply is what an object says that a server answers with where it has no data.
func reply(value map[string]any) string {
	for _, key := range []string{"error", "message", "errorMessage", "detail", "error_description"} {
		if said, is := value[key].(string); is && said != "" {
			return said
		}
	}
	return ""
}

var errShape = errors.New(`want an object a line for each row, such as {"time":"2026-03-01T00:00:00Z","value":20.5}, or an array of them`)

// element is the next object of an array, or of the arrays in it, as Home Assistant answers with one for each entity.
func (o *objects) element() (map[string]any, error) {
	for len(o.within) == 0 {
		if o.whole {
			return nil, io.EOF
		}
		if !o.array.More() {
			if _, err := o.array.Token(); err != nil {
				return nil, o.cutOff()
			}
			return nil, io.EOF
		}
		var value any
		switch err := o.array.Decode(&value); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, o.cutOff()
		case err != nil:
			return nil, fmt.Errorf("element %d: %w", o.line, err)
		}
		var list bool
		o.entity = nil
		if o.within, list = value.([]any); !list {
			o.within = []any{value}
		} else if !slices.ContainsFunc(o.within, isObject) && !holdsLists(o.within) { // values by their place
			o.within = []any{listed(nil, o.within)}
		}
	}
	value, ok := o.within[0].(map[string]any)
	if id, has := value["entity_id"]; has {
		o.entity = id
	} else if ok && o.entity != nil { // only the first one of an entity names it, where that was asked for
		value["entity_id"] = o.entity
	}
	if o.within = o.within[1:]; !ok {
		return nil, &dataset.RowError{Line: o.line, Err: errors.New("want a JSON object")}
	}
	return value, nil
}

func (o *objects) cutOff() error {
	return fmt.Errorf("the JSON array does not end behind element %d: the file is cut off", o.line-1)
}

func (o *objects) flatten(value map[string]any) []string {
	o.row = o.row[:0]
	for range o.header {
		o.row = append(o.row, "")
	}
	o.add("", value)
	return o.row
}

// maxColumns bounds what objects with ever new keys can take.
const maxColumns = 4096

func (o *objects) add(prefix string, value map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(value)) {
		name := prefix + key
		text := ""
		switch v := value[key].(type) {
		case map[string]any:
			o.add(name+".", v)
			continue
		case nil:
		case string:
			text = v
		case json.Number:
			text = v.String()
		case bool:
			text = strconv.FormatBool(v)
		default:
			o.lists = true
			continue // a list is no reading
		}
		i, ok := o.columns[name]
		if !ok {
			if len(o.header) == maxColumns {
				continue
			}
			i = len(o.header)
			o.columns[name] = i
			o.header, o.row = append(o.header, name), append(o.row, "")
		}
		o.row[i] = text
	}
}

// failed is the beginning of an answer of Prometheus that says that a query failed, and the only line of the file.
var failed = regexp.MustCompile(`\A\{\s*"status"\s*:\s*"error"\s*,\s*"error(Type)?"[^\n]*\s*\z`)

// prometheus reports whether a JSON text begins as an answer of Prometheus' HTTP API does.
func prometheus(first []byte) bool {
	return bytes.Contains(first, []byte(`"status"`)) && (bytes.Contains(first, []byte(`"resultType"`)) || bytes.Contains(first, []byte(`"errorType"`))) || failed.Match(first)
}

// matrix is the answer to a range query: a series for each set of labels.
type matrix struct {
	all         []promapi.Series
	counted     *counter
	series, row int
	fields      [3]string
	n           int
	said        []string // by Prometheus, of what may be missing
}

// Notes are what a person should know of the answer.
func (m *matrix) Notes() []string { return m.said }

func newPrometheus(r io.Reader, c *counter) (*matrix, error) {
	answer, err := promapi.Decode(r)
	if err != nil {
		return nil, fmt.Errorf("answer of Prometheus: %w", err)
	}
	if answer.Type != promapi.Matrix {
		return nil, fmt.Errorf("answer of Prometheus: resultType is %q, want matrix: ask for a range (/api/v1/query_range)", answer.Type)
	}
	if len(answer.Series) == 0 {
		return nil, fmt.Errorf("%w: the answer of Prometheus has no series: nothing matched the query in its range", ErrEmpty)
	}
	m := &matrix{all: answer.Series, counted: c}
	if answer.Partial {
		m.said = append(m.said, "the answer of Prometheus is partial: what some storage has is missing")
	}
	for _, warning := range answer.Warnings {
		m.said = append(m.said, "Prometheus warns: "+warning)
	}
	return m, nil
}

func (m *matrix) Header() []string { return []string{"timestamp", "series", "value"} }
func (m *matrix) Separator() byte  { return 0 }
func (m *matrix) Offset() int64    { return m.counted.n }
func (m *matrix) Buffered() bool   { return true }

// Read implements Grid.
func (m *matrix) Read() ([]string, int, error) {
	for m.series < len(m.all) {
		s := &m.all[m.series]
		if m.row == len(s.Points) {
			m.series, m.row = m.series+1, 0
			continue
		}
		p := s.Points[m.row]
		m.row++
		m.n++
		m.fields = [3]string{p.Time, s.Labels.String(), p.Value}
		return m.fields[:], m.n, nil
	}
	return nil, m.n, io.EOF
}
