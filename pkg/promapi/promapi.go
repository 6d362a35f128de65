// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package promapi reads what the HTTP API of Prometheus, VictoriaMetrics and Thanos answers to a query: the JSON of
// /api/v1/query and /api/v1/query_range, https://prometheus.io/docs/prometheus/latest/querying/api/.
package promapi

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a query can result in.
const (
	Matrix = "matrix" // samples of a range, by series
	Vector = "vector" // a sample of each series
	Scalar = "scalar"
	String = "string"
)

// Answer is a successful answer.
type Answer struct {
	Type     string   // Matrix, Vector, Scalar or String
	Series   []Series // of a matrix or vector
	Single   Point    // a scalar or string
	Warnings []string // what may be missing or wrong in it
	Partial  bool     // what some storage has is missing in it
}

// Series is what is known of one set of labels.
type Series struct {
	Labels     Labels
	Points     []Point // one where the answer is a vector
	Histograms int     // native histograms, which are left out
}

// Error is an answer that says that the query failed.
type Error struct {
	Status  string // "error"
	Type    string // such as "bad_data" or "timeout"
	Message string
}

// Error says why the query failed.
func (e *Error) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("status %q: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("status %q: %s: %s", e.Status, e.Type, e.Message)
}

// Labels of a series.
type Labels map[string]string

// String writes them as Prometheus does, sorted: up{instance="a",job="b"}.
func (l Labels) String() string {
	var b strings.Builder
	b.WriteString(l["__name__"])
	sep := "{"
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if name != "__name__" {
			fmt.Fprintf(&b, "%s%s=%q", sep, name, l[name])
			sep = ","
		}
	}
	if sep == "," {
		b.WriteString("}")
	}
	return b.String()
}

// MetricName reports whether a text can be the name of a metric, for every version of Prometheus.
func MetricName(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return text != ""
}

// Point is a sample as it is written. One that makes no sense is kept as it is, so that it spoils no other.
type Point struct {
	Time  string // Unix seconds
	Value string // a number, NaN, +Inf or -Inf; of a string its text
}

// UnmarshalJSON reads [time, "value"].
func (p *Point) UnmarshalJSON(text []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil || len(pair) != 2 {
		*p = Point{Value: string(text)}
		return nil //nolint:nilerr // it is told when it is asked for
	}
	p.Time, p.Value = string(pair[0]), string(pair[1])
	if strings.HasPrefix(p.Value, `"`) {
		return json.Unmarshal(pair[1], &p.Value)
	}
	return nil
}

// latest is the end of the year 9999 in Unix seconds, behind which times cannot be written any more.
const latest = 253402300799

// At is the time of a sample, of millisecond precision.
func (p Point) At() (time.Time, error) {
	seconds, err := strconv.ParseFloat(p.Time, 64)
	if err != nil || !(math.Abs(seconds) <= latest) {
		return time.Time{}, fmt.Errorf("time %.40q: want Unix seconds", p.Time)
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), nil
}

// Float is the value of a sample, which may be NaN or infinite.
func (p Point) Float() (float64, error) {
	v, err := strconv.ParseFloat(p.Value, 64)
	if err != nil {
		return 0, fmt.Errorf("value %.40q: want a number", p.Value)
	}
	return v, nil
}

// envelope is the JSON of an answer.
type envelope struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Infos     []string `json:"infos"`
	Partial   bool     `json:"isPartial"`
	Data      struct {
		Type   string `json:"resultType"`
		Result result `json:"result"`
	} `json:"data"`
}

// result is a list of series, or a point: which of them is told by the type, which may stand behind it.
type result struct {
	series []Series
	point  Point
}

func (r *result) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	rest := strings.TrimLeft(strings.TrimPrefix(string(text[:min(len(text), 64)]), "["), " \t\r\n")
	if rest != "" && rest[0] != '{' && rest[0] != ']' {
		return r.point.UnmarshalJSON(text)
	}
	var list []struct {
		Metric     Labels            `json:"metric"`
		Value      *Point            `json:"value"`
		Values     []Point           `json:"values"`
		Histogram  json.RawMessage   `json:"histogram"`
		Histograms []json.RawMessage `json:"histograms"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	r.series = make([]Series, len(list))
	for i, s := range list {
		points := s.Values
		if s.Value != nil {
			points = append(points, *s.Value)
		}
		histograms := len(s.Histograms)
		if s.Histogram != nil {
			histograms++
		}
		r.series[i] = Series{Labels: s.Metric, Points: points, Histograms: histograms}
	}
	return nil
}

// ofStorage reports whether a warning is of what reads samples. VictoriaMetrics has a field for that; Thanos, and Prometheus
// that reads from others, have nothing else. What is odd in a query begins with "PromQL info" or "PromQL warning".
func ofStorage(warning string) bool { return !strings.HasPrefix(warning, "PromQL ") }

// Decode reads an answer. One that says that the query failed is an [Error].
func Decode(r io.Reader) (*Answer, error) {
	var e envelope
	if err := json.NewDecoder(r).Decode(&e); err != nil {
		return nil, fmt.Errorf("not an answer of Prometheus: %w", err)
	}
	if e.Status != "success" {
		return nil, &Error{Status: e.Status, Type: e.ErrorType, Message: e.Error}
	}
	a := &Answer{
		Type: e.Data.Type, Series: e.Data.Result.series, Single: e.Data.Result.point,
		Partial:  e.Partial || slices.ContainsFunc(e.Warnings, ofStorage),
		Warnings: append(e.Warnings, e.Infos...),
	}
	switch a.Type {
	case Matrix, Vector:
		if a.Single != (Point{}) {
			return nil, fmt.Errorf("not an answer of Prometheus: a %s that is no list of series", a.Type)
		}
	case Scalar, String:
		if a.Series != nil {
			return nil, fmt.Errorf("not an answer of Prometheus: a %s that is a list of series", a.Type)
		}
	default:
		return nil, fmt.Errorf("not an answer of Prometheus: resultType %q", a.Type)
	}
	return a, nil
}
