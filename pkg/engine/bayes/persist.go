// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"fmt"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Persist are the options of a Persistence.
type Persist struct {
	// Threshold is the log-likelihood ratio at which a member is found faulty; 0 means 16. As long as network and fault
	// priors are right, a fault that is not there is found at most once in e^Threshold rows on average.
	Threshold float64
	// Rival is the share of the best candidate's posterior from which another makes the finding ambiguous; 0 means 0.01,
	// which a single misreading does not bring about.
	Rival float64
}

// Finding is what a Persistence knows after a row.
type Finding struct {
	Row    *Verdict // on this row alone
	Faulty bool     // the evidence against some member has reached the threshold
	// Candidates are the members with evidence against them, best first, at most eight; Posterior is relative to each other.
	Candidates []Candidate
	Blamed     []int // the best candidate, if Faulty
	Ambiguous  bool  // the first Rivals candidates cannot be told apart yet
	Rivals     int
	Evidence   float64 // log-likelihood ratio of the best candidate to "no member is faulty"
}

// Persistence tells a member that stays faulty from single misreadings, and faults apart that look alike in one row: a
// light that is dark contradicts the sensor only while it is said to be on, a sensor that is stuck contradicts every
// light that changes.
//
// Each member may have failed in one of these ways, with k its number of states:
//
//	its report is frozen in a state (k ways)
//	it is itself frozen in a state, whatever it reports (k ways)
//	its reports are arbitrary, all states alike
//
// For each a cumulative sum (Page 1954) of log-likelihood ratios compares that with "all members err independently, with
// their prior". Members also err independently while one has failed. Only anomalous rows speak for a fault, each no more
// than it is evidence of any wrong report: a member that rests in a rare state for long has not failed. Where the
// training rows contain misreadings, Options.Alpha must therefore be above the share of rows that have one.
type Persistence struct {
	l         *Locator
	threshold float64
	rival     float64
	logPrior  []float64 // of each state of each member, in the layout of the locator's realities
	report    []report
	sums      []float64 // for each member: k frozen reports, k frozen states, arbitrary
	quiet     bool      // all sums are 0
	top       topSets
	finding   Finding
}

// report has the logarithms that a member's reports are weighed with.
type report struct{ right, wrong, arbitrary float64 }

// saturation is how far beyond the threshold evidence is kept, so that a repaired member is cleared in bearable time.
const saturation = 14

// NewPersistence accumulates the judgements of l.
func NewPersistence(l *Locator, opt Persist) (*Persistence, error) {
	if opt.Threshold == 0 {
		opt.Threshold = 16
	}
	if opt.Rival == 0 {
		opt.Rival = 0.01
	}
	if !(opt.Threshold > 0 && opt.Threshold < vast && opt.Rival > 0 && opt.Rival <= 1) {
		return nil, fmt.Errorf("%w: threshold %v, rival %v, want more than 0 and at most %d and 1", ErrInvalid, opt.Threshold, opt.Rival, vast)
	}
	p := &Persistence{l: l, threshold: opt.Threshold, rival: opt.Rival}
	for i := range l.partial {
		l.partial[i] = Missing
	}
	l.engine.Query(l.partial)
	for i, k := range l.engine.cards {
		for _, prior := range l.engine.Posterior(i) {
			p.logPrior = append(p.logPrior, math.Log(max(prior, leastProbability)))
		}
		p.report = append(p.report, report{
			right: -math.Log1p(l.odds[i] * float64(k-1)), wrong: math.Log(l.odds[i]), arbitrary: -math.Log(float64(k)),
		})
		p.sums = append(p.sums, make([]float64, 2*k+1)...)
	}
	p.finding.Candidates = make([]Candidate, 0, maxCandidates)
	p.Reset()
	return p, nil
}

// Reset forgets all evidence.
func (p *Persistence) Reset() {
	clear(p.sums)
	p.quiet = true
}

// Judge judges the next row. The finding is valid until the next call.
func (p *Persistence) Judge(row []uint8) *Finding {
	f := &p.finding
	*f = Finding{Row: p.l.judge(row, true), Candidates: f.Candidates[:0]}
	f.Evidence = p.accumulate(row, f.Row)
	if excess := f.Evidence - p.threshold - saturation; excess > 0 { // the same for all: differences are what locates
		for h := range p.sums {
			p.sums[h] = max(0, p.sums[h]-excess)
		}
		f.Evidence -= excess
	}
	if f.Evidence <= leastEvidence {
		f.Evidence = 0
		return f
	}
	f.Faulty = f.Evidence >= p.threshold
	p.rank(f)
	return f
}

// leastEvidence is what is not worth mentioning: about what a table that was learned from noise adds up to.
const leastEvidence = 0.01

// accumulate adds the evidence of the row just judged, and returns the largest sum.
func (p *Persistence) accumulate(row []uint8, v *Verdict) float64 {
	l := p.l
	most := 0.0
	if v.Anomalous {
		most = -math.Log(v.NoFault + (1-v.NoFault)*l.opt.Fault)
	} else if p.quiet {
		return 0
	}
	noisy := math.Log(l.noisy)
	top, at, h := 0.0, 0, 0
	for i, k := range l.engine.cards {
		reality, logPrior := l.reality[at:at+k], p.logPrior[at:at+k]
		sums := p.sums[h : h+2*k+1]
		at, h = at+k, h+2*k+1
		if row[i] == Missing || l.odds[i] == 0 {
			top = max(top, slices.Max(sums))
			continue
		}
		total := 0.0
		for _, w := range reality {
			total += w
		}
		r := &p.report[i]
		// Whatever the member reports: the probability of the other reports, relative to independent errors.
		others := math.Log(total) - noisy - r.right
		reported := logPrior[row[i]] - noisy - r.right
		for s := range k {
			frozen := others + r.right // errors of reading remain possible
			if s != int(row[i]) {
				frozen += r.wrong
			}
			stuck := math.Log(max(reality[s], tiny)) - logPrior[s] + reported
			sums[s] = max(0, sums[s]+min(most, frozen))
			sums[k+s] = max(0, sums[k+s]+min(most, stuck))
			top = max(top, sums[s], sums[k+s])
		}
		sums[2*k] = max(0, sums[2*k]+min(most, others+r.arbitrary))
		top = max(top, sums[2*k])
	}
	p.quiet = top == 0
	return top
}

// tiny stands for 0 where a logarithm is taken.
const tiny = 1e-100

// rank lists the members by the strongest evidence against each, and blames the first.
func (p *Persistence) rank(f *Finding) {
	p.top.reset()
	h := 0
	for i, k := range p.l.engine.cards {
		s := slices.Max(p.sums[h : h+2*k+1])
		h += 2*k + 1
		if s > leastEvidence {
			p.top.add(p.l.odds[i]*float64(k-1)*math.Exp(s-f.Evidence), i, -1)
		}
	}
	for k := range p.top.n {
		s := &p.top.sets[k]
		f.Candidates = append(f.Candidates, Candidate{Members: s.members[:1], Posterior: s.weight / p.top.total})
	}
	if !f.Faulty || len(f.Candidates) == 0 {
		return
	}
	f.Blamed = f.Candidates[0].Members
	f.Rivals = rivals(f.Candidates, p.rival)
	f.Ambiguous = f.Rivals > 1
}

// rivals is how many of the first candidates have at least this share of the best one's posterior.
func rivals(list []Candidate, share float64) int {
	n := 0
	for n < len(list) && list[n].Posterior >= share*list[0].Posterior {
		n++
	}
	return n
}

// EncodeState implements [state.Part].
func (p *Persistence) EncodeState(w *state.Writer) { w.Floats(p.sums) }

// DecodeState implements [state.Part].
func (p *Persistence) DecodeState(r *state.Reader) {
	sums := make([]float64, len(p.sums))
	r.FloatsTo("evidence", sums)
	for _, s := range sums {
		if !(s >= 0 && s <= vast+saturation) {
			r.Fail("evidence of %v", s)
		}
	}
	if r.Err() == nil {
		copy(p.sums, sums)
		p.quiet = slices.Max(sums) == 0
	}
}
