// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"fmt"
	"math"
	"slices"
)

// leastProbability is what an entry of a table counts as when rows are judged: an entry of 0 says that something was
// thought to be impossible, not that the report of it can only be explained by a fault.
const leastProbability = 1e-12

// maxCandidates bounds the fault sets that a verdict lists.
const maxCandidates = 8

// Options are those of a Locator.
type Options struct {
	// Alpha is the p-value at or below which a row is anomalous; 0 means 0.001.
	Alpha float64
	// Fault is the prior probability that a member's report is wrong; 0 means 0.01. If the training rows contain
	// misreadings, the network expects them: Fault should then be two or three times their rate.
	Fault float64
	// Faults, if not nil, has a prior for each member instead, for example less for a sensor that is trusted more. A
	// member of prior 0 is never blamed.
	Faults []float64
	// MaxSet is the largest number of members blamed together, 1 or 2; 0 means 2.
	MaxSet int
	// Rival is the share of the best candidate's posterior from which another makes the verdict ambiguous; 0 means 0.25.
	Rival float64
}

// Candidate is a set of members whose reports, if wrong, explain a row.
type Candidate struct {
	Members   []int
	Posterior float64 // among all candidates and "no fault"
}

// Verdict is what a Locator found out about a row.
type Verdict struct {
	LogLik    float64 // log-probability of the known states
	Surprise  float64 // -LogLik, missing states counted with what they cost on average
	Conflict  float64 // log-odds that some report is wrong, in nats
	PValue    float64 // share of the training rows that had as much surprise or conflict
	Anomalous bool    // PValue <= Alpha
	NoFault   float64 // posterior probability that all reports are right

	// Candidates are ranked by their posterior, at most eight. There are none while NoFault is near 1.
	Candidates []Candidate
	// Blamed is the best candidate of an anomalous row, if it is more probable than no fault at all.
	Blamed []int
	// Ambiguous says that the blame cannot be told from one row: Rivals is how many of the first candidates share it.
	Ambiguous bool
	Rivals    int
}

// Locator judges rows: is the row improbable, and whose wrong report would explain it?
//
// The model of reports: the world is in a joint state drawn from the network; the report of member i is right with
// probability 1-Fault, otherwise any other state, all alike. The posterior of a fault set F given the row r is
//
//	P(F | r) ∝ Π_{i∈F} Fault_i/(k_i-1) · Π_{i∉F} (1-Fault_i) · Σ_{x: x_i≠r_i for i∈F} P(x_F, r_rest)
//
// The sum flips the reports in F to all other states (the flip test of KubeEdge's room demo tries one state of one
// member). Small sets win because each further fault costs its prior. Sets of one member are all tried; sets of two if
// they share a table, or are among the most suspect.
type Locator struct {
	engine *Engine
	cal    *Calibration
	opt    Options
	upd    *Updater

	odds []float64 // Fault_i/(1-Fault_i)/(k_i-1); 0 for a member that is never blamed

	flips   flips
	single  []float64 // ratio of the probability with member i flipped to that of the row
	reality []float64 // see realities
	noisy   float64   // probability of the row under the model of reports, relative to that of no fault
	soft    []Likelihood
	partial []uint8
	top     topSets
	verdict Verdict
}

// NewLocator prepares to judge rows of the engine's network. The calibration is that of the same network.
func NewLocator(e *Engine, cal *Calibration, opt Options) (*Locator, error) {
	n := len(e.cards)
	if opt.Alpha == 0 {
		opt.Alpha = 0.001
	}
	if opt.Fault == 0 {
		opt.Fault = 0.01
	}
	if opt.MaxSet == 0 {
		opt.MaxSet = 2
	}
	if opt.Rival == 0 {
		opt.Rival = 0.25
	}
	if !(opt.Alpha > 0 && opt.Alpha < 1 && opt.Fault > 0 && opt.Fault < 1 && opt.Rival > 0 && opt.Rival <= 1) {
		return nil, fmt.Errorf("%w: alpha %v, fault %v, rival %v, want numbers between 0 and 1", ErrInvalid, opt.Alpha, opt.Fault, opt.Rival)
	}
	if opt.MaxSet < 1 || opt.MaxSet > 2 {
		return nil, fmt.Errorf("%w: fault sets of %d members, want 1 or 2", ErrInvalid, opt.MaxSet)
	}
	if opt.Faults != nil && len(opt.Faults) != n {
		return nil, fmt.Errorf("%w: %d fault priors for %d members", ErrInvalid, len(opt.Faults), n)
	}
	if cal == nil || len(cal.node) != n {
		return nil, fmt.Errorf("%w: no calibration, or one of another network", ErrInvalid)
	}
	l := &Locator{engine: e, cal: cal, opt: opt, partial: make([]uint8, n)}
	for i, k := range e.cards {
		prior := opt.Fault
		if opt.Faults != nil {
			prior = opt.Faults[i]
		}
		if !(prior >= 0 && prior < 1) {
			return nil, fmt.Errorf("%w: fault prior %v of %q, want 0 to less than 1", ErrInvalid, prior, e.net.Nodes[i].Name)
		}
		odds := 0.0
		if k > 1 {
			odds = prior / (1 - prior) / float64(k-1)
		}
		l.odds = append(l.odds, odds)
		l.soft = append(l.soft, Likelihood{Node: i, Weights: make([]float64, k)})
	}
	l.single = make([]float64, n)
	l.flips.build(e.net)
	l.reality = make([]float64, len(l.flips.ratio))
	l.verdict.Candidates = make([]Candidate, 0, maxCandidates)
	return l, nil
}

// Engine is what the locator was made with.
func (l *Locator) Engine() *Engine { return l.engine }

// Adapt makes Learn available.
func (l *Locator) Adapt(opt Adapt) error {
	u, err := NewUpdater(l.engine.net, opt)
	if err != nil {
		return err
	}
	l.upd = u
	return nil
}

// Learn updates the network's tables with a row, and everything compiled from them. It does nothing before Adapt. The
// calibration stays that of the training rows.
func (l *Locator) Learn(row []uint8) {
	if l.upd == nil {
		return
	}
	for i := range l.engine.cards {
		if c := l.upd.update(i, row); c >= 0 {
			l.flips.reload(l.engine.net, i, c)
			l.engine.Reload()
		}
	}
}

// Judge judges a row of the network ([Network.CheckRow]). The verdict is valid until the next call.
func (l *Locator) Judge(row []uint8) *Verdict { return l.judge(row, false) }

// judge computes the realities as well if they are asked for.
func (l *Locator) judge(row []uint8, realities bool) *Verdict {
	v := &l.verdict
	*v = Verdict{Candidates: v.Candidates[:0]}
	complete := !slices.Contains(row, Missing)
	var suspicion float64 // Σ weights of single faults, relative to no fault
	if complete {
		v.LogLik = l.flips.enter(row)
		v.Surprise = -v.LogLik
		l.flips.singles(l.single)
	} else {
		l.gaps(row, v)
	}
	for i, r := range l.single {
		suspicion += l.odds[i] * r
	}
	v.Conflict = math.Log(max(suspicion, tiny))
	v.NoFault = 1 / (1 + suspicion)
	v.PValue = l.cal.PValue(v.Surprise, v.Conflict)
	v.Anomalous = v.PValue <= l.opt.Alpha
	if realities && complete {
		l.realities(suspicion)
	}
	if v.Anomalous || suspicion > worthLocating {
		l.locate(row, complete, realities, v)
	}
	return v
}

// worthLocating is the weight of all single faults from which their ranking is of interest.
const worthLocating = 0.5

// realities weighs, for each member and each state that it might really be in, the probability of the other reports,
// relative to that of the row: at reality[offset+state], with at most one other report wrong. linkedPairs makes it
// exact for members that share a table; until then their flips count as independent.
func (l *Locator) realities(suspicion float64) {
	f := &l.flips
	l.noisy = 1 + suspicion
	for i := range f.row {
		others := 1 + suspicion - l.odds[i]*l.single[i]
		for s, w := range f.ratio[f.offset[i]:][:f.cards[i]] {
			l.reality[f.offset[i]+s] = w * others
		}
	}
}

// gaps judges a row with missing states by propagation: once as it is, once under the model of reports.
func (l *Locator) gaps(row []uint8, v *Verdict) {
	e := l.engine
	v.LogLik = max(e.LogProb(row), float64(len(row))*math.Log(leastProbability))
	v.Surprise = -v.LogLik
	known := 0
	for i, s := range row {
		l.partial[i] = Missing
		w := l.soft[i].Weights
		if s == Missing {
			v.Surprise += l.cal.node[i]
			for k := range w {
				w[k] = 1
			}
			continue
		}
		known++
		for k := range w {
			w[k] = l.odds[i] + leastProbability
		}
		w[s] = 1
	}
	clear(l.single)
	clear(l.reality)
	l.noisy = 1
	if known == 0 {
		return
	}
	// With this evidence the probability is Σ_F weight(F), and a member's report is wrong in a share of it.
	z := math.Exp(min(e.QueryLikelihood(l.partial, l.soft...)-v.LogLik, vast))
	if z == 0 {
		return // lost to underflow
	}
	l.noisy = z
	for i, s := range row {
		if s == Missing || l.odds[i] == 0 {
			continue
		}
		for k, w := range l.soft[i].Weights {
			l.reality[l.flips.offset[i]+k] = e.posterior[i][k] * z / w
		}
		if wrong := 1 - e.posterior[i][s]; wrong > 0 {
			l.single[i] = wrong * z / l.odds[i]
		}
	}
}

// locate weighs the fault sets and ranks them.
func (l *Locator) locate(row []uint8, complete, realities bool, v *Verdict) {
	if !complete {
		l.retract(row, v)
	} else {
		l.top.reset()
		for i, r := range l.single {
			l.top.add(l.odds[i]*r, i, -1)
		}
		if l.opt.MaxSet > 1 {
			l.linkedPairs(realities)
			l.freePairs()
		}
	}
	total := 1 + l.top.total
	v.NoFault = 1 / total
	for k := range l.top.n {
		s := &l.top.sets[k]
		members := s.members[:1]
		if s.members[1] >= 0 {
			members = s.members[:2]
		}
		v.Candidates = append(v.Candidates, Candidate{Members: members, Posterior: s.weight / total})
	}
	if !v.Anomalous || len(v.Candidates) == 0 || v.Candidates[0].Posterior <= v.NoFault {
		return
	}
	best := v.Candidates[0]
	v.Blamed = best.Members
	v.Rivals = rivals(v.Candidates, l.opt.Rival)
	v.Ambiguous = v.Rivals > 1
}

// linkedPairs weighs the pairs that share a table, and if asked to corrects the realities: a pair's weight is not the
// product of its members'.
func (l *Locator) linkedPairs(realities bool) {
	f := &l.flips
	for k := range f.pairs {
		p := &f.pairs[k]
		ratio := f.pair(p)
		oddsA, oddsB := l.odds[p.a], l.odds[p.b]
		if realities {
			l.correct(p.a, f.sumA, oddsB, oddsB*l.single[p.b])
			l.correct(p.b, f.sumB, oddsA, oddsA*l.single[p.a])
			l.noisy += oddsA * oddsB * ratio
		}
		l.top.add(oddsA*oddsB*ratio, p.a, p.b)
	}
}

// correct replaces in the realities of member i the product with a linked member of weight w by the sums over their
// joint flips.
func (l *Locator) correct(i int, sums []float64, odds, w float64) {
	f := &l.flips
	for s, alone := range f.ratio[f.offset[i]:][:f.cards[i]] {
		if s != int(f.row[i]) {
			at := &l.reality[f.offset[i]+s]
			*at = max(alone, *at-alone*w+odds*sums[s])
		}
	}
}

// freePairs weighs the pairs of suspects that share no table: their flips are independent of each other.
func (l *Locator) freePairs() {
	if n := len(l.single); len(l.flips.pairs) == n*(n-1)/2 {
		return // there are none
	}
	singles := l.top.suspects(l.odds, l.single)
	for k, a := range singles {
		for _, b := range singles[:k] {
			if !l.flips.linked(a, b) {
				l.top.add(l.odds[a]*l.single[a]*l.odds[b]*l.single[b], min(a, b), max(a, b))
			}
		}
	}
}

// retract weighs the fault sets of a row with missing states, those of the most suspect members, by propagation.
func (l *Locator) retract(row []uint8, v *Verdict) {
	l.top.reset()
	suspects := l.top.suspects(l.odds, l.single)
	suspects = suspects[:min(len(suspects), maxRetracted)]
	for k, a := range suspects {
		ratio := l.retracted(row, v.LogLik, a, -1)
		l.single[a] = ratio
		l.top.add(l.odds[a]*ratio, a, -1)
		if l.opt.MaxSet < 2 {
			continue
		}
		for _, b := range suspects[:k] {
			l.top.add(l.odds[a]*l.odds[b]*l.retracted(row, v.LogLik, a, b), min(a, b), max(a, b))
		}
	}
}

// maxRetracted bounds the suspects of a row with missing states: each of them and each pair takes a propagation.
const maxRetracted = 6

// retracted is the ratio of the probability with a, and b unless negative, in any other state to that of the row.
func (l *Locator) retracted(row []uint8, logLik float64, a, b int) float64 {
	e := l.engine
	copy(l.partial, row)
	l.partial[a] = Missing
	if b >= 0 {
		l.partial[b] = Missing
	}
	e.begin(l.partial)
	for _, i := range [2]int{a, b} {
		if i < 0 {
			continue
		}
		w := e.likelihood[i]
		for s := range w {
			w[s] = 1
		}
		w[row[i]] = 0
		e.absorb(i, w)
	}
	return math.Exp(min(e.collect()-logLik, vast))
}

// set is one or two members, with the weight of their being wrong relative to no fault.
type set struct {
	members [2]int // the second is -1 in a set of one
	weight  float64
}

// topSets keeps the heaviest sets, in order, and the total weight of all.
type topSets struct {
	sets  [maxCandidates]set
	n     int
	total float64

	most    [maxSuspects]int
	weights [maxSuspects]float64
}

// maxSuspects bounds the members that are tried in pairs without a shared table.
const maxSuspects = 12

func (t *topSets) reset() { t.n, t.total = 0, 0 }

func (t *topSets) add(weight float64, a, b int) {
	if !(weight > 0) {
		return
	}
	t.total += weight
	k := t.n
	for k > 0 && weight > t.sets[k-1].weight {
		k--
	}
	if k == maxCandidates {
		return
	}
	t.n = min(t.n+1, maxCandidates)
	copy(t.sets[k+1:t.n], t.sets[k:])
	t.sets[k] = set{members: [2]int{a, b}, weight: weight}
}

// suspects lists the members of the highest positive weights, odds times ratio, in order.
func (t *topSets) suspects(odds, ratio []float64) []int {
	n := 0
	for i, r := range ratio {
		w := odds[i] * r
		if !(w > 0) {
			continue
		}
		k := n
		for k > 0 && w > t.weights[k-1] {
			k--
		}
		if k == maxSuspects {
			continue
		}
		n = min(n+1, maxSuspects)
		copy(t.weights[k+1:n], t.weights[k:])
		copy(t.most[k+1:n], t.most[k:])
		t.weights[k], t.most[k] = w, i
	}
	return t.most[:n]
}
