// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source/internal/instant"
)

// value is one that was found in a payload.
type value struct {
	name     string    // what it is called there; "" where the topic says
	at       time.Time // zero where it is not said
	number   float64
	text     string // where it is no number
	dataType string // "" where it is not said
	unit     string
	names    map[string]string // in the payload, of which name is made then
}

// longestText is what of a text is kept, in bytes.
const longestText = 256

// set takes what a payload has for a value: a number, or a text that the intake makes sense of.
func (v *value) set(text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		return errors.New("an empty value")
	}
	if number, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsAny(text, "xX_") {
		v.number = number
		return nil
	}
	v.text = strings.Clone(strings.ToValidUTF8(text[:min(len(text), longestText)], "\uFFFD"))
	if len(v.text) > longestText {
		v.text = strings.ToValidUTF8(v.text[:longestText], "")
	}
	return nil
}

// plain reads a payload that is a value.
func plain(payload []byte) (v value, err error) { return v, v.set(string(payload)) }

// mapper reads what mappers of KubeEdge's template publish: time is 2006-01-02 15:04:05  topic: value.
func mapper(topic string, payload []byte, zone *time.Location) (v value, err error) {
	const begin = "time is "
	rest, ok := strings.CutPrefix(string(payload), begin)
	if !ok || len(rest) < len(time.DateTime) {
		return v, fmt.Errorf("%.60q: want the like of time is %s  topic: value", payload, time.DateTime)
	}
	if v.at, err = time.ParseInLocation(time.DateTime, rest[:len(time.DateTime)], zone); err != nil {
		return v, err
	}
	rest = strings.TrimLeft(rest[len(time.DateTime):], " ")
	text, ok := strings.CutPrefix(rest, topic+": ")
	if !ok { // a bridge has changed the topic
		if _, text, ok = strings.Cut(rest, ": "); !ok {
			return v, fmt.Errorf("%.60q: want a topic, a colon and a value behind the time", payload)
		}
	}
	return v, v.set(text)
}

// twin reads what devices publish to EventBus: the values that properties have.
func twin(payload []byte) (found []value, err error) {
	var update struct {
		Timestamp json.RawMessage `json:"timestamp"`
		Twin      map[string]*struct {
			Actual *struct {
				Value    *string `json:"value"`
				Metadata *struct {
					Timestamp json.RawMessage `json:"timestamp"`
				} `json:"metadata"`
			} `json:"actual"`
			Metadata *struct {
				Type string `json:"type"`
			} `json:"metadata"`
		} `json:"twin"`
	}
	if err := json.Unmarshal(payload, &update); err != nil {
		return nil, fmt.Errorf("want a twin update: %w", err)
	}
	if update.Twin == nil {
		return nil, errors.New("want a twin update: it has no twin")
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(update.Twin)) {
		p := update.Twin[name]
		if p == nil || p.Actual == nil || p.Actual.Value == nil {
			continue // what is wanted of the device, or forgotten
		}
		v := value{name: name}
		if p.Metadata != nil {
			v.dataType = p.Metadata.Type
		}
		stamp := update.Timestamp
		if p.Actual.Metadata != nil && len(p.Actual.Metadata.Timestamp) > 0 {
			stamp = p.Actual.Metadata.Timestamp
		}
		err := v.set(*p.Actual.Value)
		if err == nil && len(stamp) > 0 && string(stamp) != "null" && string(stamp) != "0" {
			v.at, err = instant.Parse(strings.Trim(string(stamp), `"`), time.UTC)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("twin %.60q: %w", name, err))
			continue
		}
		found = append(found, v)
	}
	return found, errors.Join(errs...)
}

// path leads to a value in JSON: member.0.member; at the end, * stands for each member.
type path []string

func parsePath(text string) (path, error) {
	if text == "" {
		return nil, nil
	}
	p := strings.Split(text, ".")
	for i, step := range p {
		if step == "" || step == "*" && i < len(p)-1 {
			return nil, fmt.Errorf("%.100q: want names between dots, such as data.temp, or * at the end", text)
		}
	}
	return p, nil
}

func (p path) each() bool { return len(p) > 0 && p[len(p)-1] == "*" }

// follow returns what is there.
func (p path) follow(in any) (any, error) {
	for i, step := range p {
		switch at := in.(type) {
		case map[string]any:
			next, ok := at[step]
			if !ok {
				return nil, fmt.Errorf("nothing at %s", strings.Join(p[:i+1], "."))
			}
			in = next
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n < 0 || n >= len(at) {
				return nil, fmt.Errorf("%s: want an index below %d", strings.Join(p[:i+1], "."), len(at))
			}
			in = at[n]
		default:
			return nil, fmt.Errorf("nothing below %s", strings.Join(p[:i], "."))
		}
	}
	return in, nil
}

// fromJSON reads the values at a path, and their time.
func fromJSON(payload []byte, at, when path, zone *time.Location) (found []value, err error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, fmt.Errorf("want JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want JSON: there is something behind it")
	}
	var stamp time.Time
	if len(when) > 0 {
		raw, err := when.follow(root)
		if err != nil {
			return nil, fmt.Errorf("time: %w", err)
		}
		if stamp, err = instant.Parse(scalar(raw), zone); err != nil {
			return nil, fmt.Errorf("time: %w", err)
		}
	}
	if !at.each() {
		raw, err := at.follow(root)
		if err != nil {
			return nil, fmt.Errorf("value: %w", err)
		}
		text := scalar(raw)
		if text == "" {
			return nil, fmt.Errorf("value: %s is no number, text, true or false", strings.Join(at, "."))
		}
		v := value{at: stamp}
		if err := v.set(text); err != nil {
			return nil, fmt.Errorf("value: %w", err)
		}
		return []value{v}, nil
	}
	raw, err := at[:len(at)-1].follow(root)
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	members, ok := raw.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("value: want an object at %s", strings.Join(at[:len(at)-1], "."))
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		// What is no value, or the time, is no reading.
		if text := scalar(members[name]); text != "" && name != "" && !slices.Equal(append(slices.Clone(at[:len(at)-1]), name), when) {
			v := value{name: name, at: stamp}
			if v.set(text) == nil {
				found = append(found, v)
			}
		}
	}
	return found, nil
}

// scalar is a JSON scalar as text; "" is none.
func scalar(v any) string {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
