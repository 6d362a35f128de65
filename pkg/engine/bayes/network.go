// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Node is a discrete variable with its conditional probability table.
type Node struct {
	Name    string
	States  []string
	Parents []int // indices of nodes

	// CPT holds P(state | parents) at [configuration × number of states + state]. A configuration counts the states of
	// the parents in mixed radix, the last parent fastest.
	CPT []float64
	// Support is the number of training rows behind each configuration; nil where it is not known.
	Support []float64
}

// Network is a directed acyclic graph of nodes. Its joint probability is the product of the nodes' tables.
type Network struct {
	Name  string
	Nodes []Node
}

// ErrInvalid is wrapped by every error about a network, structure or option that makes no sense.
var ErrInvalid = errors.New("invalid Bayesian network")

// sumTolerance is how far a row of a table may be from a sum of 1: published tables are rounded.
const sumTolerance = 1e-6

// Validate reports everything that is wrong with the network.
func (n *Network) Validate() error {
	if len(n.Nodes) == 0 || len(n.Nodes) > MaxNodes {
		return fmt.Errorf("%w: %d nodes, want 1 to %d", ErrInvalid, len(n.Nodes), MaxNodes)
	}
	var errs []error
	names := make(map[string]bool, len(n.Nodes))
	cells := 0
	for i := range n.Nodes {
		v := &n.Nodes[i]
		if err := n.validateNode(i); err != nil {
			errs = append(errs, fmt.Errorf("%w: node %d %q: %w", ErrInvalid, i, v.Name, err))
		}
		if names[v.Name] {
			errs = append(errs, fmt.Errorf("%w: node %d: the name %q is taken", ErrInvalid, i, v.Name))
		}
		names[v.Name] = true
		cells += len(v.CPT)
	}
	if cells > MaxCells {
		errs = append(errs, fmt.Errorf("%w: %d cells, want at most %d", ErrInvalid, cells, MaxCells))
	}
	if len(errs) == 0 {
		if _, err := n.structure().order(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (n *Network) validateNode(i int) error {
	v := &n.Nodes[i]
	if v.Name == "" || len(v.Name) > MaxName {
		return fmt.Errorf("a name of %d bytes, want 1 to %d", len(v.Name), MaxName)
	}
	if len(v.States) < 1 || len(v.States) > MaxStates {
		return fmt.Errorf("%d states, want 1 to %d", len(v.States), MaxStates)
	}
	for s, name := range v.States {
		if name == "" || len(name) > MaxName || slices.Contains(v.States[:s], name) {
			return fmt.Errorf("state %d: name %.40q is empty, too long or taken", s, name)
		}
	}
	for k, p := range v.Parents {
		if p < 0 || p >= len(n.Nodes) || p == i || slices.Contains(v.Parents[:k], p) {
			return fmt.Errorf("parent %d is itself, listed twice or no node", p)
		}
	}
	configs, err := n.configurations(v.Parents, len(v.States))
	if err != nil {
		return err
	}
	if len(v.CPT) != configs*len(v.States) {
		return fmt.Errorf("%d probabilities, want %d × %d", len(v.CPT), configs, len(v.States))
	}
	if v.Support != nil && len(v.Support) != configs {
		return fmt.Errorf("support of %d configurations, want %d", len(v.Support), configs)
	}
	for c := range configs {
		sum := 0.0
		for s := range v.States {
			p := v.CPT[c*len(v.States)+s]
			if !(p >= 0 && p <= 1+sumTolerance) {
				return fmt.Errorf("probability %v at configuration %d, state %d", p, c, s)
			}
			sum += p
		}
		if math.Abs(sum-1) > sumTolerance {
			return fmt.Errorf("probabilities of configuration %d sum to %v, want 1", c, sum)
		}
		if v.Support != nil && !(v.Support[c] >= 0 && v.Support[c] <= math.MaxFloat64) {
			return fmt.Errorf("support %v of configuration %d", v.Support[c], c)
		}
	}
	return nil
}

// configurations is the number of joint states of parents, whose table for a node of so many states must fit MaxTable.
func (n *Network) configurations(parents []int, states int) (int, error) {
	configs := 1
	for _, p := range parents {
		k := len(n.Nodes[p].States)
		if k == 0 {
			return 0, fmt.Errorf("parent %d has no states", p)
		}
		if configs *= k; configs*states > MaxTable {
			return 0, fmt.Errorf("a table over %d parents is larger than %d cells", len(parents), MaxTable)
		}
	}
	return configs, nil
}

// Index is the position of the node with that name, or -1.
func (n *Network) Index(name string) int {
	return slices.IndexFunc(n.Nodes, func(v Node) bool { return v.Name == name })
}

// Edges lists the arcs from parent to child, sorted by child.
func (n *Network) Edges() []Edge { return n.structure().Edges() }

// Clone is a deep copy.
func (n *Network) Clone() *Network {
	c := &Network{Name: n.Name, Nodes: slices.Clone(n.Nodes)}
	for i := range c.Nodes {
		v := &c.Nodes[i]
		v.States, v.Parents = slices.Clone(v.States), slices.Clone(v.Parents)
		v.CPT, v.Support = slices.Clone(v.CPT), slices.Clone(v.Support)
	}
	return c
}

func (n *Network) structure() Structure {
	s := Structure{Parents: make([][]int, len(n.Nodes))}
	for i := range n.Nodes {
		s.Parents[i] = n.Nodes[i].Parents
	}
	return s
}

// config is the configuration of node i's parents in row, or -1 if one of them is missing.
func (n *Network) config(i int, row []uint8) int {
	c := 0
	for _, p := range n.Nodes[i].Parents {
		if row[p] == Missing {
			return -1
		}
		c = c*len(n.Nodes[p].States) + int(row[p])
	}
	return c
}

// CheckRow reports whether row has one valid state, or Missing, for each node.
func (n *Network) CheckRow(row []uint8) error {
	if len(row) != len(n.Nodes) {
		return fmt.Errorf("%w: a row of %d states, want %d", ErrInvalid, len(row), len(n.Nodes))
	}
	for i, s := range row {
		if s != Missing && int(s) >= len(n.Nodes[i].States) {
			return fmt.Errorf("%w: state %d of %q, want less than %d", ErrInvalid, s, n.Nodes[i].Name, len(n.Nodes[i].States))
		}
	}
	return nil
}

// EncodeState implements [state.Part].
func (n *Network) EncodeState(w *state.Writer) {
	w.Text(n.Name)
	w.Int(int64(len(n.Nodes)))
	for i := range n.Nodes {
		v := &n.Nodes[i]
		w.Text(v.Name)
		w.Int(int64(len(v.States)))
		for _, s := range v.States {
			w.Text(s)
		}
		w.Int(int64(len(v.Parents)))
		for _, p := range v.Parents {
			w.Int(int64(p))
		}
		w.Floats(v.CPT)
		w.Floats(v.Support)
	}
}

// DecodeState implements [state.Part]. What does not validate is refused.
func (n *Network) DecodeState(r *state.Reader) {
	d := Network{Name: r.Text("network name", MaxName)}
	for range r.Count("nodes", MaxNodes) {
		v := Node{Name: r.Text("node name", MaxName)}
		for range r.Count("states", MaxStates) {
			v.States = append(v.States, r.Text("state", MaxName))
		}
		for range r.Count("parents", MaxNodes) {
			v.Parents = append(v.Parents, r.Count("parent", MaxNodes))
		}
		v.CPT = r.Floats("probabilities", MaxTable)
		if v.Support = r.Floats("support", MaxTable); len(v.Support) == 0 {
			v.Support = nil
		}
		if r.Err() != nil {
			return
		}
		d.Nodes = append(d.Nodes, v)
	}
	if r.Err() != nil {
		return
	}
	if err := d.Validate(); err != nil {
		r.Fail("network: %v", err)
		return
	}
	*n = d
}
