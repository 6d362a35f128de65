// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const bayesnetName = "bayesnet"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    bayesnetName,
		Summary: "finds improbable combinations in a group, of numbers and categories, and says which member contradicts the others",
		Source: "D. Heckerman, D. Geiger, D. M. Chickering, Learning Bayesian Networks, Machine Learning 20, 1995; " +
			"location after the flip test of KubeEdge's room demo, over all fault sets of one or two members",
		Kinds:   []driver.Kind{driver.KindCausal, driver.KindState, driver.KindLevel},
		Members: groupMembers,
	}, bayesnetDefaults, newBayesnet))
}

type bayesnetConfig struct {
	TrainRows    int      `param:"trainRows" min:"50" max:"100000" doc:"first rows of the stream that are learned from, where no model is configured"`
	Structure    string   `param:"structure" enum:"hillclimb,chowliu,given" doc:"how the structure is learned: by hill climbing, as the best tree (chowliu), or not at all (given)"`
	Edges        []string `param:"edges" max:"4096" doc:"the structure, where it is given: arcs as cause>effect, members named by property, device or both"`
	Forbidden    []string `param:"forbidden" max:"4096" doc:"arcs that hill climbing must not make"`
	Required     []string `param:"required" max:"4096" doc:"arcs that hill climbing must make"`
	MaxParents   int      `param:"maxParents" min:"1" max:"8" doc:"most causes of a member that hill climbing finds"`
	Prior        float64  `param:"prior" min:"0.001" max:"1000" doc:"equivalent sample size of the Dirichlet prior of the tables"`
	Levels       int      `param:"levels" min:"2" max:"254" doc:"distinct numbers of a member up to which each is a state of its own"`
	Bins         int      `param:"bins" min:"2" max:"64" doc:"most states of a member with more distinct numbers"`
	Persist      bool     `param:"persist" doc:"accuse a member when several rows together speak against it; else each row is judged alone"`
	Evidence     float64  `param:"evidence" min:"1" max:"60" doc:"with persist: log-likelihood ratio at which a member is accused at threshold 0.95; another threshold raises or lowers it"`
	Alpha        float64  `param:"alpha" min:"0.000001" max:"0.5" doc:"with persist: p-value up to which a row is evidence, more than the share of rows that hold a misreading; unset: learned"`
	Fault        float64  `param:"fault" min:"0.000001" max:"0.5" doc:"prior probability that a member's report is wrong; unset: 0.01, or more if the training rows hold misreadings"`
	Trusted      []string `param:"trusted" doc:"members that are wrong more rarely, for example a sensor that watches actuators"`
	TrustedFault float64  `param:"trustedFault" min:"0" max:"0.5" doc:"prior probability that the report of a trusted member is wrong; 0 means it is never blamed"`
	Adapt        bool     `param:"adapt" doc:"follow slow changes: learn from rows that nothing speaks against"`
}

func bayesnetDefaults() bayesnetConfig {
	return bayesnetConfig{
		TrainRows: 500, Structure: "hillclimb", MaxParents: 3, Prior: 1, Levels: 12, Bins: 8,
		Persist: true, Evidence: 16, Alpha: math.NaN(), Fault: math.NaN(), TrustedFault: 0.00001,
	}
}

// Validate implements driver.Validator. Whether an arc names members is only known when the group is complete.
func (c *bayesnetConfig) Validate() error {
	var errs []error
	for _, list := range []struct {
		key       string
		arcs      []string
		structure string
	}{{"edges", c.Edges, "given"}, {"forbidden", c.Forbidden, "hillclimb"}, {"required", c.Required, "hillclimb"}} {
		if len(list.arcs) > 0 && c.Structure != list.structure {
			errs = append(errs, &params.Error{Key: list.key, Value: strings.Join(list.arcs, ","), Want: "none unless structure is " + list.structure})
		}
		for _, arc := range list.arcs {
			if from, to, ok := strings.Cut(arc, ">"); !ok || strings.TrimSpace(from) == "" || strings.TrimSpace(to) == "" {
				errs = append(errs, &params.Error{Key: list.key, Value: arc, Want: "cause>effect"})
			}
		}
	}
	return errors.Join(errs...)
}

type bayesnetDetector struct {
	config    bayesnetConfig
	threshold float64
	columns   columns
	kind      driver.Kind
	never     bool // is a member that rested in training taken for one that moves
	words     wording

	// While learning.
	texts   [][]string  // of each column, in order of appearance; configured categories first
	rows    [][]float64 // numbers, or indices of texts
	trouble string
	scratch []float64

	known  *knowledge // nil while learning
	judge  *judge
	states []uint8 // the last row
	seen   uint64  // rows learned from or found to be normal
}

func newBayesnet(s driver.Settings, c bayesnetConfig) (driver.Detector, error) {
	payload, cols, err := openModel(bayesnetName, s)
	if err != nil {
		return nil, err
	}
	n := len(cols.slot)
	d := &bayesnetDetector{
		config: c, threshold: s.Threshold, never: s.Accept == driver.NeverAccept, columns: cols, kind: driver.KindCausal, words: newWording(cols.keys),
		texts: make([][]string, n), scratch: make([]float64, n), states: make([]uint8, n),
	}
	if n == 1 {
		d.kind = driver.KindState
	}
	for j, i := range cols.slot {
		if i >= 0 {
			for _, text := range s.Members[i].Categories {
				d.texts[j] = append(d.texts[j], category(text))
			}
		}
	}
	if payload == nil {
		return d, nil
	}
	if err := takeModel(d, func() bool { return d.known != nil }, payload, s); err != nil {
		return nil, err
	}
	return d, nil
}

// Detect implements driver.Detector.
func (d *bayesnetDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector, out.Message = bayesnetName, d.columns.absent
	if d.known == nil {
		if d.trouble != "" {
			out.Message = d.trouble
		}
		if d.columns.raw(d.scratch, row, d.texts) {
			d.collect()
		}
		out.Confidence = confidence(d.seen, uint64(d.config.TrainRows))
		return
	}
	if !d.observe(row) {
		return
	}
	out.Message = ""
	out.Confidence = confidence(d.seen, uint64(d.config.TrainRows))
	d.columns.numbers(d.scratch, row)
	moved := d.known.resting.next(d.scratch, d.never)
	if d.judge.persistence != nil {
		d.together(out)
	} else {
		d.alone(out)
	}
	if moved > 0 {
		d.moved(out, moved)
	}
}

// moved tells the members that rested in all that was learned from and do not now: of their bins nothing follows, so that
// no combination is improbable, and that they move is news enough.
func (d *bayesnetDetector) moved(out *driver.Result, members int) {
	out.Judge(max(out.Score, out.Threshold), driver.KindLevel)
	out.Causes, out.Message = out.Causes[:0], ""
	for j := range d.scratch {
		if d.known.resting.moved(d.scratch, j) && d.columns.slot[j] >= 0 {
			addCause(out, d.columns.keys[j], 1/float64(members))
		}
	}
}

// observe turns the row into states. It reports whether there is anything new to judge.
func (d *bayesnetDetector) observe(row driver.Row) bool {
	if len(row) != d.columns.width {
		return false
	}
	fresh := false
	for j, i := range d.columns.slot {
		d.states[j] = bayes.Missing
		if i < 0 {
			continue
		}
		if s := d.known.state(j, &row[i]); s != bayes.Missing {
			d.states[j] = s
			fresh = fresh || row[i].Flags&notNew == 0
		}
	}
	return fresh
}

// alone judges the row by itself.
func (d *bayesnetDetector) alone(out *driver.Result) {
	v := d.judge.locator.Judge(d.states)
	out.Judge(driver.TailScore(v.PValue), d.kind)
	if out.Severity.Anomalous() {
		d.blame(out, v.Candidates, v.Blamed, v.Rivals)
		return
	}
	d.learned(v.NoFault > 0.5)
}

// together judges the row with those before it.
func (d *bayesnetDetector) together(out *driver.Result) {
	f := d.judge.persistence.Judge(d.states)
	out.Judge(decided(levelScore(f.Evidence/d.config.Evidence), d.threshold, f.Faulty), d.kind)
	if f.Faulty {
		d.blame(out, f.Candidates, f.Blamed, f.Rivals)
		return
	}
	d.learned(f.Evidence == 0 && !f.Row.Anomalous)
}

// learned counts a normal row, and adapts to it if nothing at all speaks against it.
func (d *bayesnetDetector) learned(clean bool) {
	d.seen++
	if clean && d.config.Adapt {
		d.judge.locator.Learn(d.states)
	}
}

// blame makes causes of the members of the best candidate, or of all candidates that cannot be told from it.
func (d *bayesnetDetector) blame(out *driver.Result, candidates []bayes.Candidate, blamed []int, rivals int) {
	if blamed == nil {
		out.Message = "an improbable combination that no single wrong report explains"
		return
	}
	for _, c := range candidates[:max(rivals, 1)] {
		for _, j := range c.Members {
			if d.columns.slot[j] >= 0 {
				accuse(out, d.columns.keys[j], c.Posterior/float64(len(c.Members)))
			}
		}
	}
	out.Message = d.words.message(candidates[:max(rivals, 1)])
}

// accuse adds to a member's weight among the causes.
func accuse(out *driver.Result, key driver.Key, weight float64) {
	for i := range out.Causes {
		if out.Causes[i].Key == key {
			weight += out.Causes[i].Weight
			out.Causes = append(out.Causes[:i], out.Causes[i+1:]...)
			break
		}
	}
	addCause(out, key, weight)
}

// Train implements driver.Trainer.
func (d *bayesnetDetector) Train(ctx context.Context, rows iter.Seq[driver.Row]) error {
	texts := make([][]string, len(d.texts))
	for j := range texts {
		texts[j] = slices.Clone(d.texts[j])
	}
	raw := make([]float64, len(texts))
	return d.learn(ctx, texts, func(yield func([]float64) bool) {
		for row := range rows {
			if d.columns.raw(raw, row, texts) && !yield(raw) {
				return
			}
		}
	})
}

// collect takes in one of the first rows; with the last of them, the network is learned. Rows that cannot be learned
// from make room for others.
func (d *bayesnetDetector) collect() {
	if len(d.rows) >= d.config.TrainRows { // more than wanted came with a snapshot
		d.rows = d.rows[:0]
	}
	d.rows = append(d.rows, slices.Clone(d.scratch))
	d.seen++
	if len(d.rows) < d.config.TrainRows {
		return
	}
	ctx := context.Background() //nolint:forbidigo // a detector has no context; the work is bounded by trainRows
	if err := d.learn(ctx, d.texts, slices.Values(d.rows)); err != nil {
		d.trouble, d.rows, d.seen = err.Error(), d.rows[:0], 0
	}
}

// Explain implements driver.Explainer: it tells what the other members let expect of those that are blamed.
func (d *bayesnetDetector) Explain(r *driver.Result, _ driver.Language) string {
	switch {
	case d.known == nil && d.trouble != "":
		return d.trouble
	case d.known == nil:
		return fmt.Sprintf("learning: %d of %d rows", len(d.rows), d.config.TrainRows)
	case !r.Severity.Anomalous():
		return "no member contradicts the others"
	case len(r.Causes) == 0:
		return r.Message
	}
	if said := d.known.resting.tell(d.scratch, d.columns.keys); said != "" {
		return said
	}
	parts := make([]string, 0, len(r.Causes))
	for _, cause := range r.Causes {
		j := slices.Index(d.columns.keys, cause.Key)
		if j < 0 {
			continue
		}
		node := &d.known.network.Nodes[j]
		reported := "nothing"
		if s := d.states[j]; s != bayes.Missing {
			reported = node.States[s]
		}
		others := slices.Clone(d.states)
		others[j] = bayes.Missing
		d.judge.locator.Engine().Query(others)
		best, p := 0, math.Inf(-1)
		for s, q := range d.judge.locator.Engine().Posterior(j) {
			if q > p {
				best, p = s, q
			}
		}
		parts = append(parts, fmt.Sprintf("%s reports %s, and the others make %s most probable (%.0f %%)",
			d.words.names[j], reported, node.States[best], 100*p))
	}
	return r.Message + ": " + strings.Join(parts, "; ")
}
