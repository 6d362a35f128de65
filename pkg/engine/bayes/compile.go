// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// ErrTooWide is wrapped by the error of Compile when exact inference would need tables larger than MaxCells. A structure
// with fewer parents (ChowLiu, or a smaller Climb.MaxParents) helps.
var ErrTooWide = errors.New("network too densely connected for exact inference")

// Engine answers queries about a network exactly, by propagation in a junction tree (Lauritzen and Spiegelhalter 1988;
// the scheme of Jensen, Lauritzen and Olesen 1990). All memory is allocated by Compile; queries allocate nothing.
//
// Rows given to its methods must be rows of the network, see [Network.CheckRow].
type Engine struct {
	net     *Network
	cards   []int
	cliques []clique // parents before children
	home    []int    // smallest clique of each node
	stale   bool     // tables of the network have changed since the cliques were filled

	likelihood [][]float64 // of each node's states, for a query with uncertain evidence
	posterior  [][]float64
	row        []uint8
}

// clique is a node of the junction tree with its separator towards its parent.
type clique struct {
	vars    []int // sorted; the last varies fastest
	strides []int
	prior   []float64 // product of the tables of its families
	table   []float64

	parent    int     // -1 at the root
	separator []int   // variables shared with the parent
	toSep     []int32 // index into the separator of each cell
	parentSep []int32 // the same for each cell of the parent
	message   []float64
	fresh     []float64

	families []family
}

// family is a node's table inside a clique.
type family struct {
	node  int
	cells []int32 // index into the CPT of each cell of the clique
}

// Compile builds the junction tree of n by triangulation with minimum fill-in. The engine keeps n, and must be told by
// Reload when its tables change.
func Compile(n *Network) (*Engine, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{net: n, row: make([]uint8, len(n.Nodes)), stale: true}
	for i := range n.Nodes {
		e.cards = append(e.cards, len(n.Nodes[i].States))
		e.likelihood = append(e.likelihood, make([]float64, e.cards[i]))
		e.posterior = append(e.posterior, make([]float64, e.cards[i]))
	}
	sets, err := e.triangulate()
	if err != nil {
		return nil, err
	}
	e.connect(sets)
	for k := range e.cliques {
		e.prepare(k)
	}
	e.assign()
	e.load()
	return e, nil
}

// Network is what was compiled.
func (e *Engine) Network() *Network { return e.net }

// Width is the number of variables in the largest clique, and cells the number of cells in all of them.
func (e *Engine) Width() (width, cells int) {
	for i := range e.cliques {
		width = max(width, len(e.cliques[i].vars))
		cells += len(e.cliques[i].table)
	}
	return width, cells
}

type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) unset(i int)    { b[i/64] &^= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 == 1 }
func (b bitset) members() (m []int) {
	for k, w := range b {
		for ; w != 0; w &= w - 1 {
			m = append(m, k*64+bits.TrailingZeros64(w))
		}
	}
	return m
}

func (b bitset) within(c bitset) bool {
	for k := range b {
		if b[k]&^c[k] != 0 {
			return false
		}
	}
	return true
}

func (b bitset) common(c bitset) int {
	n := 0
	for k := range b {
		n += bits.OnesCount64(b[k] & c[k])
	}
	return n
}

// triangulate eliminates the nodes of the moral graph, those that add fewest edges first, and returns the maximal cliques.
func (e *Engine) triangulate() ([]bitset, error) {
	n := len(e.cards)
	adjacent := make([]bitset, n)
	for i := range adjacent {
		adjacent[i] = newBitset(n)
	}
	link := func(a, b int) {
		if a != b {
			adjacent[a].set(b)
			adjacent[b].set(a)
		}
	}
	for i := range e.net.Nodes {
		family := append(slices.Clone(e.net.Nodes[i].Parents), i)
		for _, a := range family {
			for _, b := range family {
				link(a, b)
			}
		}
	}
	var cliques []bitset
	total := 0
	left := newBitset(n)
	for i := range n {
		left.set(i)
	}
	fill := make([]int, n)
	for i := range fill {
		fill[i] = -1 // not computed
	}
	for range n {
		v := -1
		for _, i := range left.members() {
			if fill[i] < 0 {
				neighbours := adjacent[i].members()
				fill[i] = 0
				for _, a := range neighbours {
					fill[i] += len(neighbours) - 1 - adjacent[a].common(adjacent[i])
				}
			}
			if v < 0 || fill[i] < fill[v] {
				v = i
			}
		}
		neighbours := adjacent[v].members()
		c := slices.Clone(adjacent[v])
		c.set(v)
		for _, a := range neighbours {
			for _, b := range neighbours {
				link(a, b)
			}
			adjacent[a].unset(v)
		}
		for _, a := range neighbours { // what their neighbours see may have changed too
			fill[a] = -1
			for _, b := range adjacent[a].members() {
				fill[b] = -1
			}
		}
		left.unset(v)
		if slices.ContainsFunc(cliques, c.within) {
			continue
		}
		cells := 1
		for _, i := range c.members() {
			if cells *= e.cards[i]; total+cells > MaxCells {
				return nil, fmt.Errorf("%w: more than %d cells", ErrTooWide, MaxCells)
			}
		}
		total += cells
		cliques = append(cliques, c)
	}
	return cliques, nil
}

// connect joins the cliques to the spanning tree of the largest separators, which has the running intersection
// property, and lists them parents first. Components are joined by empty separators.
func (e *Engine) connect(sets []bitset) {
	n := len(sets)
	shared, parent := make([]int, n), make([]int, n)
	in := make([]bool, n)
	position := make([]int, n)
	for i := range parent {
		parent[i] = -1
		shared[i] = -1
	}
	for range n {
		best := -1
		for i := range n {
			if !in[i] && (best < 0 || shared[i] > shared[best]) {
				best = i
			}
		}
		in[best] = true
		position[best] = len(e.cliques)
		c := clique{vars: sets[best].members(), parent: -1}
		if parent[best] >= 0 {
			c.parent = position[parent[best]]
			for _, v := range c.vars {
				if sets[parent[best]].has(v) {
					c.separator = append(c.separator, v)
				}
			}
		}
		e.cliques = append(e.cliques, c)
		for i := range n {
			if !in[i] {
				if k := sets[i].common(sets[best]); k > shared[i] {
					shared[i], parent[i] = k, best
				}
			}
		}
	}
}

// prepare allocates the tables of a clique and computes which cells belong together.
func (e *Engine) prepare(k int) {
	c := &e.cliques[k]
	size := 1
	c.strides = make([]int, len(c.vars))
	for i, v := range slices.Backward(c.vars) {
		c.strides[i] = size
		size *= e.cards[v]
	}
	c.prior, c.table = make([]float64, size), make([]float64, size)
	if c.parent >= 0 {
		cells := 1
		for _, v := range c.separator {
			cells *= e.cards[v]
		}
		c.message, c.fresh = make([]float64, cells), make([]float64, cells)
		c.toSep = e.project(c, c.separator)
		c.parentSep = e.project(&e.cliques[c.parent], c.separator)
	}
}

// project is the mixed-radix index over vars, the last fastest, of each cell of a clique that contains them.
func (e *Engine) project(c *clique, vars []int) []int32 {
	cells := make([]int32, len(c.table))
	scale := 1
	for _, v := range slices.Backward(vars) {
		stride, card := c.strides[slices.Index(c.vars, v)], e.cards[v]
		for at := range cells {
			cells[at] += int32(at / stride % card * scale)
		}
		scale *= card
	}
	return cells
}

// assign puts each family into its smallest clique, and finds the smallest clique of each node.
func (e *Engine) assign() {
	n := len(e.cards)
	sets := make([]bitset, len(e.cliques))
	bySize := make([]int, len(e.cliques))
	for k := range e.cliques {
		bySize[k] = k
		sets[k] = newBitset(n)
		for _, v := range e.cliques[k].vars {
			sets[k].set(v)
		}
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return cmp.Compare(len(e.cliques[a].table), len(e.cliques[b].table)) })
	e.home = make([]int, n)
	for i := range e.net.Nodes {
		vars := append(slices.Clone(e.net.Nodes[i].Parents), i)
		set := newBitset(n)
		for _, v := range vars {
			set.set(v)
		}
		k := bySize[slices.IndexFunc(bySize, func(k int) bool { return set.within(sets[k]) })]
		c := &e.cliques[k]
		c.families = append(c.families, family{node: i, cells: e.project(c, vars)})
		e.home[i] = bySize[slices.IndexFunc(bySize, func(k int) bool { return sets[k].has(i) })]
	}
}

// Reload takes over changed tables of the network with the next query. The structure must not change.
func (e *Engine) Reload() { e.stale = true }

func (e *Engine) load() {
	if !e.stale {
		return
	}
	e.stale = false
	for k := range e.cliques {
		c := &e.cliques[k]
		for at := range c.prior {
			c.prior[at] = 1
		}
		for f := range c.families {
			cpt := e.net.Nodes[c.families[f].node].CPT
			for at, cell := range c.families[f].cells {
				c.prior[at] *= cpt[cell]
			}
		}
	}
}
