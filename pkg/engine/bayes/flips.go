// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"math"
	"slices"
)

// flips computes by how much the probability of a complete row changes when the states of one or two members do. Only
// the tables that contain a changed member are looked at.
type flips struct {
	cards []int
	probs [][]float64 // each node's table, see leastProbability
	logs  [][]float64 // its logarithms
	row   []uint8
	at    []int     // index of the row's entry in each table
	inv   []float64 // 1 / that entry

	// Member i is in the tables uses[first[i]:first[i+1]].
	first []int
	uses  []use

	// The probability with member i in state s, relative to the row's, is ratio[offset[i]+s].
	offset []int
	ratio  []float64

	pairs  []pair
	shares []share
	links  []bitset

	sumA, sumB []float64 // of the last pair, by the state of each member
}

// use is a table that contains a member; stride is the distance between its neighbouring states there.
type use struct{ table, stride int }

// pair is two members that share tables, shares[from:to].
type pair struct{ a, b, from, to int }

type share struct{ table, strideA, strideB int }

func (f *flips) build(n *Network) {
	nodes := len(n.Nodes)
	uses := make([][]use, nodes)
	shared := make([]map[int][]share, nodes)
	f.links = make([]bitset, nodes)
	for i := range nodes {
		shared[i] = make(map[int][]share)
		f.links[i] = newBitset(nodes)
	}
	f.at, f.row, f.inv = make([]int, nodes), make([]uint8, nodes), make([]float64, nodes)
	f.probs, f.logs = make([][]float64, nodes), make([][]float64, nodes)
	for i := range n.Nodes {
		v := &n.Nodes[i]
		k := len(v.States)
		f.cards = append(f.cards, k)
		f.offset = append(f.offset, len(f.ratio))
		f.ratio = append(f.ratio, make([]float64, k)...)
		f.probs[i], f.logs[i] = make([]float64, len(v.CPT)), make([]float64, len(v.CPT))
		for c := range len(v.CPT) / k {
			f.reload(n, i, c)
		}
		members := append(slices.Clone(v.Parents), i)
		strides := make([]int, len(members))
		for m, stride := len(members)-1, 1; m >= 0; m-- {
			strides[m] = stride
			stride *= len(n.Nodes[members[m]].States)
			uses[members[m]] = append(uses[members[m]], use{i, strides[m]})
		}
		for m, a := range members {
			for q, b := range members {
				if a < b {
					shared[a][b] = append(shared[a][b], share{i, strides[m], strides[q]})
					f.links[a].set(b)
					f.links[b].set(a)
				}
			}
		}
	}
	for i := range nodes {
		f.first = append(f.first, len(f.uses))
		f.uses = append(f.uses, uses[i]...)
		for _, b := range f.links[i].members() {
			if s := shared[i][b]; len(s) > 0 {
				f.pairs = append(f.pairs, pair{i, b, len(f.shares), len(f.shares) + len(s)})
				f.shares = append(f.shares, s...)
			}
		}
	}
	f.first = append(f.first, len(f.uses))
	most := slices.Max(f.cards)
	f.sumA, f.sumB = make([]float64, most), make([]float64, most)
}

// reload takes over configuration c of node i's table.
func (f *flips) reload(n *Network, i, c int) {
	k := len(n.Nodes[i].States)
	for at := c * k; at < (c+1)*k; at++ {
		p := max(n.Nodes[i].CPT[at], leastProbability)
		f.probs[i][at], f.logs[i][at] = p, math.Log(p)
	}
}

func (f *flips) linked(a, b int) bool { return f.links[a].has(b) }

// enter takes a complete row and returns its log-probability.
func (f *flips) enter(row []uint8) float64 {
	copy(f.row, row)
	clear(f.at)
	for i, s := range f.row {
		for _, u := range f.uses[f.first[i]:f.first[i+1]] {
			f.at[u.table] += int(s) * u.stride
		}
	}
	sum := 0.0
	for i, at := range f.at {
		sum += f.logs[i][at]
		f.inv[i] = 1 / f.probs[i][at]
	}
	return sum
}

// singles writes to dst, for each member, the probability with that member in any other state, relative to the row's.
func (f *flips) singles(dst []float64) {
	for i, r := range f.row {
		uses := f.uses[f.first[i]:f.first[i+1]]
		ratio := f.ratio[f.offset[i]:][:f.cards[i]]
		sum := 0.0
		for s := range ratio {
			if s == int(r) {
				ratio[s] = 1
				continue
			}
			ratio[s] = f.flip(uses, s-int(r))
			sum += ratio[s]
		}
		dst[i] = sum
	}
}

const (
	// vast is the logarithm of a ratio so large that more makes no difference, and the product of two might overflow.
	vast = 300
	// safeFactors is how many factors of up to 1/leastProbability fit a float.
	safeFactors = 24
)

var maxRatio = math.Exp(vast)

// flip is the ratio for a member that is in these tables and moves by so many states.
func (f *flips) flip(uses []use, step int) float64 {
	if len(uses) <= safeFactors {
		p := 1.0
		for _, u := range uses {
			p *= f.probs[u.table][f.at[u.table]+step*u.stride] * f.inv[u.table]
		}
		return min(p, maxRatio)
	}
	d := 0.0
	for _, u := range uses {
		t, at := f.logs[u.table], f.at[u.table]
		d += t[at+step*u.stride] - t[at]
	}
	return math.Exp(min(d, vast))
}

// pair is the same for two members that share tables, after singles. It leaves the sums for each of their states in
// sumA and sumB.
func (f *flips) pair(p *pair) float64 {
	ra, rb := int(f.row[p.a]), int(f.row[p.b])
	shares := f.shares[p.from:p.to]
	ratioA, ratioB := f.ratio[f.offset[p.a]:][:f.cards[p.a]], f.ratio[f.offset[p.b]:][:f.cards[p.b]]
	sum := 0.0
	sumB := f.sumB[:len(ratioB)]
	clear(sumB)
	for a, wa := range ratioA {
		f.sumA[a] = 0
		if a == ra {
			continue
		}
		for b, wb := range ratioB {
			if b == rb {
				continue
			}
			w := wa * wb
			for _, s := range shares { // a shared table was counted for each member with the other as reported
				t, at := f.probs[s.table], f.at[s.table]
				stepA, stepB := (a-ra)*s.strideA, (b-rb)*s.strideB
				w *= t[at+stepA+stepB] * t[at] / (t[at+stepA] * t[at+stepB])
			}
			w = min(w, maxRatio)
			f.sumA[a] += w
			sumB[b] += w
			sum += w
		}
	}
	return sum
}
