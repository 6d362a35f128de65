// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/shape"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	jointMemory = 4000 // rows that a member's mean and spread are the means of
	jointSmooth = 0.1  // weight of a row in what relations are judged by
	jointFar    = 8    // spreads from its mean that a member counts as at most
	jointYoung  = 250  // rows learned before one is judged
	windowsAll  = 4096 // earlier windows that the members remember together
	windowsMost = 512
	windowsMin  = 64
	alike       = 0.8 // of the largest evidence that says as much
)

// Sign is what was unusual about a member.
type Sign uint8

// The signs.
const (
	None     Sign = iota
	Alone         // unusual by itself
	Relation      // not where the others say
	Shape         // the newest readings are unlike any before
	signs
)

// Joint judges the members of a group together: how rare each one's residual to the others and the shape of its newest
// readings are by what they were before, to which comes how rare it is by itself, and then how rare a row is whose
// members are as unusual in the quadratic mean: one that is far off counts as much as many that are somewhat. All is
// learned from what is judged, after it was judged: nothing is fitted to the rows that it is measured by. It is not safe
// for concurrent use.
type Joint struct {
	members   []part
	relations relations
	rarity    quantile.LogTail
	z, rest   []float64 // scratch: the smoothed row, residuals
	rows      uint64
}

// part is what a Joint keeps of a member.
type part struct {
	n            uint64
	mean, spread float64
	smooth       float64          // of the standardised readings
	typical      float64          // residual
	away         float64          // of the last residual, in typical ones
	tail         quantile.LogTail // of residuals
	shape        *shape.Detector
	evidence     [signs]float64 // of the last row; None is that of all together
}

// NewJoint makes a Joint for that many members.
func NewJoint(members int) *Joint {
	j := &Joint{
		members: make([]part, members), relations: newRelations(members),
		z: make([]float64, members), rest: make([]float64, members),
	}
	windows := min(max(windowsAll/members, windowsMin), windowsMost)
	for i := range j.members {
		j.members[i].shape = shape.New(2, windows)
	}
	return j
}

// Together is what the members of a row show together.
type Together struct {
	Evidence float64 // −log10 of the probability of a row as unusual while all is well, by the rows before
	Now      float64 // the same if the evidences of a member were independent of each other; it does not depend on other rows
	Lead     int     // the member that is most unusual; −1 for none
	Judged   bool    // false for the first rows
}

// Next judges a row, in which NaN is a member that is missing, and of each member how rare it is by itself, as −log10 of
// a probability. What is held is judged, and learned only of the members, if it is to move what is known of them.
func (j *Joint) Next(row, alone []float64, hold, move bool) (v Together) {
	learn := !hold
	hold = hold && !move
	for i := range j.members {
		j.z[i] = j.members[i].next(row[i], alone[i], hold)
	}
	if j.relations.residuals(j.rest, j.z) {
		for i := range j.members {
			j.members[i].relate(row[i], j.rest[i], hold)
		}
	}
	if !hold {
		j.relations.learn(j.z)
		j.rows++
	}
	lead, sum := -1, 0.0
	for i := range j.members {
		e := &j.members[i].evidence
		e[None] = e[Alone] + e[Relation] + e[Shape]
		sum += e[None] * e[None]
		if e[None] > 0 && (lead < 0 || e[None] > j.members[lead].evidence[None]) {
			lead = i
		}
	}
	if lead >= 0 {
		lead = j.culprit(lead)
	}
	mean := math.Sqrt(sum / float64(len(j.members)))
	unusual := math.Exp2(min(mean, 20))
	v = Together{Evidence: j.rarity.Evidence(unusual), Now: fisher(mean), Lead: lead, Judged: j.rows > jointYoung}
	if learn {
		j.rarity.Add(unusual)
	}
	return v
}

// fisher is −log10 of the probability that three independent evidences come to as much: that their sum, in natural units
// and doubled, is a chi-squared of six degrees of freedom (R. A. Fisher, Statistical Methods for Research Workers, 4th
// edition, 1932, section 21.1).
func fisher(evidence float64) float64 {
	x := evidence * math.Ln10
	return max(evidence-math.Log10(1+x+x*x/2), 0)
}

// culprit is the member that is to blame where relations say most: a member that is wrong is not where the others say,
// nor are they where it says. Of those that are as unusual it is the one furthest away, in what it usually is.
func (j *Joint) culprit(lead int) int {
	if sign, _ := j.Evidence(lead); sign != Relation {
		return lead
	}
	least := alike * j.members[lead].evidence[None]
	for i := range j.members {
		if p := &j.members[i]; p.evidence[None] >= least && p.away > j.members[lead].away {
			lead = i
		}
	}
	return lead
}

// Evidence is how unusual a member was in the last row, and what was most unusual about it.
func (j *Joint) Evidence(member int) (Sign, float64) {
	e := &j.members[member].evidence
	sign, most := None, 0.0
	for s := Alone; s < signs; s++ {
		if e[s] > most {
			sign, most = s, e[s]
		}
	}
	return sign, e[None]
}

// next takes a reading and returns the smoothed standardised one.
func (p *part) next(x, alone float64, hold bool) float64 {
	p.evidence, p.away = [signs]float64{}, 0
	if !finite(x) {
		return p.smooth
	}
	p.n++
	if p.n == 1 {
		p.mean = x
	}
	away := x - p.mean
	if p.spread > 0 {
		away = min(max(away, -jointFar*p.spread), jointFar*p.spread)
	}
	z := 0.0
	if p.spread > resolution*math.Abs(p.mean) {
		z = away / p.spread
	}
	p.evidence[Alone] = alone
	p.smooth += jointSmooth * (z - p.smooth)
	if e, ok := p.shape.Next(x, hold); ok {
		p.evidence[Shape] = e
	}
	if !hold || p.n < jointYoung {
		g := max(1/float64(p.n), 1.0/jointMemory)
		p.mean += g * away
		p.spread += g * (math.Abs(away) - p.spread)
	}
	return p.smooth
}

// relate takes the residual of the member to the others.
func (p *part) relate(x, residual float64, hold bool) {
	residual = math.Abs(residual)
	if !finite(x) {
		return
	}
	if p.typical > 0 {
		p.away = residual / p.typical
		p.evidence[Relation] = p.tail.Evidence(p.away)
	}
	if hold {
		return
	}
	if p.typical == 0 {
		p.typical = residual
	}
	p.typical += (residual - p.typical) / jointMemory
	if p.typical > 0 {
		p.tail.Add(residual / p.typical)
	}
}

// EncodeState implements state.Part.
func (j *Joint) EncodeState(w *state.Writer) {
	for i := range j.members {
		p := &j.members[i]
		w.Uint(p.n)
		for _, v := range []float64{p.mean, p.spread, p.smooth, p.typical} {
			w.Float(v)
		}
		p.tail.EncodeState(w)
		p.shape.EncodeState(w)
	}
	j.relations.EncodeState(w)
	j.rarity.EncodeState(w)
	w.Uint(j.rows)
}

// DecodeState implements state.Part.
func (j *Joint) DecodeState(r *state.Reader) {
	for i := range j.members {
		p := &j.members[i]
		p.n = r.Readings()
		p.mean, p.spread, p.smooth, p.typical = r.Finite("mean"), r.Min("spread", 0), r.Finite("smoothed reading"), r.Min("typical residual", 0)
		p.tail.DecodeState(r)
		p.shape.DecodeState(r)
	}
	j.relations.DecodeState(r)
	j.rarity.DecodeState(r)
	j.rows = r.Readings()
}
