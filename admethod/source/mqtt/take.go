// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// idle is how long what nothing comes of is known, once room is needed for others.
const idle = time.Hour

// reader makes readings of messages. It is used by one goroutine.
type reader struct {
	config    *Config
	topics    []*Topic
	zone      *time.Location
	sparkplug sparkplug

	routes map[string]*route // by topic
	known  int               // routes and their targets
}

// route is what there is to know of a topic.
type route struct {
	of      *Topic // nil for one that is nobody's
	names   map[string]string
	origin  origin             // of Sparkplug B
	targets map[string]*target // by the name that a payload has
	used    time.Time
}

// target is where a value goes.
type target struct {
	key      driver.Key
	property *source.Property
	last     time.Time
}

// message is what is read of one.
type message struct {
	topic    string
	payload  []byte
	retained bool
	came     time.Time
}

// read adds the readings of a message. birth is the edge node to ask for its birth certificates, "" for none. An error
// names the topic; what was readable in the message is there all the same.
func (r *reader) read(m *message, readings []source.Reading) (all []source.Reading, birth string, err error) {
	if len(m.payload) == 0 { // what was kept is deleted
		return readings, "", nil
	}
	if m.retained && !r.config.Retained {
		return readings, "", nil
	}
	if len(m.payload) > r.config.MaxPayload {
		return readings, "", fmt.Errorf("topic %.200q: a message of %d bytes: the key maxPayload allows %d", m.topic, len(m.payload), r.config.MaxPayload)
	}
	of, err := r.route(m)
	if err != nil || of.of == nil {
		return readings, "", err
	}
	var found []value
	var errs []error
	switch of.of.Payload {
	case formPlain:
		v, err := plain(m.payload)
		found, errs = append(found, v), append(errs, err)
	case formMapper:
		v, err := mapper(m.topic, m.payload, r.zone)
		found, errs = append(found, v), append(errs, err)
	case formText:
		found, err = of.of.text.read(m.payload, r.zone)
		errs = append(errs, err)
	case formTwin:
		found, err = twin(m.payload)
		errs = append(errs, err)
	case formJSON:
		found, err = fromJSON(m.payload, of.of.value, of.of.time, r.zone)
		errs = append(errs, err)
	case formSparkplug:
		var rebirth bool
		if found, rebirth, err = r.sparkplug.decode(&of.origin, m.payload, m.came); rebirth {
			birth = of.origin.id()
		}
		errs = append(errs, err)
	}
	single := of.of.Payload == formPlain || of.of.Payload == formMapper
	if single && errs[0] != nil {
		found = nil
	}
	for i := range found {
		reading, err := r.reading(of, m, &found[i])
		if err != nil {
			errs = append(errs, err)
		} else if reading.Key != (driver.Key{}) {
			readings = append(readings, reading)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return readings, birth, fmt.Errorf("topic %.200q: %w", m.topic, err)
	}
	return readings, birth, nil
}

// reading is that of a value; one without a key is passed over.
func (r *reader) reading(of *route, m *message, v *value) (source.Reading, error) {
	to := of.targets[v.name]
	if to == nil {
		var err error
		if to, err = r.target(of, v); err != nil {
			return source.Reading{}, err
		}
	}
	if p := to.property; p == nil || v.dataType != "" && p.DataType != v.dataType || v.unit != "" && p.Unit != v.unit {
		to.property = r.property(of, to, v)
	}
	at := v.at
	if at.IsZero() {
		if at = m.came; !at.After(to.last) { // of one turn
			at = to.last.Add(time.Microsecond)
		}
	}
	if m.retained && (v.at.IsZero() || !v.at.After(to.last)) {
		return source.Reading{}, nil // of nobody knows when, or known
	}
	to.last = at
	return source.Reading{Key: to.key, At: at, Value: v.number, Text: v.text, Property: to.property}, nil
}

// property is what is known of one: what it said last, and the names in its topic.
func (r *reader) property(of *route, to *target, v *value) *source.Property {
	p := &source.Property{DataType: v.dataType, Unit: v.unit}
	if to.property != nil {
		*p = *to.property
		if v.dataType != "" {
			p.DataType = v.dataType
		}
		if v.unit != "" {
			p.Unit = v.unit
		}
		return p
	}
	for name, text := range of.names {
		if len(name)+len(text) <= source.MaxLabel && len(p.Labels) < source.MaxLabels {
			if p.Labels == nil {
				p.Labels = make(map[string]string)
			}
			p.Labels[name] = text
		}
	}
	return p
}

// route finds out what a topic is, once.
func (r *reader) route(m *message) (*route, error) {
	if of := r.routes[m.topic]; of != nil {
		of.used = m.came
		return of, nil
	}
	of := &route{used: m.came}
	for _, t := range r.topics {
		if names, ok := t.pattern.match(m.topic); ok {
			of.of, of.names = t, names
			break
		}
	}
	if of.of == nil {
		return of, nil // a level lacks what a name has around it
	}
	if of.of.Payload == formSparkplug {
		if !of.origin.parse(m.topic) {
			return &route{}, nil
		}
		device := of.origin.node
		if of.origin.device != "" {
			device += "." + of.origin.device
		}
		of.names = map[string]string{"group": of.origin.group, "node": of.origin.node, "device": device}
		if of.origin.device != "" {
			of.names["id"] = of.origin.device
		}
	}
	if err := r.room(m.came); err != nil {
		return nil, fmt.Errorf("topic %.200q: %w", m.topic, err)
	}
	of.targets = make(map[string]*target)
	r.routes[m.topic] = of
	r.known++
	return of, nil
}

// target finds out where a value goes, once.
func (r *reader) target(of *route, v *value) (*target, error) {
	meaning := func(name string) string {
		if text, ok := v.names[name]; ok {
			return text
		}
		switch name {
		case "property", "key":
			if v.name != "" {
				return v.name
			}
		}
		return of.names[name]
	}
	to := new(target)
	var errs [3]error
	to.key.Namespace, errs[0] = of.of.Namespace.Expand(meaning)
	to.key.Device, errs[1] = of.of.Device.Expand(meaning)
	to.key.Property, errs[2] = of.of.Property.Expand(meaning)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if err := r.room(of.used); err != nil {
		return nil, fmt.Errorf("%s: %w", to.key, err)
	}
	of.targets[v.name] = to
	r.known++
	return to, nil
}

// room makes room for one more.
func (r *reader) room(now time.Time) error {
	if r.known < r.config.Series {
		return nil
	}
	maps.DeleteFunc(r.routes, func(_ string, of *route) bool {
		gone := now.Sub(of.used) > idle
		if gone {
			r.known -= 1 + len(of.targets)
		}
		return gone
	})
	if r.known < r.config.Series {
		return nil
	}
	return fmt.Errorf("more topics and properties than the key series allows, %d", r.config.Series)
}
