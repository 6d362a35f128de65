// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package devices keeps what is known of devices, their labels, beside the readings of a directory, so that readings can be
// chosen by them later. What was said of a device last counts.
package devices

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/jsonlines"
)

// File holds the devices of a directory, one JSON object a line, in the order in which they were said.
const File = "devices.jsonl"

// Most is how many devices are kept of a directory; others are as those of which nothing is known.
const Most = 100_000

const longestLine = 1 << 20

// Device is what is known of one.
type Device struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"device"`
	Labels    map[string]string `json:"labels"`
}

type id struct{ namespace, name string }

// Labels are those of the devices of a directory.
type Labels struct {
	of    map[id]map[string]string
	lines int // of the file
}

// Read reads those of a directory. Torn lines are passed over.
func Read(dir string) (*Labels, error) {
	l := &Labels{of: make(map[id]map[string]string)}
	err := jsonlines.Read(filepath.Join(dir, File), longestLine, func(d *Device) {
		l.lines++
		l.set(*d)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// set reports whether that is news.
func (l *Labels) set(d Device) bool {
	k := id{d.Namespace, d.Name}
	old, known := l.of[k]
	if known && maps.Equal(old, d.Labels) || !known && len(l.of) >= Most {
		return false
	}
	l.of[k] = d.Labels
	return true
}

// Of are the labels of a device; nil where nothing is known of it.
func (l *Labels) Of(namespace, name string) map[string]string { return l.of[id{namespace, name}] }

// Match reports whether a device has all of the labels, each by a pattern of [path.Match].
func (l *Labels) Match(namespace, name string, wanted map[string]string) bool {
	has := l.Of(namespace, name)
	for label, pattern := range wanted {
		value, ok := has[label]
		if !ok {
			return false
		}
		if fits, err := path.Match(pattern, value); err != nil || !fits {
			return false
		}
	}
	return true
}

// Book is the file of a directory, for one who writes it.
type Book struct {
	path   string
	labels *Labels
	news   []Device
}

// Open opens that of a directory.
func Open(dir string) (*Book, error) {
	l, err := Read(dir)
	if err != nil {
		return nil, err
	}
	return &Book{path: filepath.Join(dir, File), labels: l}, nil
}

// Note notes what is known of a device; Save writes it. It keeps the labels, which must not change.
func (b *Book) Note(d Device) {
	if b.labels.set(d) {
		b.news = append(b.news, d)
	}
}

// Save writes what is new. The file is made anew where most of it is old.
func (b *Book) Save() error {
	if len(b.news) == 0 {
		return nil
	}
	write := b.add
	if b.labels.lines+len(b.news) > 2*len(b.labels.of)+1000 {
		write = b.compact
	}
	if err := write(); err != nil {
		return fmt.Errorf("labels of devices: %w", err)
	}
	b.news = nil
	return nil
}

func (b *Book) add() error {
	if err := jsonlines.Append(b.path, 0o640, false, b.news...); err != nil {
		return err
	}
	b.labels.lines += len(b.news)
	return nil
}

func (b *Book) compact() error {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	for k, labels := range b.labels.of {
		if err := lines.Encode(Device{k.namespace, k.name, labels}); err != nil {
			return err
		}
	}
	b.labels.lines = len(b.labels.of)
	return atomicfile.WriteBytes(b.path, 0o640, text.Bytes())
}
