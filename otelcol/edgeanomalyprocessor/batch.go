// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgeanomalyprocessor

import (
	"context"
	"math"
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Scope is that of the metrics with verdicts.
const Scope = "github.com/kubeedge/edge-anomaly/otelcol/edgeanomalyprocessor"

// What verdicts are called: metrics, or attributes of the points.
const (
	Score    = "anomaly.score"    // 0 to 1: how unusual
	Severity = "anomaly.severity" // 0 unknown, 1 normal, 2 warning, 3 critical; as an attribute its name
	Expected = "anomaly.expected"
	Lower    = "anomaly.lower" // bounds of what was expected
	Upper    = "anomaly.upper"
	Kind     = "anomaly.kind"   // attribute: what is unusual, such as jump or drift
	Metric   = "anomaly.metric" // attribute of the metrics above: what was judged
)

// batch waits for the verdicts on the points of one request.
type batch struct {
	verdicts []verdict // each is written by one answer
	left     atomic.Int64
	done     chan struct{}
}

// Answer keeps the verdict on a point.
func (b *batch) Answer(token uint64, r *driver.Result) {
	if v := &b.verdicts[token]; r != nil {
		v.have = true
		v.Severity, v.Score, v.Kind, v.Expected, v.Lower, v.Upper = r.Severity, r.Score, r.Kind, r.Expected, r.Lower, r.Upper
	}
	b.leave(1)
}

func (b *batch) leave(n int64) {
	if b.left.Add(-n) == 0 {
		close(b.done)
	}
}

// wait waits for all verdicts. It always ends, as a reading is answered within the deadline.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write puts the verdicts where they are to stand.
func (b *batch) write(to Output) {
	if to == Attributes {
		for i := range b.verdicts {
			b.verdicts[i].mark()
		}
		return
	}
	var of *gauges
	for i := range b.verdicts {
		v := &b.verdicts[i]
		if !v.have {
			continue
		}
		if of == nil || of.resource != v.of.Resource {
			of = newGauges(v.of.Resource)
		}
		of.add(v)
	}
}

// mark writes the verdict into the attributes of its point.
func (v *verdict) mark() {
	if !v.have {
		return
	}
	a := v.of.Point.Attributes()
	a.PutStr(Severity, v.Severity.String())
	if v.Kind != driver.KindNone {
		a.PutStr(Kind, string(v.Kind))
	}
	for name, value := range v.numbers {
		a.PutDouble(name, value)
	}
}

// numbers are those of a verdict, in order; those that it does not have are left out.
func (v *verdict) numbers(yield func(string, float64) bool) {
	for _, n := range [...]struct {
		name  string
		value float64
	}{{Score, v.Score}, {Expected, v.Expected}, {Lower, v.Lower}, {Upper, v.Upper}} {
		if !math.IsNaN(n.value) && !yield(n.name, n.value) {
			return
		}
	}
}

// gauges are the metrics with verdicts of one resource.
type gauges struct {
	resource pmetric.ResourceMetrics
	scope    pmetric.ScopeMetrics
	points   map[string]pmetric.NumberDataPointSlice
}

func newGauges(resource pmetric.ResourceMetrics) *gauges {
	g := &gauges{resource: resource, scope: resource.ScopeMetrics().AppendEmpty(), points: make(map[string]pmetric.NumberDataPointSlice)}
	g.scope.Scope().SetName(Scope)
	return g
}

func (g *gauges) add(v *verdict) {
	g.point(v, Severity, "").SetIntValue(int64(v.Severity))
	for name, value := range v.numbers {
		unit := v.of.Metric.Unit()
		if name == Score {
			unit = "1"
		}
		g.point(v, name, unit).SetDoubleValue(value)
	}
}

// point is a new one of a metric, with the time and the attributes of what was judged. Those of other units are
// metrics of their own.
func (g *gauges) point(v *verdict, name, unit string) pmetric.NumberDataPoint {
	points, ok := g.points[name+"\x00"+unit]
	if !ok {
		m := g.scope.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit(unit)
		points = m.SetEmptyGauge().DataPoints()
		g.points[name+"\x00"+unit] = points
	}
	p := points.AppendEmpty()
	v.of.Point.Attributes().CopyTo(p.Attributes())
	p.Attributes().PutStr(Metric, v.of.Metric.Name())
	p.SetTimestamp(v.of.Point.Timestamp())
	if p.Timestamp() == 0 {
		p.SetTimestamp(pcommon.NewTimestampFromTime(v.at))
	}
	return p
}
