// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"fmt"
	"slices"
)

// Edge is an arc between two nodes, given by their indices.
type Edge struct{ From, To int }

// Structure is the graph of a network: the parents of each node.
type Structure struct{ Parents [][]int }

// NewStructure is the graph with these edges over so many nodes. It fails on a cycle, and on edges that are not between
// two different nodes.
func NewStructure(nodes int, edges []Edge) (Structure, error) {
	if nodes < 1 || nodes > MaxNodes {
		return Structure{}, fmt.Errorf("%w: %d nodes, want 1 to %d", ErrInvalid, nodes, MaxNodes)
	}
	s := Structure{Parents: make([][]int, nodes)}
	for _, e := range edges {
		if err := e.check(nodes); err != nil {
			return Structure{}, err
		}
		if !slices.Contains(s.Parents[e.To], e.From) {
			s.Parents[e.To] = append(s.Parents[e.To], e.From)
		}
	}
	for _, p := range s.Parents {
		slices.Sort(p)
	}
	_, err := s.order()
	return s, err
}

func (e Edge) check(nodes int) error {
	if e.From < 0 || e.From >= nodes || e.To < 0 || e.To >= nodes || e.From == e.To {
		return fmt.Errorf("%w: edge %d → %d among %d nodes", ErrInvalid, e.From, e.To, nodes)
	}
	return nil
}

// Edges lists the arcs, sorted by child, then parent.
func (s Structure) Edges() []Edge {
	var edges []Edge
	for to, parents := range s.Parents {
		for _, from := range slices.Sorted(slices.Values(parents)) {
			edges = append(edges, Edge{from, to})
		}
	}
	return edges
}

// clone copies the lists of parents, which are not changed in place.
func (s Structure) clone() Structure { return Structure{Parents: slices.Clone(s.Parents)} }

func (s Structure) has(e Edge) bool { return slices.Contains(s.Parents[e.To], e.From) }

// order lists the nodes so that parents come before children, the lowest index first among equals.
func (s Structure) order() ([]int, error) {
	waiting := make([]int, len(s.Parents))
	children := make([][]int, len(s.Parents))
	for i, parents := range s.Parents {
		waiting[i] = len(parents)
		for _, p := range parents {
			children[p] = append(children[p], i)
		}
	}
	var ready, order []int
	for i, w := range waiting {
		if w == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		order = append(order, i)
		for _, c := range children[i] {
			if waiting[c]--; waiting[c] == 0 {
				ready = append(ready, c)
			}
		}
	}
	if len(order) < len(s.Parents) {
		return nil, fmt.Errorf("%w: the graph has a cycle through node %d", ErrInvalid,
			slices.IndexFunc(waiting, func(w int) bool { return w > 0 }))
	}
	return order, nil
}

// reaches reports whether a directed path leads from one node to the other.
func (s Structure) reaches(from, to int) bool {
	seen := make([]bool, len(s.Parents))
	stack := []int{to} // walk against the arcs: only parents are at hand
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if i == from {
			return true
		}
		for _, p := range s.Parents[i] {
			if !seen[p] {
				seen[p] = true
				stack = append(stack, p)
			}
		}
	}
	return false
}
