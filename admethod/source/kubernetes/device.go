// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/driver"
)

// device is what is known of one.
type device struct {
	id
	known    bool // there is a Device
	reports  bool // there is a DeviceStatus
	optedOut bool
	model    string
	node     string
	labels   map[string]string
	wants    map[string]*want // by property
	cycle    time.Duration    // of its state; 0 where it is not to be reported

	twins  map[string]*twin // by property
	state  string
	online time.Time // the last time that it said so; zero where it never did
	stood  *standing // of it when the program ended; nil is nothing, or looked at already
	away   time.Time // since when it is not; zero while it is
}

// want is what a Device says of a property.
type want struct {
	desired   string
	off       bool
	detection map[string]any
}

// twin is what is reported of a property.
type twin struct {
	reported string
	at       time.Time
	fresh    bool // not handed over yet
	opened   bool // something was handed over
	about    *source.Property
	observed string    // as the edge knows what is desired
	wanted   string    // what is desired of it, as it was when it began to differ
	differs  time.Time // since when it reports something else than is desired; zero while it does not
	told     told
}

// told is the finding that stands.
type told struct {
	kind     driver.Kind
	strength float64
}

// verdictSuffix is of twins that a mapper of this project writes beside a property.
const verdictSuffix = "-anomaly"

// describe takes a Device, and returns the properties that are watched no longer.
func (d *device) describe(o *v1beta1.Device) (gone []string) {
	d.known, d.optedOut, d.labels, d.model, d.node, d.cycle = true, optedOut(&o.ObjectMeta), labelled.Kept(o.Labels), "", o.Spec.NodeName, 0
	if ref := o.Spec.DeviceModelRef; ref != nil {
		d.model = ref.Name
	}
	if s := o.Spec.StateReport; s != nil && s.ReportToCloud {
		d.cycle = admethod.Cycle(s.ReportCycle, 0)
	}
	d.wants = make(map[string]*want, len(o.Spec.Properties))
	for i := range o.Spec.Properties {
		p := &o.Spec.Properties[i]
		w := &want{desired: p.Desired.Value}
		if p.PushMethod != nil && p.PushMethod.AnomalyDetection != nil {
			w.detection, w.off = detection(p.PushMethod.AnomalyDetection.Data)
		}
		d.wants[p.Name] = w
	}
	for name := range d.wants {
		if base, ok := strings.CutSuffix(name, verdictSuffix); ok && d.wants[base] != nil {
			delete(d.wants, name)
		}
	}
	d.forget()
	for _, name := range d.opened() {
		if w := d.wants[name]; d.optedOut || w == nil || w.off {
			gone = append(gone, name)
		}
	}
	return gone
}

// forget forgets what was made of the Device and its model.
func (d *device) forget() {
	for _, t := range d.twins {
		t.about = nil
	}
}

// opened are the properties of which something was handed over.
func (d *device) opened() (properties []string) {
	for name, t := range d.twins {
		if t.opened {
			properties = append(properties, name)
		}
	}
	slices.Sort(properties)
	return properties
}

// detection are the keys of anomalyDetection that are about detection, and not about the mapper; off says that there is to
// be none.
func detection(given map[string]any) (keys map[string]any, off bool) {
	keys = make(map[string]any, len(given))
	for key, value := range given {
		prefix, _, _ := strings.Cut(key, ".")
		switch {
		case key == "enabled":
			off = fmt.Sprint(value) == "false"
		case key == "adMethodName", key == "sinks", prefix == "grpc", prefix == "http", prefix == "inprocess", value == nil:
		default:
			keys[key] = value
		}
	}
	return keys, off
}

// about is what is known of a property.
func (d *device) about(w *want, m *v1beta1.ModelProperty) *source.Property {
	p := &source.Property{Model: d.model, Node: d.node, Labels: d.labels, Detection: w.detection, Lasting: true}
	if len(p.Model) > source.MaxName {
		p.Model = ""
	}
	if len(p.Node) > source.MaxName {
		p.Node = ""
	}
	if m == nil {
		return p
	}
	if p.DataType = strings.ToLower(string(m.Type)); len(m.Unit) <= source.MaxName {
		p.Unit = m.Unit
	}
	p.Minimum, p.Maximum = number(m.Minimum), number(m.Maximum)
	if p.Minimum != nil && p.Maximum != nil && !(*p.Minimum < *p.Maximum) {
		p.Minimum, p.Maximum = nil, nil // that is the model's author to mend, not a reason to be blind
	}
	return p
}

func number(text string) *float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) {
		return nil
	}
	return &v
}

// report takes a DeviceStatus.
func (d *device) report(s *v1beta1.DeviceStatusStatus, now time.Time) {
	d.reports, d.state = true, strings.ToLower(s.State)
	if at, ok := stamp(s.LastOnlineTime, now); ok {
		d.online = at
	}
	switch d.state {
	case "offline", "unhealthy":
		switch {
		case !d.away.IsZero():
		case d.stood != nil && d.stood.Away.Before(now) && !d.stood.Away.IsZero():
			d.away = d.stood.Away
		default:
			d.away = now
		}
	default:
		d.away = time.Time{}
	}
	if d.stood != nil {
		d.stood.Away = time.Time{}
	}
	for i := range s.Twins {
		reported := &s.Twins[i]
		t := d.twins[reported.PropertyName]
		if t == nil {
			t = new(twin)
			d.twins[reported.PropertyName] = t
		}
		t.observed = reported.ObservedDesired.Value
		value := reported.Reported.Value
		at, stamped := stamp(reported.Reported.Metadata["timestamp"], now)
		switch {
		case value == "": // nothing yet
		case value == t.reported && (!stamped || at.Equal(t.at)): // said before
		default:
			if !stamped || !at.After(t.at) && value != t.reported { // of the moment that it shows
				at = now
			}
			t.reported, t.at, t.fresh = value, at, true
		}
	}
}

// stamp reads a time as KubeEdge and mappers write it: milliseconds of Unix, or seconds, microseconds or nanoseconds by
// their size, or RFC 3339. One that is more than a day ahead is none.
func stamp(text string, now time.Time) (at time.Time, ok bool) {
	if text == "" {
		return at, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return at, false
		}
	case n <= 0:
		return at, false
	case n < 1e11:
		at = time.Unix(n, 0)
	case n < 1e14:
		at = time.UnixMilli(n)
	case n < 1e17:
		at = time.UnixMicro(n)
	default:
		at = time.Unix(0, n)
	}
	return at, at.Before(now.Add(24 * time.Hour))
}

// compare notes since when a property reports something else than is desired of it.
func (t *twin) compare(w *want, m *v1beta1.ModelProperty, stood differs, now time.Time) {
	desired := w.desired
	if desired == "" {
		desired = t.observed
	}
	switch {
	case desired == "", m != nil && m.AccessMode == v1beta1.ReadOnly, same(desired, t.reported):
		t.differs = time.Time{}
	case !t.differs.IsZero():
	case stood.Desired == desired && stood.Since.Before(now):
		t.differs, t.wanted = stood.Since, desired
	default:
		t.differs, t.wanted = now, desired
	}
}

// stoodOf is since when a property differed when the program ended, the first time that it is asked for.
func (d *device) stoodOf(property string) (s differs) {
	if d.stood != nil {
		s = d.stood.Differs[property]
		delete(d.stood.Differs, property)
	}
	return s
}

// same reports whether two texts say the same, as numbers or truth values where they are such.
func same(a, b string) bool {
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if a == b {
		return true
	}
	if x, y := number(a), number(b); x != nil && y != nil {
		return float32(*x) == float32(*y) // on the way to the edge, numbers become such
	}
	return strings.EqualFold(a, b) && (strings.EqualFold(a, "true") || strings.EqualFold(a, "false"))
}

// finding is what is to be told of a property beside its readings, nil where nothing of it is new.
func (w *watcher) finding(d *device, t *twin, wanted *want, now time.Time) *source.Finding {
	c := &w.source.config
	var f source.Finding
	last := func(since time.Time, limit time.Duration) bool {
		if limit <= 0 || since.IsZero() || now.Sub(since) < limit {
			return false
		}
		f.Strength = float64(now.Sub(since)) / float64(limit)
		return true
	}
	silent := time.Time{}
	if d.cycle > 0 && !d.online.IsZero() {
		silent = d.online.Add(2 * d.cycle)
	}
	switch {
	case last(d.away, c.Offline):
		f.Kind, f.Message = driver.KindMissing, fmt.Sprintf("the device is %s since %s", d.state, d.away.UTC().Format(time.RFC3339))
	case last(silent, c.Offline):
		f.Kind, f.Message = driver.KindMissing, fmt.Sprintf("the device was last online at %s", d.online.UTC().Format(time.RFC3339))
	case last(t.differs, c.Desired):
		desired := wanted.desired
		if desired == "" {
			desired = t.observed
		}
		f.Kind, f.Message = driver.KindDesired, fmt.Sprintf("%.64q is desired, and %.64q reported, since %s", desired, t.reported, t.differs.UTC().Format(time.RFC3339))
	}
	if f.Kind == t.told.kind && f.Strength < 2*t.told.strength || f.Kind == driver.KindNone && t.told.kind == driver.KindNone {
		return nil
	}
	t.told = told{f.Kind, f.Strength}
	return &f
}
