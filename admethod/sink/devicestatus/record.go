// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
)

// mostProperties of one device are told: a DeviceStatus holds 1 MiB.
const mostProperties = 256

// patience is how long a device waits before it is written whatever is worse elsewhere.
const patience = 30 * time.Second

type deviceID struct{ namespace, name string }

// entry is the latest verdict on a property.
type entry struct {
	severity driver.Severity
	kind     driver.Kind
	incident driver.Incident // that is open; the zero value is none
	verdict  *verdict        // never changed once it is set: a write under way reads it
}

// record is what is known of a device: the latest verdicts, and what of them was written.
type record struct {
	id      deviceID
	entries map[string]entry    // by property
	stale   map[string]struct{} // properties of the extension that are to go

	changes   uint64 // counts what must be told at once
	verdicts  uint64 // counts all
	told      uint64 // changes when it was last written
	heard     uint64 // verdicts when it was last written
	worst     driver.Severity
	toldWorst driver.Severity

	changed  time.Time // when the oldest change that is not told came
	tried    time.Time // when it was last written, or tried to
	after    time.Time // not before: the wait that a failure asks for
	failures int       // in a row
	refusals int       // of those, for want of permission
	writing  bool
}

// add takes a verdict and reports whether it fits.
func (d *record) add(r *driver.Result, now time.Time, in driver.Language) bool {
	before, known := d.entries[r.Key.Property]
	if !known && len(d.entries) >= mostProperties {
		return false
	}
	e := entry{verdict: newVerdict(r, in)}
	if e.severity, e.kind = incidents.Standing(r); r.Incident.Phase.Open() {
		e.incident = r.Incident
		if e.verdict.Message == nil && before.incident.ID == r.Incident.ID { // the reason stands
			e.verdict.Message = before.verdict.Message
		}
	}
	d.verdicts++
	same := known && before.severity == e.severity && before.kind == e.kind && before.incident.ID == e.incident.ID &&
		before.incident.Cause == e.incident.Cause
	if !same {
		d.change(now)
	}
	switch {
	case e.incident.ID != 0:
		e.verdict.Since = stamp(e.incident.Start)
	case same:
		e.verdict.Since = before.verdict.Since
	}
	if known && differ(before.verdict.Model, e.verdict.Model) || known && differ(before.verdict.Config, e.verdict.Config) {
		d.change(now)
	}
	d.entries[r.Key.Property] = e
	delete(d.stale, r.Key.Property)
	d.weigh()
	return true
}

func differ(a, b *string) bool { return (a == nil) != (b == nil) || a != nil && *a != *b }

// remove drops a property, from the extension too.
func (d *record) remove(property string, now time.Time) {
	if _, known := d.entries[property]; !known {
		return
	}
	delete(d.entries, property)
	if property != "" {
		d.discard(property)
	}
	d.weigh()
	d.change(now)
}

// discard marks a property of the extension that is to go.
func (d *record) discard(property string) {
	if d.stale == nil {
		d.stale = make(map[string]struct{})
	}
	d.stale[property] = struct{}{}
}

func (d *record) change(now time.Time) {
	if d.changes == d.told {
		d.changed = now
	}
	d.changes++
}

func (d *record) weigh() {
	d.worst = driver.Unknown
	for _, e := range d.entries {
		d.worst = max(d.worst, e.severity)
	}
}

// due says when the device may be written next; ok is false where there is nothing to write.
func (d *record) due(c *Config) (at time.Time, ok bool) {
	switch {
	case d.writing:
		return at, false
	case d.changes != d.told:
		at = d.tried.Add(c.Interval)
	case d.verdicts != d.heard:
		at = d.tried.Add(c.Heartbeat)
	default:
		return at, false
	}
	if d.after.After(at) {
		at = d.after
	}
	return at, true
}

// rank says how much a device that is due matters: what got worse first and the worst of it, then what changed, then
// heartbeats. What waited for long goes before all.
func (d *record) rank(now time.Time) int {
	switch {
	case d.changes == d.told:
		return 0
	case now.Sub(d.changed) > patience:
		return 3 + int(driver.Critical)
	case d.worst > d.toldWorst && d.worst.Anomalous():
		return 2 + int(d.worst)
	}
	return 1
}

// render is the merge patch that makes the extension say what is known, and nothing else.
func (d *record) render(name string, now time.Time) ([]byte, error) {
	if len(d.entries) == 0 {
		return wrap(name, nil)
	}
	e := extension{LastUpdated: now.UTC().Format(time.RFC3339), Data: data{Properties: make(map[string]*verdict, len(d.entries))}}
	var worst *entry
	for property, p := range d.entries {
		if property == "" {
			e.Data.Device = p.verdict
		} else {
			e.Data.Properties[property] = p.verdict
		}
		if worst == nil || worse(&p, worst) {
			worst = &p
		}
	}
	for property := range d.stale {
		e.Data.Properties[property] = nil
	}
	e.Data.Incidents = d.open()
	e.Data.AnomalyScore, e.Data.Confidence, e.Data.Severity = worst.verdict.Score, worst.verdict.Confidence, worst.verdict.Severity
	return wrap(name, e)
}

// open are the incidents that last, the worst first, of those the one that began first.
func (d *record) open() (all []incident) {
	for property, e := range d.entries {
		if e.incident.ID != 0 {
			all = append(all, newIncident(property, &e, d.id))
		}
	}
	slices.SortFunc(all, func(a, b incident) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), a.start.Compare(b.start), strings.Compare(a.Property, b.Property))
	})
	return all[:min(len(all), mostIncidents)]
}

func worse(a, b *entry) bool {
	if a.severity != b.severity {
		return a.severity > b.severity
	}
	return a.verdict.Score != nil && (b.verdict.Score == nil || *a.verdict.Score > *b.verdict.Score)
}
