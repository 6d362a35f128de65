// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

const (
	maxTexts     = 250    // texts of a member that are categories; further ones share the state "other"
	maxTextBytes = 128    // of a text that count
	cutValues    = 50_000 // numbers of a member that its bins are learned from
	judgedRows   = 50_000 // distinct rows that the rate of misreadings is learned from
	adaptMemory  = 10_000 // rows that a table remembers when adapting
	rivalShare   = 0.002  // of the best candidate's posterior, from which another cannot be told from it: two misreadings must not do
)

// raw writes the row to dst, a column each: a number, the index of a text in texts, which grows, or NaN. It reports
// whether there is anything new in it.
func (c *columns) raw(dst []float64, row driver.Row, texts [][]string) bool {
	if len(row) != c.width {
		return false
	}
	fresh := false
	for j, i := range c.slot {
		dst[j] = math.NaN()
		if i < 0 {
			continue
		}
		s := &row[i]
		switch {
		case s.Flags&noValue != 0:
			continue
		case s.Text != "":
			dst[j] = float64(textIndex(&texts[j], category(s.Text)))
		case math.IsNaN(s.Value) || math.IsInf(s.Value, 0):
			continue
		default:
			dst[j] = s.Value
		}
		fresh = fresh || s.Flags&notNew == 0
	}
	return fresh
}

// category is a text as it is told apart from others. The discretizer has a state "other" of its own.
func category(text string) string {
	if len(text) > maxTextBytes {
		text = text[:maxTextBytes]
	}
	if text == "other" {
		return `"other"`
	}
	return text
}

// textIndex is the index of a text, which is added while there is room.
func textIndex(texts *[]string, text string) int {
	i := slices.Index(*texts, text)
	if i < 0 {
		if i = len(*texts); i < maxTexts {
			*texts = append(*texts, strings.Clone(text))
		}
	}
	return i
}

// knowledge is all that was learned.
type knowledge struct {
	discretizers []*bayes.Discretizer
	categories   [][]string     // of the discretizers
	trained      *bayes.Network // as it was calibrated
	network      *bayes.Network // as it is now
	calibration  *bayes.Calibration
	resting      resting // the members that reported one number only
	misread      float64 // share of the training rows that look as if they held a misreading
}

// state is that of a sample in column j.
func (k *knowledge) state(j int, s *driver.Sample) uint8 {
	categories := k.categories[j]
	switch {
	case s.Flags&noValue != 0:
		return bayes.Missing
	case s.Text == "":
		return k.discretizers[j].State(s.Value)
	case categories == nil: // numbers were learned
		return bayes.Missing
	}
	if i := slices.Index(categories, category(s.Text)); i >= 0 {
		return uint8(i)
	}
	return uint8(len(categories))
}

// judge is knowledge made ready to judge rows.
type judge struct {
	locator     *bayes.Locator
	persistence *bayes.Persistence // nil where each row is judged alone
}

// learn learns everything from rows, which it goes through twice. On an error nothing changes.
func (d *bayesnetDetector) learn(ctx context.Context, texts [][]string, rows iter.Seq[[]float64]) error {
	k, n, err := d.study(ctx, texts, rows)
	if err != nil {
		return fmt.Errorf("detector %q: %w", bayesnetName, err)
	}
	j, err := d.prepare(k)
	if err != nil {
		return fmt.Errorf("detector %q: %w", bayesnetName, err)
	}
	d.known, d.judge, d.texts, d.rows, d.trouble, d.seen = k, j, texts, nil, "", uint64(n)
	return nil
}

func (d *bayesnetDetector) study(ctx context.Context, texts [][]string, rows iter.Seq[[]float64]) (*knowledge, float64, error) {
	k := &knowledge{}
	if err := d.discretize(ctx, k, texts, rows); err != nil {
		return nil, 0, err
	}
	names := labels(d.columns.keys)
	vars := make([]bayes.Variable, len(names))
	for j, name := range names {
		if len(name) > bayes.MaxName {
			name = fmt.Sprintf("member %d", j)
		}
		vars[j] = bayes.Variable{Name: name, States: k.discretizers[j].States()}
	}
	table, err := bayes.NewTable(vars)
	if err != nil {
		return nil, 0, err
	}
	states, n := make([]uint8, len(vars)), 0
	k.resting = newResting(len(vars))
	for raw := range rows {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		for j, x := range raw {
			states[j] = k.discretizers[j].State(x)
		}
		k.resting.learn(raw)
		if err := table.Add(states); err != nil {
			return nil, 0, err
		}
	}
	for j := range k.resting.value {
		if len(texts[j]) > 0 { // a text that was never met is a state of its own
			k.resting.value[j] = math.NaN()
		}
	}
	k.resting.settle()
	seen, err := seenStates(table)
	if err != nil {
		return nil, 0, err
	}
	structure, err := d.structure(ctx, seen)
	if err != nil {
		return nil, 0, err
	}
	if k.trained, err = bayes.Fit(table, structure, bayes.Prior{SampleSize: d.config.Prior}); err != nil {
		return nil, 0, err
	}
	k.network = k.trained.Clone()
	return k, table.Rows(), d.calibrate(k, table)
}

// discretize learns the states of each column.
func (d *bayesnetDetector) discretize(ctx context.Context, k *knowledge, texts [][]string, rows iter.Seq[[]float64]) error {
	values := make([][]float64, len(texts))
	n, stride := 0, 1
	for raw := range rows {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if n%stride != 0 {
			continue
		}
		for j, x := range raw {
			values[j] = append(values[j], x)
		}
		if len(values[0]) == cutValues { // go on with every other
			stride *= 2
			for j, v := range values {
				for i := range cutValues / 2 {
					v[i] = v[2*i+1]
				}
				values[j] = v[:cutValues/2]
			}
		}
	}
	if n == 0 {
		return errNoRows
	}
	for j, v := range values {
		if len(texts[j]) == 0 && !slices.ContainsFunc(v, func(x float64) bool { return !math.IsNaN(x) }) {
			v = []float64{0} // a member that never reported: one state, of which nothing follows
		}
		z, err := bayes.LearnDiscretizer(v, bayes.Discretize{Categories: texts[j], MaxLevels: d.config.Levels, MaxBins: d.config.Bins})
		if err != nil {
			return fmt.Errorf("%v: %w", d.columns.keys[j], err)
		}
		k.discretizers = append(k.discretizers, z)
		k.categories = append(k.categories, z.Categories())
	}
	return nil
}

// seenStates is the table without the states that never occur: an arc should not pay for parameters that nothing is
// known of.
func seenStates(t *bayes.Table) (*bayes.Table, error) {
	vars := t.Variables()
	index := make([][]uint8, len(vars)) // of each state among those seen
	for j, v := range vars {
		index[j] = slices.Repeat([]uint8{bayes.Missing}, len(v.States))
		vars[j].States = nil
	}
	all := t.Variables()
	t.Each(func(row []uint8, _ float64) bool {
		for j, s := range row {
			if s != bayes.Missing && index[j][s] == bayes.Missing {
				index[j][s] = uint8(len(vars[j].States))
				vars[j].States = append(vars[j].States, all[j].States[s])
			}
		}
		return true
	})
	for j := range vars {
		if len(vars[j].States) == 0 {
			vars[j].States = all[j].States[:1]
		}
	}
	seen, err := bayes.NewTable(vars)
	if err != nil {
		return nil, err
	}
	t.Each(func(row []uint8, weight float64) bool {
		for j, s := range row {
			if s != bayes.Missing {
				row[j] = index[j][s]
			}
		}
		err = seen.AddWeighted(row, weight)
		return err == nil
	})
	return seen, err
}

func (d *bayesnetDetector) structure(ctx context.Context, t *bayes.Table) (bayes.Structure, error) {
	c := &d.config
	if c.Structure == "chowliu" {
		return bayes.ChowLiu(t, 0)
	}
	lists := make([][]bayes.Edge, 3)
	for i, arcs := range [][]string{c.Edges, c.Forbidden, c.Required} {
		for _, arc := range arcs {
			e, err := d.edge(arc)
			if err != nil {
				return bayes.Structure{}, err
			}
			lists[i] = append(lists[i], e)
		}
	}
	if c.Structure == "given" {
		return bayes.NewStructure(len(d.columns.keys), lists[0])
	}
	s, _, err := bayes.HillClimb(ctx, t, bayes.Climb{MaxParents: c.MaxParents, Forbidden: lists[1], Required: lists[2]})
	return s, err
}

func (d *bayesnetDetector) edge(arc string) (bayes.Edge, error) {
	from, to, _ := strings.Cut(arc, ">")
	var ends [2]int
	for i, name := range [2]string{strings.TrimSpace(from), strings.TrimSpace(to)} {
		at, hits := findMember(name, d.columns.keys)
		if hits != 1 {
			return bayes.Edge{}, fmt.Errorf("arc %q: %q stands for %d members, want 1 of %s", arc, name, hits, joinKeys(d.columns.keys))
		}
		ends[i] = at
	}
	return bayes.Edge{From: ends[0], To: ends[1]}, nil
}

// calibrate learns how rows without a fault are distributed, and how many of them look as if they held a misreading.
func (d *bayesnetDetector) calibrate(k *knowledge, t *bayes.Table) error {
	e, err := bayes.Compile(k.trained)
	if err != nil {
		return err
	}
	// The first calibration only has to exist: suspicion does not depend on it.
	o := bayes.Options{Faults: k.faults(suspectFault), MaxSet: 1}
	first, err := bayes.NewTable(t.Variables())
	if err != nil {
		return err
	}
	all, suspect, n := 0.0, 0.0, 0
	t.Each(func(row []uint8, _ float64) bool {
		err = first.Add(row)
		return false
	})
	if err != nil {
		return err
	}
	c, err := bayes.Calibrate(e, first, o)
	if err != nil {
		return err
	}
	l, err := bayes.NewLocator(e, c, o)
	if err != nil {
		return err
	}
	t.Each(func(row []uint8, weight float64) bool {
		if slices.Contains(row, bayes.Missing) {
			return true
		}
		all += weight
		if v := l.Judge(row); len(v.Candidates) > 0 && v.Candidates[0].Posterior > v.NoFault {
			suspect += weight
		}
		n++
		return n < judgedRows
	})
	if all > 0 {
		k.misread = suspect / all
	}
	o, err = d.options(k)
	if err != nil {
		return err
	}
	k.calibration, err = bayes.Calibrate(e, t, o)
	return err
}

// Bounds on what is derived from the share of training rows that look misread.
const (
	suspectFault          = 0.05 // prior under which a row looks misread if one wrong report is the better explanation
	leastFault, mostFault = 0.01, 0.1
	leastAlpha, mostAlpha = 0.001, 0.25
	mostPrior             = 0.9
	misreadMargin         = 2.5 // see bayes.Options.Fault and Options.Alpha
)

// faults are the priors of the members' faults. A wrong report is any other state, all alike: for a categorical member
// the state "other", which it may never have been in, must not make the usual ones less probable.
func (k *knowledge) faults(prior float64) []float64 {
	faults := slices.Repeat([]float64{prior}, len(k.discretizers))
	for j, categories := range k.categories {
		if n := float64(len(categories)); n > 1 {
			faults[j] = min(prior*n/(n-1), mostPrior)
		}
	}
	return faults
}

// options are those of the locator.
func (d *bayesnetDetector) options(k *knowledge) (bayes.Options, error) {
	c := &d.config
	o := bayes.Options{Alpha: c.Alpha, Fault: c.Fault}
	if math.IsNaN(o.Fault) {
		perMember := k.misread / float64(max(1, len(k.discretizers)))
		o.Fault = min(max(leastFault, misreadMargin*perMember), mostFault)
	}
	switch {
	case !c.Persist:
		o.Alpha = driver.TailProbability(d.threshold)
	case math.IsNaN(o.Alpha):
		o.Alpha = min(max(leastAlpha, misreadMargin*k.misread), mostAlpha)
	}
	o.Alpha = max(o.Alpha, math.SmallestNonzeroFloat64) // 0 would be the default
	o.Faults = k.faults(o.Fault)
	for _, name := range c.Trusted {
		at, hits := findMember(name, d.columns.keys)
		switch {
		case hits == 1:
			o.Faults[at] = c.TrustedFault
		case hits > 1 || d.columns.absent == "":
			return o, fmt.Errorf("trusted: %q stands for %d members, want 1 of %s", name, hits, joinKeys(d.columns.keys))
		}
	}
	return o, nil
}

// prepare compiles knowledge.
func (d *bayesnetDetector) prepare(k *knowledge) (*judge, error) {
	// The persistence takes the prior of each state from the network as trained, also after a restart: the engine is
	// compiled before its network is brought up to date, and reloaded at the end.
	engine, err := bayes.Compile(k.trained.Clone())
	if err != nil {
		return nil, err
	}
	live := engine.Network()
	for i := range live.Nodes {
		copy(live.Nodes[i].CPT, k.network.Nodes[i].CPT)
		copy(live.Nodes[i].Support, k.network.Nodes[i].Support)
	}
	k.network = live
	o, err := d.options(k)
	if err != nil {
		return nil, err
	}
	j := &judge{}
	if j.locator, err = bayes.NewLocator(engine, k.calibration, o); err != nil {
		return nil, err
	}
	if d.config.Adapt {
		if err := j.locator.Adapt(bayes.Adapt{Memory: adaptMemory, Trust: adaptMemory}); err != nil {
			return nil, err
		}
	}
	if d.config.Persist {
		persist := bayes.Persist{Threshold: d.config.Evidence * thresholdLevel(d.threshold), Rival: rivalShare}
		if j.persistence, err = bayes.NewPersistence(j.locator, persist); err != nil {
			return nil, err
		}
	}
	engine.Reload()
	return j, nil
}
