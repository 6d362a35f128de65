// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Climb are the options of HillClimb.
type Climb struct {
	// MaxParents bounds the parents of a node; 0 means 3.
	MaxParents int
	// MaxTable bounds the cells of a node's table; 0 means 1<<14.
	MaxTable int
	// Patience is how many steps without a new best score end the search; 0 means 15. Negative stops at the first maximum.
	Patience int
	// Forbidden edges are never made, Required ones are there from the start and stay.
	Forbidden, Required []Edge
	// Progress, if not nil, is called after each step with the steps so far and the best score.
	Progress func(steps int, score float64)
}

// HillClimb searches the structure of the highest BIC (Schwarz 1978) greedily: in each step the addition, deletion or
// reversal of an edge (Heckerman, Geiger and Chickering, Machine Learning 20, 1995, section 7), or the exchange of a
// parent for another, that gains most, from the required edges on. At a maximum it goes on with the move that loses least, never back to a structure it has seen,
// until Patience is exhausted. Among equal gains the first in the order of child, parent, kind of move is taken, so the
// result depends on nothing but table and options. It returns the best structure with its score.
//
// Where values are missing a family is scored on the rows that have all of it, scaled to the full number of rows.
func HillClimb(ctx context.Context, t *Table, opt Climb) (Structure, float64, error) {
	n := len(t.cards)
	if t.total == 0 {
		return Structure{}, 0, fmt.Errorf("%w: no rows to learn from", ErrInvalid)
	}
	if opt.MaxParents == 0 {
		opt.MaxParents = 3
	}
	if opt.MaxTable == 0 {
		opt.MaxTable = 1 << 14
	}
	if opt.Patience == 0 {
		opt.Patience = 15
	}
	if opt.MaxParents < 0 || opt.MaxTable < 0 || opt.MaxTable > MaxTable {
		return Structure{}, 0, fmt.Errorf("%w: at most %d parents and %d cells, want 0 to %d cells",
			ErrInvalid, opt.MaxParents, opt.MaxTable, MaxTable)
	}
	c := &climber{opt: opt, scorer: newScorer(t), fixed: make(map[Edge]int8)}
	for _, e := range opt.Forbidden {
		if err := e.check(n); err != nil {
			return Structure{}, 0, err
		}
		c.fixed[e] = forbidden
	}
	for _, e := range opt.Required {
		if c.fixed[e] == forbidden {
			return Structure{}, 0, fmt.Errorf("%w: edge %d → %d is both required and forbidden", ErrInvalid, e.From, e.To)
		}
		c.fixed[e] = required
	}
	var err error
	if c.s, err = NewStructure(n, opt.Required); err != nil {
		return Structure{}, 0, fmt.Errorf("required edges: %w", err)
	}
	for _, e := range c.s.Edges() {
		c.hash ^= e.hash()
	}
	c.family = make([]float64, n)
	for i := range n {
		if t.tableSize(i, c.s.Parents[i]) > MaxTable {
			return Structure{}, 0, fmt.Errorf("%w: the required parents of %q need more than %d cells", ErrInvalid, t.vars[i].Name, MaxTable)
		}
		c.family[i] = c.scorer.score(i, c.s.Parents[i])
	}
	c.seen = map[uint64]bool{c.hash: true}
	best, score := c.s.clone(), c.total()
	for steps, idle := 1, 0; idle <= opt.Patience && c.step(ctx); steps++ {
		idle++
		if now := c.total(); now > score+minGain*math.Abs(score) {
			best, score, idle = c.s.clone(), now, 0
		} else if opt.Patience < 0 {
			break
		}
		if opt.Progress != nil {
			opt.Progress(steps, score)
		}
	}
	if err := ctx.Err(); err != nil {
		return Structure{}, 0, fmt.Errorf("structure search: %w", context.Cause(ctx))
	}
	return best, score, nil
}

const (
	forbidden int8 = 1 + iota
	required
)

type climber struct {
	opt    Climb
	scorer *scorer
	s      Structure
	family []float64 // score of each node with its present parents
	fixed  map[Edge]int8
	seen   map[uint64]bool // structures, by their hash
	hash   uint64          // of s: the hashes of its edges, combined by exclusive or
}

// hash is the finaliser of splitmix64, which spreads edges over all bits.
func (e Edge) hash() uint64 {
	x := uint64(e.From*MaxNodes+e.To+1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (c *climber) total() float64 {
	sum := 0.0
	for _, f := range c.family {
		sum += f
	}
	return sum
}

// minGain is the relative gain from which a score is better, and not only rounded otherwise.
const minGain = 1e-9

type move uint8

const (
	addEdge move = iota
	deleteEdge
	reverseEdge
	swapParent
)

// step makes the best move to a structure that has not been seen, and reports whether there was one.
func (c *climber) step(ctx context.Context) bool {
	var best, added Edge
	var kind move
	gain := math.Inf(-1)
	n := len(c.s.Parents)
	for to := range n {
		if ctx.Err() != nil {
			return false
		}
		for from := range n {
			e, back := Edge{from, to}, Edge{to, from}
			if from == to {
				continue
			}
			if !c.s.has(e) {
				if g := c.gainAdd(e); g > gain && !c.seen[c.hash^e.hash()] && !c.s.reaches(to, from) {
					best, kind, gain = e, addEdge, g
				}
				continue
			}
			if c.fixed[e] == required {
				continue
			}
			removed := c.gainRemove(e)
			if removed > gain && !c.seen[c.hash^e.hash()] {
				best, kind, gain = e, deleteEdge, removed
			}
			if g := removed + c.gainAdd(back); g > gain && !c.seen[c.hash^e.hash()^back.hash()] && !c.detour(e) {
				best, kind, gain = e, reverseEdge, g
			}
			for other := range n {
				in := Edge{other, to}
				if other == to || c.s.has(in) || c.fixed[in] == forbidden {
					continue
				}
				if g := c.gainSwap(e, other); g > gain && !c.seen[c.hash^e.hash()^in.hash()] && !c.s.reaches(to, other) {
					best, added, kind, gain = e, in, swapParent, g
				}
			}
		}
	}
	if best == (Edge{}) {
		return false
	}
	c.hash ^= best.hash()
	switch parents := c.s.Parents[best.To]; kind {
	case addEdge:
		c.set(best.To, with(parents, best.From))
	case deleteEdge:
		c.set(best.To, without(parents, best.From))
	case reverseEdge:
		c.set(best.To, without(parents, best.From))
		c.set(best.From, with(c.s.Parents[best.From], best.To))
		c.hash ^= Edge{best.To, best.From}.hash()
	case swapParent:
		c.set(best.To, with(without(parents, best.From), added.From))
		c.hash ^= added.hash()
	}
	c.seen[c.hash] = true
	return true
}

func (c *climber) set(node int, parents []int) {
	c.s.Parents[node] = parents
	c.family[node] = c.scorer.score(node, parents)
}

func (c *climber) gainAdd(e Edge) float64 {
	parents := c.s.Parents[e.To]
	if c.fixed[e] == forbidden || len(parents) >= c.opt.MaxParents {
		return math.Inf(-1)
	}
	parents = with(parents, e.From)
	if c.scorer.t.tableSize(e.To, parents) > c.opt.MaxTable {
		return math.Inf(-1)
	}
	return c.scorer.score(e.To, parents) - c.family[e.To]
}

func (c *climber) gainRemove(e Edge) float64 {
	return c.scorer.score(e.To, without(c.s.Parents[e.To], e.From)) - c.family[e.To]
}

func (c *climber) gainSwap(e Edge, other int) float64 {
	parents := with(without(c.s.Parents[e.To], e.From), other)
	if c.scorer.t.tableSize(e.To, parents) > c.opt.MaxTable {
		return math.Inf(-1)
	}
	return c.scorer.score(e.To, parents) - c.family[e.To]
}

// detour reports whether a path besides the edge itself leads along it, so that its reversal would close a cycle.
func (c *climber) detour(e Edge) bool {
	kept := c.s.Parents[e.To]
	c.s.Parents[e.To] = without(kept, e.From)
	defer func() { c.s.Parents[e.To] = kept }()
	return c.s.reaches(e.From, e.To)
}

func with(parents []int, p int) []int {
	at, _ := slices.BinarySearch(parents, p)
	return slices.Insert(slices.Clone(parents), at, p)
}

func without(parents []int, p int) []int {
	return slices.DeleteFunc(slices.Clone(parents), func(q int) bool { return q == p })
}

// tableSize is the number of cells of a family's table, or MaxTable+1 where it is larger.
func (t *Table) tableSize(node int, parents []int) int {
	size := t.cards[node]
	for _, p := range parents {
		if size *= t.cards[p]; size > MaxTable {
			return MaxTable + 1
		}
	}
	return size
}

// scorer computes and keeps the BIC of families.
type scorer struct {
	t      *Table
	cache  map[string]float64
	counts []float64
	key    []byte
}

func newScorer(t *Table) *scorer { return &scorer{t: t, cache: make(map[string]float64)} }

// score is the BIC of a node with sorted parents: log-likelihood - log(rows)/2 × free parameters.
func (s *scorer) score(node int, parents []int) float64 {
	s.key = binary.LittleEndian.AppendUint16(s.key[:0], uint16(node))
	for _, p := range parents {
		s.key = binary.LittleEndian.AppendUint16(s.key, uint16(p))
	}
	if v, ok := s.cache[string(s.key)]; ok {
		return v
	}
	var sum float64
	s.counts, sum = s.t.family(s.counts, node, parents)
	card := s.t.cards[node]
	v := 0.0
	for c := 0; c < len(s.counts); c += card {
		v += logLikelihood(s.counts[c : c+card])
	}
	if sum > 0 {
		v *= s.t.total / sum
	}
	v -= 0.5 * math.Log(s.t.total) * float64(len(s.counts)/card*(card-1))
	s.cache[string(s.key)] = v
	return v
}

// logLikelihood is that of a multinomial with these counts, at its maximum: Σ n log(n/N).
func logLikelihood(counts []float64) float64 {
	sum, v := 0.0, 0.0
	for _, n := range counts {
		if n > 0 {
			sum += n
			v += n * math.Log(n)
		}
	}
	if sum > 0 {
		v -= sum * math.Log(sum)
	}
	return v
}

// fits reports whether a structure belongs to this table and has tables of bearable size.
func (t *Table) fits(s Structure) error {
	if t.total == 0 {
		return fmt.Errorf("%w: no rows to learn from", ErrInvalid)
	}
	if len(s.Parents) != len(t.cards) {
		return fmt.Errorf("%w: a structure of %d nodes for %d columns", ErrInvalid, len(s.Parents), len(t.cards))
	}
	if _, err := NewStructure(len(s.Parents), s.Edges()); err != nil {
		return err
	}
	for i, parents := range s.Parents {
		if t.tableSize(i, parents) > MaxTable {
			return fmt.Errorf("%w: the parents of %q need more than %d cells", ErrInvalid, t.vars[i].Name, MaxTable)
		}
	}
	return nil
}

// ChowLiu learns the tree (a forest, where columns are independent) that keeps most mutual information between
// neighbours, and so has the highest likelihood of all trees (Chow and Liu 1968). An edge must pay for its parameters
// by BIC. Edges point away from root, and in other components from their lowest node.
func ChowLiu(t *Table, root int) (Structure, error) {
	n := len(t.cards)
	if root < 0 || root >= n || t.total == 0 {
		return Structure{}, fmt.Errorf("%w: root %d of %d columns, %v rows", ErrInvalid, root, n, t.total)
	}
	// Prim's algorithm on the gain in BIC, which orders edges between the same numbers of states as the information does.
	s := Structure{Parents: make([][]int, n)}
	sc := newScorer(t)
	in := make([]bool, n)
	gain, parent := make([]float64, n), make([]int, n)
	for i := range n {
		gain[i], parent[i] = 0, -1
	}
	join := func(i int) {
		in[i] = true
		if parent[i] >= 0 {
			s.Parents[i] = []int{parent[i]}
		}
		for k := range n {
			if in[k] || t.tableSize(k, []int{i}) > MaxTable {
				continue
			}
			if g := sc.score(k, []int{i}) - sc.score(k, nil); g > gain[k] {
				gain[k], parent[k] = g, i
			}
		}
	}
	join(root)
	for range n - 1 {
		best := -1
		for k := range n {
			if !in[k] && (best < 0 || gain[k] > gain[best]) {
				best = k
			}
		}
		join(best)
	}
	return s, nil
}
