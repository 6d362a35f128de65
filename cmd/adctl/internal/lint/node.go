// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"slices"

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
