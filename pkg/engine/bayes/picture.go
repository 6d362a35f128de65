// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteDOT draws the structure for Graphviz.
//
// Arcs whose direction says nothing of causes, see [Network.Compelled], have no arrow, unless causes is set: whoever gave
// the structure said what causes what.
func WriteDOT(w io.Writer, n *Network, causes bool) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "digraph %s {\n  node [shape=ellipse];\n", dotQuote(n.Name))
	for i := range n.Nodes {
		fmt.Fprintf(&b, "  n%d [label=%s];\n", i, dotQuote(n.Nodes[i].Name))
	}
	for _, e := range n.Edges() {
		if causes || n.Compelled(e) {
			fmt.Fprintf(&b, "  n%d -> n%d;\n", e.From, e.To)
		} else {
			fmt.Fprintf(&b, "  n%d -> n%d [dir=none];\n", e.From, e.To)
		}
	}
	b.WriteString("}\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write DOT: %w", err)
	}
	return nil
}

func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}

// WriteText describes the structure in words: a line a node, with its states and parents, parents before children.
func WriteText(w io.Writer, n *Network) error {
	order, err := n.structure().order()
	if err != nil {
		return err
	}
	width := 0
	for i := range n.Nodes {
		width = max(width, len(n.Nodes[i].Name))
	}
	var b bytes.Buffer
	for _, i := range order {
		v := &n.Nodes[i]
		fmt.Fprintf(&b, "%-*s  %s", width, v.Name, strings.Join(v.States, " | "))
		for k, p := range v.Parents {
			sep := ", "
			if k == 0 {
				sep = "  <- "
			}
			b.WriteString(sep + n.Nodes[p].Name)
		}
		b.WriteByte('\n')
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write structure: %w", err)
	}
	return nil
}

// Compelled reports whether every network that tells the same of the members has this arc in this direction, as it points
// at a node together with one from a node that it has no arc with (a v-structure; T. Verma and J. Pearl, Equivalence and
// synthesis of causal models, UAI 1990). Of what the data say of any other arc it could as well point the other way; some
// that follow from those of v-structures are left out.
func (n *Network) Compelled(e Edge) bool {
	adjacent := func(a, b int) bool {
		return slices.Contains(n.Nodes[a].Parents, b) || slices.Contains(n.Nodes[b].Parents, a)
	}
	for _, other := range n.Nodes[e.To].Parents {
		if other != e.From && !adjacent(other, e.From) {
			return true
		}
	}
	return false
}
