// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/naming"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const (
	idle  = time.Hour   // series that were not sent as long make room for others
	yield = time.Minute // after which a property passes to a series that was told apart from its own before

	scopeName = "otel.scope.name" // as other formats have the name of a scope among the attributes
	deviceID  = "device.id"       // as KubeEdge's mappers write namespace and device
)

// Names make the namespace, the device and the property of a reading, from names in braces: attributes of the point, of its
// resource, {otel.scope.name}, {metric}, and what KubeEdge's mappers send: {namespace} and {device}, which are
// what is before and behind the slash in the attribute device.id, or else the attributes of those names, or else
// the namespace is "default".
type Names struct {
	Namespace string `param:"namespace" doc:"namespace of a reading, made of attributes in braces, and {metric}; {namespace} is that in device.id, or else the attribute, or else \"default\""`
	Device    string `param:"device" doc:"its device, likewise; {device} is that in device.id, or else the attribute"`
	Property  string `param:"property" doc:"its property, likewise"`
}

// DefaultNames are those of what KubeEdge's mappers push.
func DefaultNames() Names {
	return Names{Namespace: "{namespace}", Device: "{device}", Property: "{metric}"}
}

// Reader makes readings of the points of gauges and sums. It knows how far each series was read: a point that is not newer
// than the last one is passed over, as a sender repeats what was not answered. It is not safe for concurrent use.
type Reader struct {
	table labelled.Table

	// Of the point at hand.
	metric     string
	attributes []attribute
	own        int         // of them are those of the resource and the scope
	sorted     []attribute // by name, without those of the resource that the point has as well
	text       []byte
}

// attribute is one of a point, of its resource or its scope.
type attribute struct {
	name  string
	value pcommon.Value // where it is no text
	plain bool          // it is a text
	text  string
}

// append appends it as it is written: a text in quotes, so that what is told apart is written differently.
func (a *attribute) append(to []byte) []byte {
	if a.plain {
		return strconv.AppendQuote(to, a.text)
	}
	switch a.value.Type() {
	case pcommon.ValueTypeInt:
		return strconv.AppendInt(to, a.value.Int(), 10)
	case pcommon.ValueTypeBool:
		return strconv.AppendBool(to, a.value.Bool())
	case pcommon.ValueTypeDouble:
		return strconv.AppendFloat(to, a.value.Double(), 'g', -1, 64)
	}
	return append(to, a.value.AsString()...)
}

// String is the value alone.
func (a *attribute) String() string {
	if a.plain {
		return a.text
	}
	return a.value.AsString()
}

// NewReader makes a reader that knows so many series at a time.
func NewReader(n Names, series int) (*Reader, error) {
	r := &Reader{table: labelled.Table{Most: series, Idle: idle, Yield: yield}}
	var errs []error
	for _, t := range [...]struct {
		key, text string
		to        *naming.Template
	}{
		{"namespace", n.Namespace, &r.table.Names.Namespace}, {"device", n.Device, &r.table.Names.Device}, {"property", n.Property, &r.table.Names.Property},
	} {
		var err error
		if *t.to, err = naming.Parse(t.text); err != nil {
			errs = append(errs, &params.Error{Key: t.key, Value: t.text, Want: "a template: " + err.Error()})
		} else if t.text == "" {
			errs = append(errs, &params.Error{Key: t.key, Want: "required"})
		}
	}
	return r, errors.Join(errs...)
}

// Skipped is what was no reading.
type Skipped struct {
	Kinds  map[pmetric.MetricType]int // points of kinds that are no single number
	Points int                        // points of gauges and sums that make no sense

	told labelled.Complaint
}

// All is how many points were skipped.
func (s *Skipped) All() int {
	n := s.Points
	for _, of := range s.Kinds {
		n += of
	}
	return n
}

// Err says why points of gauges and sums were skipped; nil where none was.
func (s *Skipped) Err() error { return s.told.Err() }

// Add notes that a point was refused.
func (s *Skipped) Add(why error) {
	s.Points++
	s.told.Add(why.Error())
}

// String says what was skipped, for the one who sent it.
func (s *Skipped) String() string {
	var parts []string
	for _, kind := range s.kinds() {
		parts = append(parts, fmt.Sprintf("%d points of kind %s: want gauge or sum", s.Kinds[kind], kind))
	}
	if err := s.Err(); err != nil {
		parts = append(parts, fmt.Sprintf("%d points: %v", s.Points, err))
	}
	return strings.Join(parts, "; ")
}

func (s *Skipped) kinds() (all []pmetric.MetricType) {
	for kind := range s.Kinds {
		all = append(all, kind)
	}
	slices.Sort(all)
	return all
}

func (s *Skipped) skip(kind pmetric.MetricType, n int) {
	if n == 0 {
		return
	}
	if s.Kinds == nil {
		s.Kinds = make(map[pmetric.MetricType]int)
	}
	s.Kinds[kind] += n
}

// Origin is where a reading was in its metrics.
type Origin struct {
	Resource pmetric.ResourceMetrics
	Scope    pmetric.ScopeMetrics
	Metric   pmetric.Metric
	Point    pmetric.NumberDataPoint
}

// Read hands each point of a gauge or sum over that is a reading and is news, in their order. A point without a
// time is of now.
func (r *Reader) Read(m pmetric.Metrics, now time.Time, each func(source.Reading, Origin)) (skipped Skipped) {
	for _, resource := range m.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			r.attributes = r.attributes[:0]
			r.add(resource.Resource().Attributes())
			if name := scope.Scope().Name(); name != "" {
				r.attributes = append(r.attributes, attribute{name: scopeName, plain: true, text: name})
			}
			r.own = len(r.attributes)
			for _, metric := range scope.Metrics().All() {
				r.metric = metric.Name()
				for _, point := range points(metric, &skipped).All() {
					reading, err := r.reading(metric, point, now)
					switch {
					case err != nil:
						skipped.Add(err)
					case reading.Property != nil:
						each(reading, Origin{resource, scope, metric, point})
					}
				}
			}
		}
	}
	return skipped
}

// points are those of a gauge or sum; of other kinds they are counted.
func points(m pmetric.Metric, skipped *Skipped) pmetric.NumberDataPointSlice {
	n := 0
	switch kind := m.Type(); kind {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints()
	case pmetric.MetricTypeHistogram:
		n = m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		n = m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		n = m.Summary().DataPoints().Len()
	}
	skipped.skip(m.Type(), n)
	return pmetric.NewNumberDataPointSlice()
}

func (r *Reader) add(all pcommon.Map) {
	for name, value := range all.All() {
		a := attribute{name: name, value: value}
		if value.Type() == pcommon.ValueTypeStr {
			a.plain, a.text = true, value.Str()
		}
		r.attributes = append(r.attributes, a)
	}
}

// reading is the one of a point; without a property where it is none.
func (r *Reader) reading(m pmetric.Metric, p pmetric.NumberDataPoint, now time.Time) (reading source.Reading, err error) {
	value := p.DoubleValue()
	switch {
	case p.Flags().NoRecordedValue(), p.ValueType() == pmetric.NumberDataPointValueTypeEmpty:
		return reading, nil // the series has ended, or there is nothing
	case p.ValueType() == pmetric.NumberDataPointValueTypeInt:
		value = float64(p.IntValue())
	}
	at := now
	if nano := p.Timestamp(); nano > math.MaxInt64 {
		return reading, fmt.Errorf("%.300s: time_unix_nano %d: want nanoseconds since 1970", r.metric, nano)
	} else if nano != 0 {
		at = nano.AsTime()
	}
	of, err := r.find(m, p, now)
	if err != nil || !at.After(of.Last) {
		return reading, err
	}
	of.Last = at // whatever else becomes of it: the intake takes it, or the source ends
	return source.Reading{Key: of.Key, At: at, Value: value, Property: of.Property}, nil
}

// find returns the series of a point: that of its metric, its resource, its scope and its attributes.
func (r *Reader) find(m pmetric.Metric, p pmetric.NumberDataPoint, now time.Time) (*labelled.Series, error) {
	r.attributes = r.attributes[:r.own]
	r.add(p.Attributes())
	r.sort()
	r.text = append(r.text[:0], r.metric...)
	for i := range r.sorted {
		if i == 0 {
			r.text = append(r.text, '{')
		} else {
			r.text = append(r.text, ',')
		}
		r.text = append(r.text, r.sorted[i].name...)
		r.text = append(r.text, '=')
		r.text = r.sorted[i].append(r.text)
	}
	if len(r.sorted) > 0 {
		r.text = append(r.text, '}')
	}
	if of := r.table.Known(r.text, now); of != nil {
		return of, nil
	}
	return r.table.Open(string(r.text), r.meaning, func() *source.Property {
		labels := make(map[string]string, len(r.sorted))
		for i := range r.sorted {
			labels[r.sorted[i].name] = r.sorted[i].String()
		}
		unit := m.Unit()
		if len(unit) > source.MaxName {
			unit = ""
		}
		return &source.Property{Unit: unit, Labels: labelled.Kept(labels)}
	}, now)
}

// sort sorts the attributes of the point at hand.
func (r *Reader) sort() {
	r.sorted = append(r.sorted[:0], r.attributes...)
	slices.SortStableFunc(r.sorted, func(a, b attribute) int { return strings.Compare(a.name, b.name) })
	left := r.sorted[:0]
	for i := range r.sorted {
		if i+1 < len(r.sorted) && r.sorted[i].name == r.sorted[i+1].name {
			continue // that of the point is behind it
		}
		left = append(left, r.sorted[i])
	}
	r.sorted = left
}

// meaning is what a name in a template means at the point at hand; "" for nothing.
func (r *Reader) meaning(name string) string {
	switch name {
	case "namespace", "device":
		if id := r.attribute(deviceID); id != "" {
			namespace, device, both := strings.Cut(id, "/")
			switch {
			case name == "device" && both:
				return device
			case name == "device":
				return id
			case both:
				return namespace
			}
		}
		if value := r.attribute(name); value != "" || name == "device" {
			return value
		}
		return "default"
	case "metric":
		if value := r.attribute(name); value != "" {
			return value
		}
		return r.metric
	}
	return r.attribute(name)
}

func (r *Reader) attribute(name string) string {
	for i := range r.sorted {
		if r.sorted[i].name == name {
			return r.sorted[i].String()
		}
	}
	return ""
}
