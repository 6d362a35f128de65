// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteBIF writes a network in the form that ReadBIF and other software reads. Support is not part of the format. Names
// with a quote or a line break cannot be written.
func WriteBIF(w io.Writer, n *Network) error {
	if err := n.Validate(); err != nil {
		return err
	}
	name := n.Name
	if name == "" {
		name = "unknown"
	}
	var b bytes.Buffer
	var bad error
	word := func(s string) string {
		q, err := bifWord(s)
		bad = errors.Join(bad, err)
		return q
	}
	words := func(list []string) string {
		quoted := make([]string, len(list))
		for i, s := range list {
			quoted[i] = word(s)
		}
		return strings.Join(quoted, ", ")
	}
	fmt.Fprintf(&b, "network %s {\n}\n", word(name))
	for i := range n.Nodes {
		v := &n.Nodes[i]
		fmt.Fprintf(&b, "variable %s {\n  type discrete [ %d ] { %s };\n}\n", word(v.Name), len(v.States), words(v.States))
	}
	for i := range n.Nodes {
		v := &n.Nodes[i]
		if len(v.Parents) == 0 {
			fmt.Fprintf(&b, "probability ( %s ) {\n  table %s;\n}\n", word(v.Name), numbersText(v.CPT))
			continue
		}
		parents, states := make([]string, len(v.Parents)), make([]string, len(v.Parents))
		for k, p := range v.Parents {
			parents[k] = n.Nodes[p].Name
		}
		fmt.Fprintf(&b, "probability ( %s | %s ) {\n", word(v.Name), words(parents))
		for c := range len(v.CPT) / len(v.States) {
			for rest, k := c, len(v.Parents)-1; k >= 0; k-- {
				list := n.Nodes[v.Parents[k]].States
				states[k] = list[rest%len(list)]
				rest /= len(list)
			}
			fmt.Fprintf(&b, "  (%s) %s;\n", words(states), numbersText(v.CPT[c*len(v.States):(c+1)*len(v.States)]))
		}
		b.WriteString("}\n")
	}
	if bad != nil {
		return bad
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write BIF: %w", err)
	}
	return nil
}

// bifWord quotes a name unless it is a plain word.
func bifWord(s string) (string, error) {
	if strings.ContainsAny(s, "\"\n\r") {
		return "", fmt.Errorf("%w: the name %q cannot be written in BIF", ErrInvalid, s)
	}
	if strings.ContainsAny(s, bifMarks+" \t/*") {
		return `"` + s + `"`, nil
	}
	return s, nil
}

func numbersText(list []float64) string {
	var b []byte
	for i, x := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendFloat(b, x, 'g', -1, 64)
	}
	return string(b)
}
