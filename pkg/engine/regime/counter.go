// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	counterMoves = 1000 // moves before a stream may pass for a counter
	counterFrom  = 0.97 // balance of moves from which it does
	counterTo    = 0.7  // and below which it does not any more
	resetTimes   = 20   // usual moves that a move against the direction must exceed to be a reset
)

// counter tells streams that move one way but for resets.
type counter struct {
	moves   float64
	balance float64 // share of moves upwards less that downwards, resets left out
	size    float64 // usual |move|
	on      bool
}

// learn takes a move in and reports whether it is a reset.
func (c *counter) learn(move float64) (reset bool) {
	if move == 0 {
		return false
	}
	size := math.Abs(move)
	against := move*c.balance < 0
	if against && c.moves > 64 && math.Abs(c.balance) > counterTo && size > resetTimes*c.size {
		return true
	}
	c.moves++
	young := 1 / c.moves
	c.balance += max(1.0/1024, young) * (math.Copysign(1, move) - c.balance)
	c.size += max(1.0/1024, young) * (bounded(size, 4*c.size) - c.size)
	switch b := math.Abs(c.balance); {
	case b < counterTo:
		c.on = false
	case b > counterFrom && c.moves >= counterMoves:
		c.on = true
	}
	return false
}

// EncodeState implements state.Part.
func (c *counter) EncodeState(w *state.Writer) {
	w.Float(c.moves)
	w.Float(c.balance)
	w.Float(c.size)
	w.Bool(c.on)
}

// DecodeState implements state.Part.
func (c *counter) DecodeState(r *state.Reader) {
	c.moves, c.balance, c.size = r.Min("moves", 0), r.Min("balance", -1), r.Min("usual move", 0)
	c.on = r.Bool()
}
