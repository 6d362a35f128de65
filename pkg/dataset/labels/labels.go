// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package labels keeps what people say that readings were, beside the readings of a directory: what is said later goes
// before what was said earlier, and nothing is taken out.
package labels

import (
	"bufio"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/jsonlines"
)

// File holds the labels of a directory, one JSON object a line, in the order in which they were said.
const File = "labels.jsonl"

// Label says of the readings of a time range what they are. A later label goes before an earlier one; a label of ""
// takes earlier ones away.
type Label struct {
	Namespace string    `json:"namespace,omitempty"` // a pattern, as the next two; "" is any
	Device    string    `json:"device,omitempty"`
	Property  string    `json:"property,omitempty"`
	From      time.Time `json:"from"` // included
	To        time.Time `json:"to"`   // not included
	Label     string    `json:"label"`

	Said     time.Time `json:"said,omitzero"` // when; the zero value where nobody noted it, as for the next three
	By       string    `json:"by,omitempty"`
	Incident string    `json:"incident,omitempty"` // that it is the answer to
	Note     string    `json:"note,omitempty"`
}

// Exactly is the pattern that matches a name and nothing else.
func Exactly(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// Match reports whether a name fits a pattern of [path.Match]; an empty one fits every name.
func Match(pattern, name string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// Of reports whether a label is of the readings of a property.
func (l *Label) Of(namespace, device, property string) bool {
	return Match(l.Device, device) && Match(l.Namespace, namespace) && Match(l.Property, property)
}

// Add appends a label to those of a directory. A recorder may be at work in it.
func Add(dir string, l Label) error {
	for _, p := range []string{l.Namespace, l.Device, l.Property} {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("label: got %q, want a name or a pattern such as light-*: %w", p, err)
		}
	}
	if !l.From.Before(l.To) {
		return fmt.Errorf("label: from %s is not before to %s", l.From.Format(time.RFC3339), l.To.Format(time.RFC3339))
	}
	if err := jsonlines.Append(filepath.Join(dir, File), 0o640, true, l); err != nil {
		return fmt.Errorf("label: %w", err)
	}
	return nil
}

// Read returns the labels of a directory in the order in which they were added. Torn lines are passed over.
func Read(dir string) (all []Label, err error) {
	err = jsonlines.Read(filepath.Join(dir, File), bufio.MaxScanTokenSize, func(l *Label) { all = append(all, *l) })
	if err != nil {
		return nil, err
	}
	return all, nil
}
