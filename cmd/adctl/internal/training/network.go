// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package training

import (
	"fmt"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// NetworkDriver is the driver whose models hold a Bayesian network.
const NetworkDriver = "bayesnet"

// Network is the Bayesian network in a model, and what makes readings its states.
type Network struct {
	*bayes.Network
	discretizers []*bayes.Discretizer
	engine       *bayes.Engine
	states       []uint8
}

// The layout of the driver's state, up to the network as it was trained.
const (
	networkSchema  = "detector/" + NetworkDriver
	networkVersion = 1
	mostTexts      = 1024
)

// ReadNetwork reads the network of a trained model.
func ReadNetwork(m *model.Trained) (*Network, error) {
	if m.Driver != NetworkDriver {
		return nil, fmt.Errorf("a model of detector %q, want %q: only that has a network", m.Driver, NetworkDriver)
	}
	payload, err := model.Unseal(networkSchema, networkVersion, m.Payload)
	if err != nil {
		return nil, err
	}
	r := state.NewReader(payload)
	r.Uint() // rows seen
	for range m.Members {
		for range r.Count("texts", mostTexts) {
			r.Text("text", bayes.MaxName)
		}
	}
	if !r.Bool() && r.Err() == nil {
		r.Fail("it was not trained")
	}
	n := &Network{Network: new(bayes.Network)}
	for range r.Count("members", bayes.MaxNodes) {
		z := new(bayes.Discretizer)
		if z.DecodeState(r); r.Err() != nil {
			break
		}
		n.discretizers = append(n.discretizers, z)
	}
	if r.Err() == nil {
		n.DecodeState(r)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if len(n.Nodes) != len(m.Members) || len(n.discretizers) != len(m.Members) {
		return nil, fmt.Errorf("network of %d nodes and %d discretizers, want %d", len(n.Nodes), len(n.discretizers), len(m.Members))
	}
	for i, z := range n.discretizers {
		if z.Len() != len(n.Nodes[i].States) {
			return nil, fmt.Errorf("node %q has %d states, its discretizer %d", n.Nodes[i].Name, len(n.Nodes[i].States), z.Len())
		}
	}
	if n.engine, err = bayes.Compile(n.Network); err != nil {
		return nil, err
	}
	n.states = make([]uint8, len(n.Nodes))
	return n, nil
}

// LogProb is the log-probability of a row, of its members that have a reading.
func (n *Network) LogProb(row driver.Row) float64 {
	if len(row) != len(n.states) {
		return math.NaN()
	}
	for i := range row {
		n.states[i] = n.state(i, &row[i])
	}
	return n.engine.LogProb(n.states)
}

func (n *Network) state(i int, s *driver.Sample) uint8 {
	z := n.discretizers[i]
	categories := z.Categories()
	switch {
	case s.Flags&(driver.NotANumber|driver.Unparsable) != 0:
		return bayes.Missing
	case s.Text == "":
		return z.State(s.Value)
	case categories == nil:
		return bayes.Missing
	}
	if k := slices.Index(categories, s.Text); k >= 0 {
		return uint8(k)
	}
	return uint8(len(categories)) // "other"
}

// Marginal is the probability of each state of a node, where nothing else is known.
func (n *Network) Marginal(node int) []float64 {
	p := make([]float64, len(n.Nodes[node].States))
	for k := range p {
		p[k] = n.joint(node, k, node, k)
	}
	return p
}

// Strength is how much two nodes tell of each other: their mutual information, as a share of what is to be known of the
// one of which less is, 0 … 1.
func (n *Network) Strength(a, b int) float64 {
	pa, pb := n.Marginal(a), n.Marginal(b)
	information := 0.0
	for i := range pa {
		for k := range pb {
			if p := n.joint(a, i, b, k); p > 0 {
				information += p * math.Log(p/(pa[i]*pb[k]))
			}
		}
	}
	least := min(entropy(pa), entropy(pb))
	if !(least > 0) {
		return 0
	}
	return min(max(information/least, 0), 1)
}

func entropy(p []float64) (h float64) {
	for _, v := range p {
		if v > 0 {
			h -= v * math.Log(v)
		}
	}
	return h
}

// joint is the probability of a state of each of two nodes.
func (n *Network) joint(a, i, b, k int) float64 {
	for node := range n.states {
		n.states[node] = bayes.Missing
	}
	n.states[a], n.states[b] = uint8(i), uint8(k)
	return math.Exp(n.engine.LogProb(n.states))
}
