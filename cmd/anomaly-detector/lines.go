// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// located gives each error that names a key of the file the line that it stands on.
func located(raw []byte, err error) error {
	var top yaml.Node
	if yaml.Unmarshal(raw, &top) != nil || len(top.Content) == 0 {
		return err // which tells the line by itself
	}
	var errs []error
	for _, one := range leaves(err) {
		if line := lineOf(top.Content[0], one.Error()); line > 0 {
			one = fmt.Errorf("line %d: %w", line, one)
		}
		errs = append(errs, one)
	}
	return errors.Join(errs...)
}

// leaves are the errors that are joined in err, but for sentences that wrap several.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, leaves(one)...)
	}
	return all
}

var step = regexp.MustCompile(`^(\[(\d+)\]|[^.:\[\]\s]+)`)

// lineOf is the line of the key that a text begins with, as far as the file has it; 0 where it has nothing of it.
func lineOf(n *yaml.Node, text string) (line int) {
	for range 64 {
		for n.Kind == yaml.AliasNode && n.Alias != nil {
			n = n.Alias
		}
		if rest, key, value, ok := longest(n, text); ok { // a key may have dots in it
			line, n, text = key.Line, value, rest
			continue
		}
		found := step.FindStringSubmatch(text)
		if found == nil || found[2] == "" || n.Kind != yaml.SequenceNode {
			// A sentence may name another key below: "anomalyDetection.routes[0].settings: anomalyDetection: treshold: …".
			name, rest, ok := strings.Cut(text, ": ")
			if !ok || line == 0 || strings.ContainsAny(name, " []") {
				return line
			}
			text = rest
			continue
		}
		i, err := strconv.Atoi(found[2])
		if err != nil || i >= len(n.Content) {
			return line
		}
		n = n.Content[i]
		line, text = n.Line, strings.TrimPrefix(text[len(found[0]):], ".")
		text = strings.TrimPrefix(text, ": ")
	}
	return line
}

// longest finds the entry of a mapping whose key the text begins with.
func longest(n *yaml.Node, text string) (rest string, key, value *yaml.Node, ok bool) {
	if n.Kind != yaml.MappingNode {
		return "", nil, nil, false
	}
	most := -1
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		after, begins := strings.CutPrefix(text, name)
		if !begins || len(name) <= most || name == "" {
			continue
		}
		switch {
		case after == "", after[0] == '[':
		case strings.HasPrefix(after, "."):
			after = after[1:]
		case strings.HasPrefix(after, ": "):
			after = after[2:]
		default:
			continue
		}
		most, rest, key, value, ok = len(name), after, n.Content[i], n.Content[i+1], true
	}
	return rest, key, value, ok
}
