// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/instant"
)

// Reader makes readings of messages without a broker.
type Reader struct{ r *reader }

// NewReader makes one of a source.
func NewReader(s *Source) Reader { return Reader{&s.reader} }

// Read is the readings of a message that came at a time.
func (r Reader) Read(topic, payload string, retained bool, came time.Time) (all []source.Reading, birth string, err error) {
	return r.r.read(&message{topic: topic, payload: []byte(payload), retained: retained, came: came}, nil)
}

// Known is how many topics and properties are known, and metrics of Sparkplug B.
func (r Reader) Known() (series, metrics int) { return r.r.known, r.r.sparkplug.known }

// Match is what the names in a pattern stand for in a topic; nil where it is not of the pattern.
func Match(pattern, topic string) (names map[string]string, filter string, err error) {
	p, err := parsePattern(pattern)
	if err != nil {
		return nil, "", err
	}
	names, ok := p.match(topic)
	if !ok {
		names = nil
	}
	return names, p.filter(), nil
}

// Overlap reports whether a topic may be of both patterns.
func Overlap(a, b string) bool {
	p, _ := parsePattern(a)
	q, _ := parsePattern(b)
	return overlap(&p, &q)
}

// Instant reads a time.
var Instant = instant.Parse

// Append adds the readings of a message.
func (r Reader) Append(all []source.Reading, topic string, payload []byte, came time.Time) ([]source.Reading, error) {
	all, _, err := r.r.read(&message{topic: topic, payload: payload, came: came}, all)
	return all, err
}
