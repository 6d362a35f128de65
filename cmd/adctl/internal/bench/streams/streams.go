// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package streams scores detectors on labelled recordings of real sensors and machines: what of the faults is found,
// how long it is held, and what is flagged while all is well.
package streams

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/rank"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Near is how many rows after a fault an alarm still counts for it, and how far apart anomalous rows may be to be one
// alert.
const Near = 10

// Entry is a line of the index.
type Entry struct {
	Set, Name string
	From      int // first row that is scored
}

// Index reads the list of recordings, index.tsv: set, name, kind, rows, first row that is scored, labelled rows.
func Index(dir string) ([]Entry, error) {
	f, err := os.Open(filepath.Join(dir, "index.tsv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Entry
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Split(lines.Text(), "\t")
		if n == 1 {
			continue
		}
		if len(fields) < 5 {
			return nil, fmt.Errorf("%s: line %d: %d fields, want at least 5", f.Name(), n, len(fields))
		}
		from, err := strconv.Atoi(fields[4])
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", f.Name(), n, err)
		}
		all = append(all, Entry{Set: fields[0], Name: fields[1], From: from})
	}
	return all, lines.Err()
}

// Series is a recording.
type Series struct {
	Columns []string
	Times   []time.Time
	Rows    [][]float64 // NaN where there is no reading
	Truth   []bool
}

// Load reads a recording: <set>/<name>.csv.gz with a column timestamp in Unix seconds, readings, and a last one, label.
func (e Entry) Load(dir string) (*Series, error) {
	path := filepath.Join(dir, e.Set, e.Name+".csv.gz")
	s, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if e.From > len(s.Rows) {
		return nil, fmt.Errorf("%s: %d rows, want more than %d", path, len(s.Rows), e.From)
	}
	return s, nil
}

func load(path string) (*Series, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	lines := csv.NewReader(z)
	lines.ReuseRecord = true
	head, err := lines.Read()
	if err != nil {
		return nil, err
	}
	last := len(head) - 1
	if last < 2 || head[last] != "label" {
		return nil, fmt.Errorf("columns %v, want a timestamp, readings and label", head)
	}
	s := &Series{Columns: slices.Clone(head[1:last])}
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		seconds, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, err
		}
		row := make([]float64, len(s.Columns))
		for c := range row {
			if row[c], err = strconv.ParseFloat(fields[c+1], 64); err != nil {
				row[c] = math.NaN()
			}
		}
		whole, part := math.Modf(seconds)
		s.Times = append(s.Times, time.Unix(int64(whole), int64(part*1e9)).UTC())
		s.Rows, s.Truth = append(s.Rows, row), append(s.Truth, fields[last] == "1")
	}
}

// Verdict is what a detector says of a row.
type Verdict struct {
	Score     float64
	Judged    bool
	Anomalous bool
	Kind      driver.Kind

	Lower, Upper float64 // of the band; NaN, or both 0, where there is none
}

// Figures are those of a set.
type Figures struct {
	Set         string  `json:"set"`
	Series      int     `json:"series"`
	Events      int     `json:"events"`
	Hit         float64 `json:"hit"`               // share of the events with an anomalous row
	Right       float64 `json:"precision"`         // share of the alerts that are near an event
	FalseAlerts float64 `json:"falseAlertsPer10k"` // in 10,000 normal rows
	Held        float64 `json:"held"`              // share of the labelled rows that are anomalous
	Flagged     float64 `json:"flagged"`           // share of the normal rows that are, near no event
	Unjudged    float64 `json:"unjudged"`          // share of all rows
	Delay       float64 `json:"delayRows"`         // median, from the first row of an event that is hit
	Precision   float64 `json:"averagePrecision"`  // mean over the series with events; rows that are not judged rank last
	ROC         float64 `json:"rocAUC"`
	KindRight   float64 `json:"kindRight"`  // share of the events of known kinds that are hit and named so; NaN for none
	Inside      float64 `json:"insideBand"` // share of the readings of healthy recordings; NaN for none
	Width       float64 `json:"bandWidth"`  // median of AddBand's multiple
}

// MarshalJSON writes a figure that there is none of as null.
func (f Figures) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	v, sep := reflect.ValueOf(f), '{'
	for i := range v.NumField() {
		field := v.Field(i).Interface()
		if x, ok := field.(float64); ok && math.IsNaN(x) {
			field = nil
		}
		value, err := json.Marshal(field)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%c%q:%s", sep, v.Type().Field(i).Tag.Get("json"), value)
		sep = ','
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Tally adds up what a detector does on the recordings of one set. The zero value is ready for use.
type Tally struct {
	series, events, hit, alerts, right            int
	normal, labelled, held, falselyMarked, unread int
	delays                                        []int
	precision, roc                                []float64
	named, rightKind, banded, inside              int
	widths                                        []float64
}

// Add takes a recording, from the first row that is scored.
func (t *Tally) Add(truth []bool, verdicts []Verdict) error {
	if len(truth) != len(verdicts) {
		return fmt.Errorf("%d verdicts on %d rows", len(verdicts), len(truth))
	}
	t.series++
	near := make([]bool, len(truth)) // an alarm here is no false one
	events := runs(len(truth), 1, func(i int) bool { return truth[i] })
	for _, e := range events {
		found := false
		for i := e.first; i <= min(e.last+Near, len(truth)-1); i++ {
			near[i] = true
			if !found && verdicts[i].Anomalous {
				found = true
				t.hit++
				t.delays = append(t.delays, i-e.first)
			}
		}
	}
	t.events += len(events)
	for i, v := range verdicts {
		switch {
		case truth[i] && v.Anomalous:
			t.held++
		case v.Anomalous && !near[i]:
			t.falselyMarked++
		}
		if truth[i] {
			t.labelled++
		} else {
			t.normal++
		}
		if !v.Judged {
			t.unread++
		}
	}
	for _, a := range runs(len(truth), Near, func(i int) bool { return verdicts[i].Anomalous }) {
		t.alerts++
		for i := a.first; i <= a.last; i++ {
			if verdicts[i].Anomalous && near[i] {
				t.right++
				break
			}
		}
	}
	if len(events) > 0 {
		scores := make([]float32, len(verdicts))
		for i, v := range verdicts {
			if v.Judged && !math.IsNaN(v.Score) {
				scores[i] = float32(v.Score)
			}
		}
		order := rank.By(scores)
		t.precision = append(t.precision, order.AveragePrecision(truth))
		t.roc = append(t.roc, order.ROC(truth))
	}
	return nil
}

type run struct{ first, last int }

// runs are the rows for which is holds, those that are at most gap apart together.
func runs(n, gap int, is func(i int) bool) (all []run) {
	for i := range n {
		switch {
		case !is(i):
		case len(all) > 0 && i-all[len(all)-1].last <= gap:
			all[len(all)-1].last = i
		default:
			all = append(all, run{i, i})
		}
	}
	return all
}

// Figures are what was added up.
func (t *Tally) Figures(set string) Figures {
	f := Figures{
		Set: set, Series: t.series, Events: t.events,
		Hit: share(t.hit, t.events), Right: share(t.right, t.alerts), FalseAlerts: 1e4 * share(t.alerts-t.right, t.normal),
		Held: share(t.held, t.labelled), Flagged: share(t.falselyMarked, t.normal),
		Unjudged: share(t.unread, t.normal+t.labelled), Delay: math.NaN(), Precision: mean(t.precision), ROC: mean(t.roc),
		KindRight: share(t.rightKind, t.named), Inside: share(t.inside, t.banded), Width: median(t.widths),
	}
	if n := len(t.delays); n > 0 {
		slices.SortFunc(t.delays, cmp.Compare)
		f.Delay = float64(t.delays[n/2])
	}
	return f
}

func share(part, whole int) float64 {
	if whole == 0 {
		return math.NaN()
	}
	return float64(part) / float64(whole)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
