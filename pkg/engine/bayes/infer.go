// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"math"
	"slices"
)

// LogLik is the log-probability of a complete row: the sum of the logarithms of its entries in the tables. It is NaN
// if a state is missing, and -Inf if the row is impossible.
func (e *Engine) LogLik(row []uint8) float64 {
	sum := 0.0
	for i := range e.net.Nodes {
		v := &e.net.Nodes[i]
		c := e.net.config(i, row)
		if c < 0 || row[i] == Missing {
			return math.NaN()
		}
		sum += math.Log(v.CPT[c*len(v.States)+int(row[i])])
	}
	return sum
}

// LogProb is the log-probability of the states that are known, summed over the missing ones; -Inf if they are impossible.
func (e *Engine) LogProb(row []uint8) float64 {
	e.begin(row)
	return e.collect()
}

// Query computes the posterior of every node given the known states of a row, to be had from Posterior, and returns
// their log-probability, as LogProb does. If that is -Inf the posteriors are NaN.
func (e *Engine) Query(row []uint8) float64 {
	e.begin(row)
	return e.propagate()
}

// Likelihood is evidence about one node that leaves it uncertain: a weight for each of its states.
type Likelihood struct {
	Node    int
	Weights []float64 // at least 0, one for each state
}

// QueryLikelihood is Query with uncertain evidence besides the known states of row (Pearl's virtual evidence).
func (e *Engine) QueryLikelihood(row []uint8, evidence ...Likelihood) float64 {
	e.begin(row)
	for _, l := range evidence {
		e.absorb(l.Node, l.Weights)
	}
	return e.propagate()
}

// Posterior is the distribution of a node given the evidence of the last Query. It is valid until the next one.
func (e *Engine) Posterior(node int) []float64 { return e.posterior[node] }

// begin fills the cliques and enters the known states.
func (e *Engine) begin(row []uint8) {
	e.load()
	for k := range e.cliques {
		copy(e.cliques[k].table, e.cliques[k].prior)
	}
	for v, s := range row {
		if s != Missing {
			l := e.likelihood[v]
			clear(l)
			l[s] = 1
			e.absorb(v, l)
		}
	}
}

// absorb multiplies the weights of a node's states into its home.
func (e *Engine) absorb(v int, weights []float64) {
	c := &e.cliques[e.home[v]]
	stride := c.strides[slices.Index(c.vars, v)]
	for at := 0; at < len(c.table); {
		for _, w := range weights {
			for end := at + stride; at < end; at++ {
				c.table[at] *= w
			}
		}
	}
}

// collect sends messages to the root and returns the logarithm of what is there. Each message is scaled to a sum of 1,
// so that the product over hundreds of nodes cannot vanish.
func (e *Engine) collect() float64 {
	logScale := 0.0
	for k := len(e.cliques) - 1; k > 0; k-- {
		c := &e.cliques[k]
		clear(c.message)
		for at, p := range c.table {
			c.message[c.toSep[at]] += p
		}
		sum := 0.0
		for _, m := range c.message {
			sum += m
		}
		if sum == 0 {
			return math.Inf(-1)
		}
		for i := range c.message {
			c.message[i] /= sum
		}
		logScale += math.Log(sum)
		logScale += e.pass(c)
	}
	sum := 0.0
	for _, p := range e.cliques[0].table {
		sum += p
	}
	return logScale + math.Log(sum)
}

// pass multiplies a message into the table of the parent. If that comes close to vanishing, as under hundreds of
// children, it is scaled up and the logarithm of the scale returned.
func (e *Engine) pass(c *clique) float64 {
	const least = 1e-100
	table, top := e.cliques[c.parent].table, 0.0
	for at, p := range c.parentSep {
		table[at] *= c.message[p]
		top = max(top, table[at])
	}
	if top >= least || top == 0 {
		return 0
	}
	for at := range table {
		table[at] /= top
	}
	return math.Log(top)
}

func (e *Engine) propagate() float64 {
	p := e.collect()
	if math.IsInf(p, -1) {
		for _, posterior := range e.posterior {
			for s := range posterior {
				posterior[s] = math.NaN()
			}
		}
		return p
	}
	e.distribute()
	return p
}

// distribute sends messages away from the root and reads off the posteriors.
func (e *Engine) distribute() {
	for k := 1; k < len(e.cliques); k++ {
		c := &e.cliques[k]
		clear(c.fresh)
		for at, p := range e.cliques[c.parent].table {
			c.fresh[c.parentSep[at]] += p
		}
		for i, old := range c.message {
			if old > 0 { // where the old message is 0, so are the cells it belongs to
				c.fresh[i] /= old
			}
		}
		for at := range c.table {
			c.table[at] *= c.fresh[c.toSep[at]]
		}
	}
	for v := range e.cards {
		c := &e.cliques[e.home[v]]
		p := e.posterior[v]
		clear(p)
		stride := c.strides[slices.Index(c.vars, v)]
		sum := 0.0
		for at := 0; at < len(c.table); {
			for s := range p {
				for end := at + stride; at < end; at++ {
					p[s] += c.table[at]
				}
			}
		}
		for _, x := range p {
			sum += x
		}
		for s := range p {
			p[s] /= sum
		}
	}
}

// Complete writes to dst the most probable explanation of a row: the known states, and for the missing ones those that
// make the whole most probable. It returns the log-probability of dst, -Inf if the known states are impossible. Of
// equally probable states the first is taken. dst may be row.
func (e *Engine) Complete(dst, row []uint8) float64 {
	e.begin(row)
	for k := len(e.cliques) - 1; k > 0; k-- {
		c := &e.cliques[k]
		clear(c.message)
		top := 0.0
		for at, p := range c.table {
			c.message[c.toSep[at]] = max(c.message[c.toSep[at]], p)
			top = max(top, p)
		}
		if top == 0 {
			copy(dst, row)
			return math.Inf(-1)
		}
		for i := range c.message {
			c.message[i] /= top
		}
		e.pass(c)
	}
	for v := range e.row {
		e.row[v] = Missing
	}
	for k := range e.cliques {
		c := &e.cliques[k]
		sep := int32(0)
		for _, v := range c.separator {
			sep = sep*int32(e.cards[v]) + int32(e.row[v])
		}
		best := -1
		for at, p := range c.table {
			if (c.parent < 0 || c.toSep[at] == sep) && (best < 0 || p > c.table[best]) {
				best = at
			}
		}
		for i, v := range c.vars {
			e.row[v] = uint8(best / c.strides[i] % e.cards[v])
		}
	}
	copy(dst, e.row)
	return e.LogLik(dst)
}
