// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"fmt"
	"math"
	"slices"
)

// Prior is the Dirichlet prior of the conditional probability tables. The zero value is BDeu with an equivalent sample
// size of 1.
type Prior struct {
	// SampleSize is the equivalent sample size of the BDeu prior (Heckerman, Geiger and Chickering 1995): each cell of a
	// table of that many cells starts with SampleSize/cells rows. 0 means 1, unless Add is given.
	SampleSize float64
	// Add, if positive, gives each cell so many rows instead (Laplace smoothing at 1).
	Add float64
}

func (p Prior) perCell(cells int) (float64, error) {
	if !(p.SampleSize >= 0 && p.Add >= 0) || math.IsInf(p.SampleSize, 1) || math.IsInf(p.Add, 1) {
		return 0, fmt.Errorf("%w: prior of sample size %v, add %v, want finite numbers of at least 0", ErrInvalid, p.SampleSize, p.Add)
	}
	if p.Add > 0 {
		return p.Add, nil
	}
	size := p.SampleSize
	if size == 0 {
		size = 1
	}
	return size / float64(cells), nil
}

// Fit learns the tables of a structure: the mean of their Dirichlet posterior given the rows. Rows that miss a value
// do not count in the families that value belongs to.
func Fit(t *Table, s Structure, prior Prior) (*Network, error) {
	if err := t.fits(s); err != nil {
		return nil, err
	}
	n := &Network{Nodes: make([]Node, len(t.vars))}
	for i, v := range t.vars {
		parents := slices.Clone(s.Parents[i])
		counts, _ := t.family(nil, i, parents)
		add, err := prior.perCell(len(counts))
		if err != nil {
			return nil, err
		}
		card := t.cards[i]
		support := make([]float64, len(counts)/card)
		for c := range support {
			row := counts[c*card : (c+1)*card]
			for _, k := range row {
				support[c] += k
			}
			for k := range row {
				row[k] = (row[k] + add) / (support[c] + add*float64(card))
			}
		}
		n.Nodes[i] = Node{Name: v.Name, States: slices.Clone(v.States), Parents: parents, CPT: counts, Support: support}
	}
	if err := n.Validate(); err != nil {
		return nil, err
	}
	return n, nil
}

// accepts reports whether the rows of a table are rows of the network.
func (n *Network) accepts(t *Table) error {
	if len(t.cards) != len(n.Nodes) {
		return fmt.Errorf("%w: %d columns for %d nodes", ErrInvalid, len(t.cards), len(n.Nodes))
	}
	for i, k := range t.cards {
		if k != len(n.Nodes[i].States) {
			return fmt.Errorf("%w: column %q has %d states, node %q %d", ErrInvalid, t.vars[i].Name, k, n.Nodes[i].Name, len(n.Nodes[i].States))
		}
	}
	return nil
}

// Adapt are the options of online learning.
type Adapt struct {
	// Memory is the number of rows that a configuration of parents remembers: older ones fade. 0 means 10,000.
	Memory float64
	// Trust bounds what the trained tables count for, in rows a configuration; 0 means 1,000. It is also what a table
	// without known support counts for.
	Trust float64
}

// Updater adapts the tables of a network to rows, one by one: sequential updating of Dirichlet parameters
// (Spiegelhalter and Lauritzen 1990), each configuration with a bounded memory, so that old rows fade.
type Updater struct {
	net    *Network
	memory float64
	count  [][]float64 // rows behind each configuration
}

// NewUpdater prepares to update n in place.
func NewUpdater(n *Network, opt Adapt) (*Updater, error) {
	if opt.Memory == 0 {
		opt.Memory = 10_000
	}
	if opt.Trust == 0 {
		opt.Trust = 1_000
	}
	if !(opt.Memory >= 2 && opt.Trust >= 1) || math.IsInf(opt.Memory, 1) || math.IsInf(opt.Trust, 1) {
		return nil, fmt.Errorf("%w: memory of %v and trust of %v rows, want at least 2 and 1", ErrInvalid, opt.Memory, opt.Trust)
	}
	if err := n.Validate(); err != nil {
		return nil, err
	}
	u := &Updater{net: n, memory: opt.Memory, count: make([][]float64, len(n.Nodes))}
	for i := range n.Nodes {
		v := &n.Nodes[i]
		u.count[i] = make([]float64, len(v.CPT)/len(v.States))
		for c := range u.count[i] {
			k := opt.Trust
			if v.Support != nil {
				k = v.Support[c] + 1 // the prior counts as well
			}
			u.count[i][c] = min(k, opt.Trust, opt.Memory)
		}
	}
	return u, nil
}

// update counts row in the family of node i, if it is complete, and returns its configuration, else -1.
func (u *Updater) update(i int, row []uint8) int {
	v := &u.net.Nodes[i]
	c := u.net.config(i, row)
	if c < 0 || row[i] == Missing {
		return -1
	}
	count := min(u.count[i][c]+1, u.memory)
	u.count[i][c] = count
	p := v.CPT[c*len(v.States):][:len(v.States)]
	sum := 0.0
	for s := range p {
		p[s] -= p[s] / count
		if s == int(row[i]) {
			p[s] += 1 / count
		}
		sum += p[s]
	}
	for s := range p { // rounding errors must not add up over months
		p[s] /= sum
	}
	if v.Support != nil {
		v.Support[c]++
	}
	return c
}

// Update learns from a row. The row must be one of the network ([Network.CheckRow]); families that miss a value learn
// nothing. Rows that are thought to be wrong should be kept away.
func (u *Updater) Update(row []uint8) {
	for i := range u.net.Nodes {
		u.update(i, row)
	}
}
