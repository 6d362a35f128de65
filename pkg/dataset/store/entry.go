// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package store keeps readings and their verdicts in a directory, for export and training.
//
// A recorder appends to a log, in batches that carry a checksum, and seals the log into an immutable Parquet file once
// it is large or old. Readers need no lock and no cooperation of the recorder: sealed files never change, and of a log
// they read what is whole. What a killed recorder left behind is taken up by the next one: a torn end of a log is not
// read, everything before it is sealed. One recorder may be at work in a directory at a time.
package store

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// Entry is a recorded reading.
type Entry struct {
	Namespace string
	Device    string
	Property  string
	At        time.Time // when it was read; kept to the nanosecond, between the years 1678 and 2262
	Value     float64   // NaN where Text is no number
	Text      string    // as it was read; may be "" for a number
	Severity  string    // of the verdict: unknown, normal, warning or critical; "" where none judged
	Score     float64   // of the verdict; NaN where there is none
	Kind      string    // what is unusual; "" for nothing
	Band      Band      // of the verdict; not of a text
	Label     string    // what [labels.Add] said of it; set by [Scan] only
}

// Band is what was expected of a reading, and between which bounds. What was not known is NaN; the zero value is none. It is
// kept to single precision of how far the reading is from it.
type Band struct{ Expected, Lower, Upper float64 }

// Query chooses entries. The zero value chooses all.
type Query struct {
	From, To  time.Time // From is included, To is not; zero is unlimited
	Namespace string    // a pattern of [path.Match], as the next two; "" is any
	Device    string
	Property  string
	Verdicts  []string // severities, "none" for readings that nobody judged; nil is any
	Label     string   // a label that the reading carries, as a pattern; "" is any, unlabelled ones included
	// DeviceLabels are labels of the device, as the directory has them, with a pattern for the value of each; nil is any.
	DeviceLabels map[string]string
}

// ParseDeviceLabel adds a label of the device, NAME=PATTERN, to a query.
func (q *Query) ParseDeviceLabel(text string) error {
	name, pattern, ok := strings.Cut(text, "=")
	_, err := path.Match(pattern, "")
	if !ok || name == "" || err != nil {
		return fmt.Errorf("device label %q: want NAME=VALUE, or a pattern for the value, such as line=3 or hall=north-*", text)
	}
	if q.DeviceLabels == nil {
		q.DeviceLabels = make(map[string]string)
	}
	q.DeviceLabels[name] = pattern
	return nil
}

// Validate says what is wrong with a query.
func (q *Query) Validate() error {
	for _, p := range []struct{ name, pattern string }{
		{"namespace", q.Namespace}, {"device", q.Device}, {"property", q.Property}, {"label", q.Label},
	} {
		if _, err := path.Match(p.pattern, ""); err != nil {
			return fmt.Errorf("%s: got %q, want a name or a pattern such as light-*: %w", p.name, p.pattern, err)
		}
	}
	for _, v := range q.Verdicts {
		if !slices.Contains(verdicts[:], v) {
			return fmt.Errorf("verdict: got %q, want one of %s", v, strings.Join(verdicts[:], ", "))
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return fmt.Errorf("from %s is not before to %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	}
	return nil
}

var verdicts = [...]string{"none", "unknown", "normal", "warning", "critical"}

// span is the time range in nanoseconds, both ends included.
func (q *Query) span() (from, to int64) {
	from, to = math.MinInt64, math.MaxInt64
	if !q.From.IsZero() {
		from = nanoseconds(q.From)
	}
	if !q.To.IsZero() {
		to = nanoseconds(q.To.Add(-1))
	}
	return from, to
}

// nanoseconds are those since 1970, of the years for which there is a number; the ends stand for all beyond.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// literal is what every name that matches the pattern begins with.
func literal(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// row is an entry as it is stored, and the schema of the Parquet files.
type row struct {
	Device    string  `parquet:"device,dict"`
	Namespace string  `parquet:"namespace,dict"`
	Property  string  `parquet:"property,dict"`
	At        int64   `parquet:"time,delta,timestamp(nanosecond)"`
	Value     float64 `parquet:"value"`
	Text      string  `parquet:"text,dict"`
	Severity  string  `parquet:"severity,dict"`
	Score     float64 `parquet:"score"`
	Kind      string  `parquet:"kind,dict"`
	Off       offsets `parquet:"off"` // files of earlier versions have none
}

// offsets are a band less its reading; all are 0 where there is none.
type offsets struct {
	Expected float32 `parquet:"expected,split"`
	Lower    float32 `parquet:"lower,split"`
	Upper    float32 `parquet:"upper,split"`
}

// off is none of a reading that is no number.
func (b Band) off(value float64) offsets {
	if b == (Band{}) || math.IsNaN(value-value) || math.IsNaN(b.Expected) && math.IsNaN(b.Lower) && math.IsNaN(b.Upper) {
		return offsets{}
	}
	return offsets{float32(b.Expected - value), float32(b.Lower - value), float32(b.Upper - value)}
}

func (o offsets) of(value float64) Band {
	if o == (offsets{}) {
		return Band{}
	}
	return Band{value + float64(o.Expected), value + float64(o.Lower), value + float64(o.Upper)}
}

func (r *row) entry() Entry {
	return Entry{
		Namespace: r.Namespace, Device: r.Device, Property: r.Property, At: time.Unix(0, r.At).UTC(),
		Value: r.Value, Text: r.Text, Severity: r.Severity, Score: r.Score, Kind: r.Kind, Band: r.Off.of(r.Value),
	}
}

func (r *row) series(o *row) bool {
	return r.Device == o.Device && r.Namespace == o.Namespace && r.Property == o.Property
}

func compareRows(a, b row) int {
	if c := strings.Compare(a.Device, b.Device); c != 0 {
		return c
	}
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(a.Property, b.Property); c != 0 {
		return c
	}
	switch {
	case a.At < b.At:
		return -1
	case a.At > b.At:
		return 1
	}
	return 0
}
