// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package labelled knows which property each series of an origin is that tells them by labels, and how far it was read.
package labelled

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/naming"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

// Names make the parts of a key from the labels of a series, and from {metric}.
type Names struct {
	Namespace naming.Template `param:"namespace" doc:"namespace of a reading, made of labels of its series in braces, and {metric}"`
	Device    naming.Template `param:"device" doc:"its device, likewise"`
	Property  naming.Template `param:"property" doc:"its property, likewise"`
	Predicted naming.Template `param:"predicted" doc:"name of a metric by which the sink metrics shows what is expected, with the labels of the series, likewise, such as {metric}_predicted; empty: none"`
}

// DefaultNames are the instance and the metric, in the namespace default.
func DefaultNames() Names {
	template := func(text string) naming.Template {
		t, err := naming.Parse(text)
		if err != nil {
			panic(err) // of this package's own
		}
		return t
	}
	return Names{Namespace: template("default"), Device: template("{instance}"), Property: template("{metric}")}
}

// Validate says what is wrong with the names.
func (n *Names) Validate() error {
	if text := n.Predicted.String(); text != "" && n.Predicted.Names() == nil && !promapi.MetricName(text) {
		return &params.Error{Key: "predicted", Value: text, Want: "the name of a metric: letters, digits, _ and :"}
	}
	return nil
}

// Series is one of them.
type Series struct {
	Labels   string
	Key      driver.Key
	Property *source.Property // nil until it is found
	Last     time.Time        // of the samples that were handed over

	used time.Time // when it was last asked for
}

// Table knows series. It is not safe for concurrent use.
type Table struct {
	Names Names
	Most  int           // series that are known at once
	Cycle time.Duration // of all of them; 0 where it is not known
	Idle  time.Duration // series that nobody asked for as long make room for others
	// Yield, where it is not 0, has a series that is new take over the property of another one, as after a restart of what
	// sends it under other labels. One that comes back, or is asked for at the same time, takes it over only when nobody has
	// asked for the other one for as long.
	Yield time.Duration

	swept  time.Time          // when it last looked for series that have ended
	series map[string]*Series // by labels
	owners map[driver.Key]*Series
}

// All are the series that are known.
func (t *Table) All() map[string]*Series { return t.series }

// Know notes how far a series was read.
func (t *Table) Know(labels string, last time.Time) {
	if len(t.series) < t.Most {
		t.add(&Series{Labels: labels, Last: last, used: last})
	}
}

func (t *Table) add(s *Series) {
	if t.series == nil {
		t.series, t.owners = make(map[string]*Series), make(map[driver.Key]*Series)
	}
	t.series[s.Labels] = s
}

// sweepEach is the time from one look for series that have ended to the next: of those that find no room there may be any
// number.
const sweepEach = time.Second

// longest bounds what is kept of the labels of a series, in bytes.
const longest = 8192

// Known returns a series that Open or Find returned before, by its labels; nil where there is none.
func (t *Table) Known(labels []byte, now time.Time) *Series {
	of := t.series[string(labels)]
	if of == nil || of.Property == nil {
		return nil
	}
	of.used = now
	return of
}

// Find returns the series of labels, at a time. The error names them: there is no room for it, its labels do not make a
// key, or another series has that key. about is what is known of its property beside the labels.
func (t *Table) Find(labels promapi.Labels, metric string, about source.Property, now time.Time) (*Series, error) {
	text := labels.String()
	if of := t.series[text]; of != nil {
		if of.used = now; of.Property != nil {
			return of, nil
		}
	}
	return t.Open(text, func(name string) string {
		if value := labels[name]; value != "" || name != "metric" {
			return value
		}
		return metric
	}, func() *source.Property {
		about.Labels, about.Cycle = Kept(labels), t.Cycle
		return &about
	}, now)
}

// Open returns the series of labels that was not known, by what the names in the templates mean and what is known of its
// property. Errors are those of Find.
func (t *Table) Open(text string, meaning func(name string) string, property func() *source.Property, now time.Time) (*Series, error) {
	of, known := t.series[text]
	if !known {
		if len(text) > longest {
			return nil, fmt.Errorf("%.300s: labels of %d bytes: want at most %d", text, len(text), longest)
		}
		if len(t.series) >= t.Most && now.Sub(t.swept) >= sweepEach {
			t.swept = now
			t.forget(now)
		}
		if len(t.series) >= t.Most {
			return nil, fmt.Errorf("%.300s: more series than the key series allows, %d", text, t.Most)
		}
		of = &Series{Labels: text, used: now}
	}
	var err error
	for _, part := range []struct {
		to   *string
		name string
		of   *naming.Template
	}{
		{&of.Key.Namespace, "namespace", &t.Names.Namespace}, {&of.Key.Device, "device", &t.Names.Device}, {&of.Key.Property, "property", &t.Names.Property},
	} {
		if *part.to, err = part.of.Expand(meaning); err != nil {
			return nil, fmt.Errorf("%.300s: %s: %w", text, part.name, err)
		}
	}
	if other := t.owners[of.Key]; other != nil && other != of {
		if t.Yield == 0 || (known || !now.After(other.used)) && now.Sub(other.used) < t.Yield {
			return nil, fmt.Errorf("%.300s is %s, and so is %.300s: want templates that tell them apart, or one of them only", text, of.Key, other.Labels)
		}
		other.Property = nil
		if other.Last.After(of.Last) {
			of.Last = other.Last
		}
	}
	about := property()
	if t.Names.Predicted.String() != "" {
		name, err := t.Names.Predicted.Expand(meaning)
		if err != nil {
			return nil, fmt.Errorf("%.300s: predicted: %w", text, err)
		}
		about.Predicted = metricName(name)
	}
	of.Property, of.used = about, now
	t.add(of)
	t.owners[of.Key] = of
	return of, nil
}

// Kept are the labels of a series, or of a device, that an intake takes: as many as may be, in order of their names.
func Kept(all map[string]string) map[string]string {
	out := make(map[string]string, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if value := all[name]; name != "__name__" && len(name)+len(value) <= source.MaxLabel && len(out) < source.MaxLabels {
			out[name] = value
		}
	}
	return out
}

// metricName makes the name of a metric of what labels say.
func metricName(text string) string {
	name := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && promapi.MetricName("_"+string(r)) {
			return r
		}
		return '_'
	}, text)
	if !promapi.MetricName(name) {
		name = "_" + name
	}
	return name[:min(len(name), source.MaxName)]
}

// forget forgets series that have ended.
func (t *Table) forget(now time.Time) {
	for labels, s := range t.series {
		if now.Sub(s.used) > t.Idle {
			delete(t.series, labels)
			if t.owners[s.Key] == s {
				delete(t.owners, s.Key)
			}
		}
	}
}
