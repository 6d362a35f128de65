// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// load reads a network of testdata.
func load(t testing.TB, name string) *Network {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	n, err := ReadBIF(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func compile(t testing.TB, n *Network) *Engine {
	t.Helper()
	e, err := Compile(n)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// evidence is a row with the states named, in pairs of node and state, and all else missing.
func evidence(t testing.TB, n *Network, pairs ...string) []uint8 {
	t.Helper()
	row := missing(len(n.Nodes))
	for k := 0; k < len(pairs); k += 2 {
		row[n.Index(pairs[k])] = stateOf(t, n, pairs[k], pairs[k+1])
	}
	return row
}

func stateOf(t testing.TB, n *Network, node, name string) uint8 {
	t.Helper()
	i := n.Index(node)
	if i < 0 {
		t.Fatalf("no node %q", node)
	}
	for s, x := range n.Nodes[i].States {
		if x == name {
			return uint8(s)
		}
	}
	t.Fatalf("%q has no state %q", node, name)
	return Missing
}

func missing(n int) []uint8 {
	row := make([]uint8, n)
	for i := range row {
		row[i] = Missing
	}
	return row
}

// sample draws a complete row, parents before children.
func sample(n *Network, order []int, r *rand.Rand, row []uint8) {
	for _, i := range order {
		row[i] = Missing
	}
	for _, i := range order {
		v := &n.Nodes[i]
		p := v.CPT[n.config(i, row)*len(v.States):][:len(v.States)]
		u, s := r.Float64(), 0
		for s < len(p)-1 && u >= p[s] {
			u -= p[s]
			s++
		}
		row[i] = uint8(s)
	}
}

// sampled is a table of rows drawn from n.
func sampled(t testing.TB, n *Network, rows int, seed uint64) *Table {
	t.Helper()
	table := emptyTable(t, n)
	order, err := n.structure().order()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	row := make([]uint8, len(n.Nodes))
	for range rows {
		sample(n, order, r, row)
		if err := table.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

func emptyTable(t testing.TB, n *Network) *Table {
	t.Helper()
	vars := make([]Variable, len(n.Nodes))
	for i := range vars {
		vars[i] = Variable{n.Nodes[i].Name, n.Nodes[i].States}
	}
	table, err := NewTable(vars)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// randomNetwork has nodes of 1 to 3 states with up to 3 parents; some of its probabilities are 0.
func randomNetwork(r *rand.Rand, nodes int) *Network {
	n := &Network{Name: "random", Nodes: make([]Node, nodes)}
	label := r.Perm(nodes) // so that parents do not come first
	for at, i := range label {
		v := &n.Nodes[i]
		v.Name = "v" + strconv.Itoa(i)
		k := 2 + r.IntN(2)
		if r.IntN(12) == 0 {
			k = 1
		}
		for s := range k {
			v.States = append(v.States, strconv.Itoa(s))
		}
		for _, p := range r.Perm(at)[:min(at, r.IntN(4))] {
			v.Parents = append(v.Parents, label[p])
		}
	}
	for i := range n.Nodes {
		v := &n.Nodes[i]
		configs, _ := n.configurations(v.Parents, len(v.States))
		for range configs {
			row := make([]float64, len(v.States))
			sum := 0.0
			for s := range row {
				if s == 0 || r.IntN(6) > 0 {
					row[s] = r.ExpFloat64()
				}
				sum += row[s]
			}
			for s := range row {
				v.CPT = append(v.CPT, row[s]/sum)
			}
		}
	}
	return n
}

// bruteForce sums the joint probability over every state of the missing nodes. It returns the probability of the
// evidence, the posterior of each node and the probability of the most probable completion.
func bruteForce(n *Network, row []uint8) (p float64, posterior [][]float64, most float64) {
	posterior = make([][]float64, len(n.Nodes))
	for i := range posterior {
		posterior[i] = make([]float64, len(n.Nodes[i].States))
	}
	x := make([]uint8, len(row))
	var visit func(i int)
	visit = func(i int) {
		if i < len(x) {
			if row[i] != Missing {
				x[i] = row[i]
				visit(i + 1)
				return
			}
			for s := range n.Nodes[i].States {
				x[i] = uint8(s)
				visit(i + 1)
			}
			return
		}
		joint := 1.0
		for i := range n.Nodes {
			v := &n.Nodes[i]
			c := 0
			for _, q := range v.Parents {
				c = c*len(n.Nodes[q].States) + int(x[q])
			}
			joint *= v.CPT[c*len(v.States)+int(x[i])]
		}
		p += joint
		most = max(most, joint)
		for i, s := range x {
			posterior[i][s] += joint
		}
	}
	visit(0)
	for _, post := range posterior {
		for s := range post {
			post[s] /= p
		}
	}
	return p, posterior, most
}

func near(a, b, tolerance float64) bool {
	return a == b || math.Abs(a-b) <= tolerance || math.IsNaN(a) && math.IsNaN(b)
}
