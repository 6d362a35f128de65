// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package labels keeps what people say that readings were, beside the readings of a directory: what is said later goes
// before what was said earlier, and nothing is taken out.
package labels

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
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
func Add(dir string, l Label) (err error) {
	for _, p := range []string{l.Namespace, l.Device, l.Property} {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("label: got %q, want a name or a pattern such as light-*: %w", p, err)
		}
	}
	if !l.From.Before(l.To) {
		return fmt.Errorf("label: from %s is not before to %s", l.From.Format(time.RFC3339), l.To.Format(time.RFC3339))
	}
	line, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("label: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// The line break comes first too: it ends a line that was torn by a crash.
	if _, err := f.Write(append(append([]byte{'\n'}, line...), '\n')); err != nil {
		return fmt.Errorf("label: %w", err)
	}
	return f.Sync()
}

// Read returns the labels of a directory in the order in which they were added. Torn lines are passed over.
func Read(dir string) ([]Label, error) {
	f, err := os.Open(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var labels []Label
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var l Label
		if len(lines.Bytes()) > 0 && json.Unmarshal(lines.Bytes(), &l) == nil {
			labels = append(labels, l)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return labels, nil
}
