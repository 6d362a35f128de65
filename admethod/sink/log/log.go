// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package log is the sink that writes incidents to the mapper's log by klog: a warning when one begins, with the reason,
// and a line when it ends, with how long it lasted and how it ended. Import it for its side effect: it registers itself under the name "log".
package log

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "log"

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "writes the beginning and the end of incidents to the mapper's log",
		New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			if err := params.Decode(&struct{}{}, s.Options); err != nil {
				return nil, err
			}
			return &sink{book: incidents.NewBook(mostProperties), failed: make(map[driver.Key]struct{})}, nil
		},
		Params: func() []params.Param { return nil },
	}
}

// mostProperties are remembered; verdicts on more are not told apart from news.
const mostProperties = 100_000

type sink struct {
	book   *incidents.Book
	failed map[driver.Key]struct{} // properties of which it was said that nothing judges them
}

func (s *sink) Start(context.Context) error    { return nil }
func (s *sink) Shutdown(context.Context) error { return nil }

func (s *sink) Write(_ context.Context, batch []driver.Result) error {
	for i := range batch {
		r := &batch[i]
		news := s.book.Take(r)
		if news.Ended.ID != 0 {
			logs.Infof("anomaly ended: %s, incident %s", incidents.Summary(r.Key, &news.Ended, driver.English), verdict.ID(news.Ended.ID))
		}
		if news.Began {
			logs.Warningf("anomaly: %s, incident %s", Line(r), verdict.ID(news.Now.ID))
		}
		s.fails(r)
	}
	return nil
}

// fails says once that a property is not judged, until it is again.
func (s *sink) fails(r *driver.Result) {
	if r.Kind != driver.KindFailed {
		delete(s.failed, r.Key)
	} else if _, said := s.failed[r.Key]; !said {
		if len(s.failed) < mostProperties {
			s.failed[r.Key] = struct{}{}
		}
		logs.Warningf("no verdict: %s", Line(r))
	}
}

// Forget drops a property that is no longer watched, and says that its incident is not followed any more.
func (s *sink) Forget(key driver.Key) {
	delete(s.failed, key)
	if i := s.book.Forget(key, time.Now()); i.ID != 0 {
		logs.Infof("anomaly ended: %s, incident %s", incidents.Summary(key, &i, driver.English), verdict.ID(i.ID))
	}
}

// Line is a verdict in one line for people: what, how bad, what was read and what was expected. Names that could pass for
// more than one word are quoted.
func Line(r *driver.Result) string {
	b := append(appendKey(nil, r.Key), ' ')
	b = append(b, r.Severity.String()...)
	if r.Kind != driver.KindNone {
		b = append(append(b, ' '), logs.Name(string(r.Kind))...)
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
		b = appendKey(append(b, " blamed="...), c.Key)
	}
	if r.Detector != "" {
		b = append(append(b, " detector="...), logs.Name(r.Detector)...)
	}
	if r.Message != "" {
		b = strconv.AppendQuote(append(b, " message="...), r.Message)
	}
	return string(b)
}

func appendKey(b []byte, k driver.Key) []byte {
	b = append(append(append(b, logs.Name(k.Namespace)...), '/'), logs.Name(k.Device)...)
	if k.Property != "" {
		b = append(append(b, '/'), logs.Name(k.Property)...)
	}
	return b
}

func appendNumber(b []byte, name string, v float64) []byte {
	if math.IsNaN(v) {
		return b
	}
	return strconv.AppendFloat(append(b, name...), v, 'g', 4, 64)
}
