// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/restful-light-mapper/verdictlog"
)

// stream is a property that is judged.
type stream struct{ device, property string }

func (s stream) String() string {
	if s.property == "" {
		return s.device
	}
	return s.device + " " + s.property
}

// calmReadings are normal readings in a row after which an incident is over.
const calmReadings = 60

// incident is what happened to a stream.
type incident struct {
	stream   stream
	line     verdictlog.Line
	over     bool // the stream is normal again
	baseless bool // nothing was wrong with the stream
}

// watch follows the verdicts of the mapper: it knows how each stream is, sees the alarms that faults raise, and those
// that are raised while nothing is wrong.
type watch struct {
	onIncident func(incident)
	onEnd      func(told)

	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each verdict
	streams map[stream]*judged
	told    []told            // incidents that ended
	alarms  []verdictlog.Line // raised while nothing was wrong, one for each incident
	err     error             // verdicts that cannot be trusted
	moving  bool              // properties are on their way to another detector: that they are not judged is no failure
}

// judged is what is known of one stream.
type judged struct {
	readings   int // that a detector has judged
	calm       int // of them, normal ones in a row
	severities map[string]driver.Severity
	incident   bool
	last       verdictlog.Line // of a detector, or of the quality stage if that is anomalous
	accused    []string        // devices that the incident is blamed on, as it was told last
	reason     string          // the last that was given for the open one

	disturbed bool      // something may be wrong with the stream
	from      time.Time // the readings from here on count towards the fault
	until     time.Time // the readings from here on must be normal again
	count     int       // readings judged since from
	alarm     *verdictlog.Line
	after     int // readings up to the alarm
	lapses    int // normal verdicts after the alarm, while the stream is disturbed
}

func newWatch(onIncident func(incident)) *watch {
	return &watch{onIncident: onIncident, onEnd: func(told) {}, changed: make(chan struct{}), streams: make(map[stream]*judged)}
}

func (w *watch) of(s stream) *judged {
	j := w.streams[s]
	if j == nil {
		j = &judged{severities: make(map[string]driver.Severity)}
		w.streams[s] = j
	}
	return j
}

// take reads one line of the mapper's verdicts.
func (w *watch) take(raw []byte) {
	var l verdictlog.Line
	err := json.Unmarshal(raw, &l)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.fail(fmt.Errorf("verdict %.120q: %w", raw, err))
	case l.Lost > 0:
		w.fail(fmt.Errorf("%d verdicts were lost on their way", l.Lost))
	case l.Kind == driver.KindFailed && w.moving:
	case l.Kind == driver.KindFailed:
		w.fail(fmt.Errorf("%s/%s is not watched: %s", l.Device, l.Property, l.Message))
	default:
		w.judge(stream{l.Device, l.Property}, l)
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watch) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *watch) judge(s stream, l verdictlog.Line) {
	j := w.of(s)
	w.follow(s, j, l)
	j.severities[l.Detector] = l.Severity
	if l.Detector != driver.QualityStage || l.Severity.Anomalous() {
		j.last = l
	}
	if l.Detector != driver.QualityStage {
		j.readings++
		if !l.At.Before(j.from) {
			j.count++
		}
		if l.Severity == driver.Normal {
			j.calm++
			if j.disturbed && j.alarm != nil {
				j.lapses++
			}
		} else {
			j.calm = 0
		}
	}
	if l.Severity.Anomalous() {
		j.calm = 0
		w.alarm(s, j, l)
		return
	}
	if j.incident && j.isCalm() {
		j.incident = false
		w.onIncident(incident{stream: s, line: l, over: true})
	}
}

// follow keeps the incidents that the mapper told of, as they end.
func (w *watch) follow(s stream, j *judged, l verdictlog.Line) {
	i := l.Incident
	switch {
	case i == nil:
	case i.End == nil:
		if l.Message != "" {
			j.reason = l.Message
		}
	default:
		t := told{stream: s, incident: *i, reason: j.reason}
		j.reason = ""
		w.told = append(w.told, t)
		w.onEnd(t)
	}
}

// told is an incident that ended.
type told struct {
	stream   stream
	incident verdict.Incident
	reason   string // the last that was given
}

// String is the incident in one line: what, of which property, how long, how it ended, who is blamed, and why.
func (t told) String() string {
	text := fmt.Sprintf("%v: %v %s, lasted %s, %v", t.stream, t.incident.Severity, t.incident.Kind,
		incidents.Lasted(time.Duration(t.incident.Duration*float64(time.Second)), driver.English), t.incident.Phase)
	if c := t.incident.Cause; c != nil {
		text += ", blamed: " + c.Device
	}
	if t.reason != "" {
		text += ": " + t.reason
	}
	return text
}

// ended are the incidents that ended, in that order.
func (w *watch) ended() []told {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

func (w *watch) alarm(s stream, j *judged, l verdictlog.Line) {
	expected := j.disturbed && !l.At.Before(j.from) || l.At.Before(j.until)
	if expected && j.disturbed && j.alarm == nil {
		j.alarm, j.after = &l, j.count
	}
	accused := accusedBy(l)
	if j.incident && slices.Equal(j.accused, accused) {
		return
	}
	began := !j.incident
	j.incident, j.accused = true, accused
	if began && !expected {
		w.alarms = append(w.alarms, l)
	}
	w.onIncident(incident{stream: s, line: l, baseless: !expected})
}

func (j *judged) isCalm() bool {
	if j.calm < calmReadings {
		return false
	}
	for _, severity := range j.severities {
		if severity != driver.Normal {
			return false
		}
	}
	return true
}

// disturb says that something is wrong with streams from now on: alarms on them are no false ones.
func (w *watch) disturb(streams ...stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range streams {
		j := w.of(s)
		j.disturbed, j.from, j.count, j.alarm, j.lapses = true, time.Now(), 0, nil, 0
	}
}

// settled says that streams are as they should be again. An alarm on them is a false one from now on.
func (w *watch) settled(streams ...stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range streams {
		j := w.of(s)
		j.disturbed, j.until = false, time.Now()
	}
}

// raised returns the first alarm on any of the streams since disturb, and after how many readings it came.
func (w *watch) raised(streams ...stream) (alarm *verdictlog.Line, readings int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range streams {
		j := w.of(s)
		if j.alarm != nil && (alarm == nil || j.alarm.At.Before(alarm.At)) {
			alarm, readings = j.alarm, j.after
		}
	}
	return alarm, readings
}

// blamed are the devices, sorted, that the latest verdicts on any of the streams blame.
func (w *watch) blamed(streams ...stream) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var devices []string
	for _, s := range streams {
		if l := w.of(s).last; l.Severity.Anomalous() {
			devices = append(devices, accusedBy(l)...)
		}
	}
	slices.Sort(devices)
	return slices.Compact(devices)
}

// accusedBy are the devices, sorted, that a verdict blames: its own one, unless it names others.
func accusedBy(l verdictlog.Line) []string {
	if len(l.Causes) == 0 {
		return []string{l.Device}
	}
	var devices []string
	for _, c := range l.Causes {
		devices = append(devices, c.Device)
	}
	slices.Sort(devices)
	return slices.Compact(devices)
}

// falseAlarms are those raised while nothing was wrong.
func (w *watch) falseAlarms() []verdictlog.Line {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.alarms)
}

// calm reports whether all the streams have been normal for a while.
func (w *watch) calm(streams ...stream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(streams, func(s stream) bool { return !w.of(s).isCalm() })
}

// readings is how many readings of a stream a detector has judged.
func (w *watch) readings(s stream) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of(s).readings
}

var errTimeout = errors.New("it took too long")

// wait returns when cond is true, which it asks after each verdict and 20 times a second. The error wraps errTimeout
// after limit.
func (w *watch) wait(ctx context.Context, limit time.Duration, cond func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		w.mu.Lock()
		changed, err := w.changed, w.err
		w.mu.Unlock()
		if err != nil {
			return err
		}
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
