// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package log is the sink that writes verdicts to the mapper's log by klog: anomalies as warnings, the return to
// normal as information. Import it for its side effect: it registers itself under the name "log".
package log

import (
	"context"
	"math"
	"strconv"

	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "log"

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "writes verdicts that change to the mapper's log",
		New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			if err := params.Decode(&struct{}{}, s.Options); err != nil {
				return nil, err
			}
			return &sink{last: make(map[driver.Key]driver.Severity)}, nil
		},
		Params: func() []params.Param { return nil },
	}
}

// sink remembers what it said of each stream: a heartbeat that says the same again is not worth a line.
type sink struct {
	last map[driver.Key]driver.Severity
}

func (s *sink) Start(context.Context) error    { return nil }
func (s *sink) Shutdown(context.Context) error { return nil }

func (s *sink) Write(_ context.Context, batch []driver.Result) error {
	for i := range batch {
		r := &batch[i]
		before, said := s.last[r.Key]
		s.last[r.Key] = r.Severity
		switch {
		case r.Severity.Anomalous() && r.Severity != before:
			klog.Warningf("anomaly: %s", Line(r))
		case r.Kind == driver.KindFailed:
			klog.Warningf("no verdict: %s", Line(r))
		case said && before.Anomalous() && !r.Severity.Anomalous():
			klog.Infof("anomaly over: %s", Line(r))
		}
	}
	return nil
}

// Forget drops what was said of a property that is no longer watched.
func (s *sink) Forget(key driver.Key) { delete(s.last, key) }

// Line is a verdict in one line for people: what, how bad, what was read and what was expected.
func Line(r *driver.Result) string {
	b := append([]byte(r.Key.String()), ' ')
	b = append(b, r.Severity.String()...)
	if r.Kind != driver.KindNone {
		b = append(append(b, ' '), r.Kind...)
	}
	b = appendNumber(b, " score=", r.Score)
	b = appendNumber(b, " value=", r.Value)
	b = appendNumber(b, " expected=", r.Expected)
	if !math.IsNaN(r.Lower) && !math.IsNaN(r.Upper) {
		b = appendNumber(b, " normal=", r.Lower)
		b = appendNumber(b, "…", r.Upper)
	}
	for i, c := range r.Causes {
		if i == 3 {
			break
		}
		b = append(append(b, " blamed="...), c.Key.String()...)
	}
	if r.Detector != "" {
		b = append(append(b, " detector="...), r.Detector...)
	}
	if r.Message != "" {
		b = strconv.AppendQuote(append(b, " message="...), r.Message)
	}
	return string(b)
}

func appendNumber(b []byte, name string, v float64) []byte {
	if math.IsNaN(v) {
		return b
	}
	return strconv.AppendFloat(append(b, name...), v, 'g', 4, 64)
}
