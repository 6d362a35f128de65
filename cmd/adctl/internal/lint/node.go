// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// deepest bounds how far aliases and merges are followed, as they may lead in circles.
const deepest = 16

// content is the node that n stands for: that of a document, or of an alias. It is nil where there is none.
func content(n *yaml.Node) *yaml.Node {
	for range deepest {
		switch {
		case n == nil:
			return nil
		case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
			n = n.Content[0]
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		default:
			return n
		}
	}
	return nil
}

// entry is a key of a mapping with its value, aliases resolved.
type entry struct {
	key, value *yaml.Node
}

// entries lists a mapping, the mappings merged into it by << last. It is empty for other nodes.
func entries(n *yaml.Node) []entry { return entriesOf(n, 0) }

func entriesOf(n *yaml.Node, depth int) []entry {
	if n = content(n); n == nil || n.Kind != yaml.MappingNode || depth > deepest {
		return nil
	}
	var own, merged []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag != "!!merge" {
			own = append(own, entry{key, content(value)})
			continue
		}
		sources := []*yaml.Node{value}
		if v := content(value); v != nil && v.Kind == yaml.SequenceNode {
			sources = v.Content
		}
		for _, s := range sources {
			merged = append(merged, entriesOf(s, depth+1)...)
		}
	}
	for _, m := range merged {
		if !slices.ContainsFunc(own, func(e entry) bool { return e.key.Value == m.key.Value }) {
			own = append(own, m)
		}
	}
	return own
}

// child is the value of a key, nil where there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	for _, e := range entries(n) {
		if e.key.Value == key {
			return e.value
		}
	}
	return nil
}

// items lists a sequence, aliases resolved.
func items(n *yaml.Node) []*yaml.Node {
	if n = content(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]*yaml.Node, 0, len(n.Content))
	for _, item := range n.Content {
		if item = content(item); item != nil {
			out = append(out, item)
		}
	}
	return out
}

// text is the value of a scalar as it is written, "" for null and for other nodes.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

func isNull(n *yaml.Node) bool { return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func isNested(n *yaml.Node) bool {
	return n != nil && (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode)
}

// asKubectl gives plain scalars of the tree the tags that kubectl gives them, which reads YAML 1.1: y, yes, on and their
// like are booleans, and a date is a text. The values stay as they are written.
func asKubectl(n *yaml.Node) {
	if n == nil {
		return
	}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0 {
		switch {
		case n.Tag == "!!timestamp":
			n.Tag = "!!str"
		case n.Tag == "!!str" && (isYes(n.Value) || isNo(n.Value)):
			n.Tag = "!!bool"
		}
	}
	for _, below := range n.Content {
		asKubectl(below)
	}
}

// decode is what a tree holds when kubectl has read it. It writes booleans of YAML 1.1 into the tree as true and false.
func decode(n *yaml.Node) (v any, err error) {
	plainBooleans(n, make(map[*yaml.Node]bool))
	if err = n.Decode(&v); err != nil {
		return nil, err
	}
	return textKeys(v)
}

// textKeys makes texts of the keys of maps, as kubectl does: a key y is true, and then "true".
func textKeys(v any) (_ any, err error) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = textKeys(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = textKeys(v[key]); err != nil {
				return nil, err
			}
		}
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			switch key.(type) {
			case string, bool, int, int64, uint64, float64:
			default:
				return nil, fmt.Errorf("a key that is %T: want a text", key)
			}
			if out[fmt.Sprint(key)], err = textKeys(value); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func plainBooleans(n *yaml.Node, seen map[*yaml.Node]bool) {
	if n == nil || seen[n] {
		return
	}
	seen[n] = true
	if n.Kind == yaml.ScalarNode {
		asKubectl(n)
		if n.Tag == "!!bool" && isYes(n.Value) {
			n.Value = "true"
		} else if n.Tag == "!!bool" && isNo(n.Value) {
			n.Value = "false"
		}
	}
	plainBooleans(n.Alias, seen)
	for _, below := range n.Content {
		plainBooleans(below, seen)
	}
}

func isYes(s string) bool { return isWord(s, "y", "yes", "on", "true") }
func isNo(s string) bool  { return isWord(s, "n", "no", "off", "false") }

// isWord says whether s is one of words, in lower case, upper case, or with a capital.
func isWord(s string, words ...string) bool {
	lower := strings.ToLower(s)
	return slices.Contains(words, lower) && (s == lower || s == strings.ToUpper(s) || s[1:] == lower[1:])
}
