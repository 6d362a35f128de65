// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import "math"

// maxBlockCells bounds the cells that Bayesian blocks are composed of: the work grows with the square.
const maxBlockCells = 512

// falsePositive is the rate of superfluous blocks that the first penalty aims at.
const falsePositive = 0.01

// blocks are the change points of the optimal partition of sorted values into at most most blocks of constant density;
// none if one block is best.
func blocks(sorted []float64, most int) []float64 {
	edges, counts := blockCells(sorted)
	if len(counts) < 2 {
		return nil
	}
	n := float64(len(sorted))
	// Equation 21 of Scargle et al., for events.
	penalty := max(1, 4-math.Log(73.53*falsePositive*math.Pow(n, -0.478)))
	for range 64 {
		cuts := partition(edges, counts, penalty)
		if len(cuts) < most {
			return cuts
		}
		penalty *= 1.5
	}
	return nil
}

// blockCells groups values to cells that hold about equally many, equal values in the same, with an edge half-way
// between the values of neighbouring cells.
func blockCells(sorted []float64) (edges, counts []float64) {
	per := max(1, len(sorted)/maxBlockCells)
	edges = append(edges, sorted[0])
	for from := 0; from < len(sorted); {
		to := min(from+per, len(sorted))
		for to < len(sorted) && sorted[to] == sorted[to-1] {
			to++
		}
		counts = append(counts, float64(to-from))
		if to < len(sorted) {
			edges = append(edges, middle(sorted[to-1], sorted[to]))
		} else {
			edges = append(edges, sorted[to-1])
		}
		from = to
	}
	return edges, counts
}

// partition is the dynamic programme of Scargle et al.: the best partition of the first k cells ends in a block whose
// rest is the best partition of fewer.
func partition(edges, counts []float64, penalty float64) []float64 {
	n := len(counts)
	best, last := make([]float64, n), make([]int, n)
	least := (edges[n] - edges[0]) * 1e-9 // the width of a block of equal values
	for k := range n {
		best[k] = math.Inf(-1)
		sum := 0.0
		for from := k; from >= 0; from-- {
			sum += counts[from]
			fitness := sum*math.Log(sum/max(edges[k+1]-edges[from], least)) - penalty
			if from > 0 {
				fitness += best[from-1]
			}
			if fitness > best[k] {
				best[k], last[k] = fitness, from
			}
		}
	}
	var cuts []float64
	for k := last[n-1]; k > 0; k = last[k-1] {
		cuts = append(cuts, edges[k])
	}
	for i, j := 0, len(cuts)-1; i < j; i, j = i+1, j-1 {
		cuts[i], cuts[j] = cuts[j], cuts[i]
	}
	return cuts
}
