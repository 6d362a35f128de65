// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"fmt"
	"math"
	"slices"
)

// Variable is the name and the states of one column of a table.
type Variable struct {
	Name   string
	States []string
}

// maxDistinct is the number of distinct rows up to which equal rows are merged; beyond it merging no longer pays.
const maxDistinct = 1 << 20

// Table collects rows of states for learning: a byte a state, column by column, equal rows once with their number.
type Table struct {
	vars   []Variable
	cards  []int
	cols   [][]uint8
	weight []float64
	total  float64
	index  map[string]int32
}

// NewTable is an empty table with these columns.
func NewTable(vars []Variable) (*Table, error) {
	if len(vars) == 0 || len(vars) > MaxNodes {
		return nil, fmt.Errorf("%w: %d columns, want 1 to %d", ErrInvalid, len(vars), MaxNodes)
	}
	t := &Table{vars: slices.Clone(vars), cols: make([][]uint8, len(vars)), index: make(map[string]int32)}
	for _, v := range vars {
		if len(v.States) < 1 || len(v.States) > MaxStates {
			return nil, fmt.Errorf("%w: column %q has %d states, want 1 to %d", ErrInvalid, v.Name, len(v.States), MaxStates)
		}
		t.cards = append(t.cards, len(v.States))
	}
	return t, nil
}

// Add counts a row, which may have Missing states. The row is not kept.
func (t *Table) Add(row []uint8) error { return t.AddWeighted(row, 1) }

// AddWeighted counts a row as often as weight says, which must be positive and finite.
func (t *Table) AddWeighted(row []uint8, weight float64) error {
	if len(row) != len(t.cards) {
		return fmt.Errorf("%w: a row of %d states, want %d", ErrInvalid, len(row), len(t.cards))
	}
	if !(weight > 0) || math.IsInf(weight, 1) {
		return fmt.Errorf("%w: a row of weight %v", ErrInvalid, weight)
	}
	for i, s := range row {
		if s != Missing && int(s) >= t.cards[i] {
			return fmt.Errorf("%w: state %d of %q, want less than %d", ErrInvalid, s, t.vars[i].Name, t.cards[i])
		}
	}
	t.total += weight
	if at, ok := t.index[string(row)]; ok {
		t.weight[at] += weight
		return nil
	}
	if len(t.index) < maxDistinct {
		t.index[string(row)] = int32(len(t.weight))
	}
	for i, s := range row {
		t.cols[i] = append(t.cols[i], s)
	}
	t.weight = append(t.weight, weight)
	return nil
}

// Rows is the total weight of all rows.
func (t *Table) Rows() float64 { return t.total }

// Distinct is the number of rows that are kept.
func (t *Table) Distinct() int { return len(t.weight) }

// Variables are the columns.
func (t *Table) Variables() []Variable { return slices.Clone(t.vars) }

// Each calls f for every row that is kept, with its weight, until f returns false. The row is reused.
func (t *Table) Each(f func(row []uint8, weight float64) bool) {
	row := make([]uint8, len(t.cols))
	for k, w := range t.weight {
		for i := range row {
			row[i] = t.cols[i][k]
		}
		if !f(row, w) {
			return
		}
	}
}

// family counts how often node and parents take each joint state, in the layout of Node.CPT, over the rows in which all
// of them are known. It returns the counts in dst, grown as needed, and their sum.
func (t *Table) family(dst []float64, node int, parents []int) ([]float64, float64) {
	size := t.cards[node]
	for _, p := range parents {
		size *= t.cards[p]
	}
	dst = slices.Grow(dst[:0], size)[:size]
	clear(dst)
	sum := 0.0
	child := t.cols[node]
	switch len(parents) {
	case 0:
		for k, w := range t.weight {
			if s := child[k]; s != Missing {
				dst[s] += w
				sum += w
			}
		}
	case 1:
		p, card := t.cols[parents[0]], t.cards[node]
		for k, w := range t.weight {
			if s, q := child[k], p[k]; s != Missing && q != Missing {
				dst[int(q)*card+int(s)] += w
				sum += w
			}
		}
	default:
		sum = t.familyN(dst, node, parents)
	}
	return dst, sum
}

// countBlock is the number of rows indexed together, small enough that the indices stay in the first cache.
const countBlock = 2048

func (t *Table) familyN(dst []float64, node int, parents []int) float64 {
	var at [countBlock]int32
	columns := append(slices.Clip(parents), node)
	sum := 0.0
	for from := 0; from < len(t.weight); from += countBlock {
		to := min(from+countBlock, len(t.weight))
		block := at[:to-from]
		clear(block)
		for _, p := range columns {
			card := int32(t.cards[p])
			for k, s := range t.cols[p][from:to] {
				if s == Missing {
					block[k] = -1 // stays negative through the remaining columns
					continue
				}
				if block[k] >= 0 {
					block[k] = block[k]*card + int32(s)
				}
			}
		}
		for k, i := range block {
			if i >= 0 {
				dst[i] += t.weight[from+k]
				sum += t.weight[from+k]
			}
		}
	}
	return sum
}
