// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// WriteDOT draws the structure for Graphviz.
func WriteDOT(w io.Writer, n *Network) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "digraph %s {\n  node [shape=ellipse];\n", dotQuote(n.Name))
	for i := range n.Nodes {
		fmt.Fprintf(&b, "  n%d [label=%s];\n", i, dotQuote(n.Nodes[i].Name))
	}
	for _, e := range n.Edges() {
		fmt.Fprintf(&b, "  n%d -> n%d;\n", e.From, e.To)
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
