// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import "slices"

const scatterOf = 15 // newest moves whose median tells how much the stream scatters

// rest follows the newest moves: their median, and for how long there was none.
type rest struct {
	run    float64 // readings that repeat the one before
	ended  float64 // length of the rest that ended with the newest reading; 0: none did
	runs   float64 // rests that were learned
	rows   float64 // readings in them
	moves  [scatterOf]float64
	sorted [scatterOf]float64
	noise  [2 * late]float32 // what is to be learned of late readings
	still  [2 * late]float32
}

func (r *rest) add(t int64, move float64) {
	r.ended = 0
	if move == 0 {
		r.run++
	} else {
		r.ended, r.run = r.run+1, 0
	}
	k := t % scatterOf
	old := r.moves[k]
	r.moves[k] = move
	s := r.sorted[:]
	i := 0
	for i < scatterOf-1 && s[i] != old {
		i++
	}
	for i > 0 && s[i-1] > move {
		s[i] = s[i-1]
		i--
	}
	for i < scatterOf-1 && s[i+1] < move {
		s[i] = s[i+1]
		i++
	}
	s[i] = move
}

func (r *rest) median() float64 { return r.sorted[scatterOf/2] }

func (r *rest) keep(t int64, noise, still float64) {
	r.noise[t&(2*late-1)], r.still[t&(2*late-1)] = float32(noise), float32(still)
}

// kept is what was kept of reading t, now being the newest; ok where that is remembered.
func (r *rest) kept(t, now int64) (noise, still float64, ok bool) {
	k := t & (2*late - 1)
	return float64(r.noise[k]), float64(r.still[k]), now-t < 2*late
}

func sortMoves(s *[scatterOf]float64) { slices.Sort(s[:]) }
