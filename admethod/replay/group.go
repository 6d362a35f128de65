// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// Member is one member of a group.
type Member struct {
	Name string
	Text bool   // its readings are categories
	Unit string // "" for none
}

// Key is the key of a member of a recorded group.
func (m Member) Key() driver.Key {
	return recorded(m.Name)
}

// GroupOptions say what the rows of a group are scored with.
type GroupOptions struct {
	Config  admethod.ADMethodConfig // sinks are ignored: verdicts are returned
	Members []Member
	Model   string           // path of a trained model file; "" for none
	Drivers *driver.Registry // nil means driver.Default
}

// RowOutcome is what became of one row.
type RowOutcome struct {
	// Score is the detector's, NaN where it did not judge the row.
	Score float64
	// Onset is how unusual the row is as news, NaN where the detector did not judge.
	Onset float64
	// Severity and Kind are the worst of what the members are told, held while an incident of them lasts. A row that was
	// not judged, with no fault that persists, is Unknown and has the reason as its kind.
	Severity driver.Severity
	Kind     driver.Kind
	Blamed   []string // names of members, ranked; of a row that was not judged for want of readings, those

	Expected, Lower, Upper float64 // of the member that the verdict is about; NaN where there is no forecast

	Incident driver.Incident // of the member that is worst off; the zero value is none
	Message  string          // why, in words, with the names of members; "" where nothing is wrong
}

// Group scores the rows of a group, in order. It is not safe for concurrent use.
type Group struct {
	handler  *pipeline.Handler
	names    []string
	bindings []*pipeline.Binding
	before   []admethod.BindingStats
	order    []int // of observing the members of a row

	// The handler aligns readings to rows by itself. It judges a row when each member has a new reading, and an
	// incomplete one when a member of it comes round again; so that this is with the next row's first reading, not
	// amidst it, such a member is observed first. fresh and reported follow what the handler knows.
	fresh     []bool
	reported  []bool
	open      int // the row that the fresh readings belong to, -1 for one that is no longer waited for
	submitted int // rows handed to the adapter by the call of Observe that is under way

	pending []RowOutcome
	quality []RowOutcome // of the quality stage, for each of pending
	waiting []int        // indices of rows that the adapter was handed, in order; -1 for one that nobody waits for

	mu       sync.Mutex
	verdicts []RowOutcome // the detector's, in order
	held     []string     // members that are in an incident after the last of them
	failure  error
}

// OpenGroup binds the members. The caller ends the group with Close.
func OpenGroup(ctx context.Context, o GroupOptions) (*Group, error) {
	if o.Config.Rows.Evaluate != "cycle" {
		return nil, fmt.Errorf("rows.evaluate: got %q, want cycle: each row is judged once", o.Config.Rows.Evaluate)
	}
	n := len(o.Members)
	g := &Group{
		before: make([]admethod.BindingStats, n), order: make([]int, n), fresh: make([]bool, n), reported: make([]bool, n),
	}
	var err error
	if o.Model != "" { // a link of the caller may lead anywhere; one in a model directory may not lead out of it
		if o.Model, err = filepath.EvalSymlinks(o.Model); err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
	}
	g.handler, err = pipeline.NewHandler(pipeline.Options{
		Drivers:  o.Drivers,
		Adapters: tapped(taps{submitted: func() { g.submitted++ }, verdict: g.answered}),
		Sinks:    new(admethod.SinkRegistry),
		AdapterOptions: map[string]map[string]any{
			// To learn from the first rows takes its time.
			"inprocess": {"lanes": 1, "queue": queueRoom, "hang": "1h"},
		},
		ModelDir: filepath.Dir(o.Model),
		Replay:   true,
		Hooks: admethod.Hooks{
			Verdict: g.judged,
			Failed:  func(_ driver.Key, err error) { g.fail(err) },
		},
	})
	if err != nil {
		return nil, err
	}
	if err := g.handler.Start(ctx); err != nil {
		return nil, err
	}
	c := o.Config
	c.Sinks = nil
	if c.Group == "" {
		c.Group = "recording"
	}
	if o.Model != "" {
		c.Model = filepath.Base(o.Model)
	}
	for i, m := range o.Members {
		meta := admethod.Meta{DataType: "double", Unit: m.Unit}
		if m.Text {
			meta.DataType = "string"
		}
		b, err := g.handler.Bind(m.Key(), c, meta) //nolint:contextcheck // Bind takes no context
		if err != nil {
			return nil, errors.Join(err, g.Close(context.WithoutCancel(ctx)))
		}
		g.names, g.bindings, g.order[i] = append(g.names, m.Name), append(g.bindings, b), i
	}
	return g, nil
}

// Observe takes a row: a reading of each member, in their order. A missing cell is a reading that was not made.
func (g *Group) Observe(at time.Time, cells []input.Cell) {
	row := len(g.pending)
	unknown := Unjudged()
	g.pending = append(g.pending, unknown)
	g.quality = append(g.quality, unknown)
	if slices.Contains(g.fresh, true) {
		slices.SortStableFunc(g.order, func(a, b int) int { return rank(g.fresh[a]) - rank(g.fresh[b]) })
	} else {
		g.open = row
	}
	reason := driver.KindMissing
	for _, i := range g.order {
		if cells[i].Missing {
			continue
		}
		if held := g.reading(row, i, at, cells[i]); held != driver.KindNone {
			reason = held
		}
	}
	if n := len(g.waiting); n > 0 && g.waiting[n-1] == row {
		return
	}
	o := &g.pending[row]
	o.Kind = reason
	for i, name := range g.names {
		if !g.reported[i] || cells[i].Missing {
			o.Blamed = append(o.Blamed, name)
		}
	}
}

// Unjudged is the outcome of a row that was not judged.
func Unjudged() RowOutcome {
	nan := math.NaN()
	return RowOutcome{Score: nan, Onset: nan, Expected: nan, Lower: nan, Upper: nan}
}

func rank(fresh bool) int {
	if fresh {
		return 0
	}
	return 1
}

// reading hands over a reading. It returns why the quality stage held it back, if it did.
func (g *Group) reading(row, i int, at time.Time, c input.Cell) driver.Kind {
	g.submitted = 0
	if math.IsNaN(c.Value) {
		g.bindings[i].ObserveAny(at, c.Text)
	} else {
		g.bindings[i].Observe(at, c.Value)
	}
	stats, before := g.bindings[i].Stats(), &g.before[i]
	held := driver.KindNone
	switch {
	case stats.Invalid > before.Invalid:
		held = driver.KindInvalid
	case stats.Duplicate > before.Duplicate:
		held = driver.KindDuplicate
	case stats.OutOfOrder > before.OutOfOrder:
		held = driver.KindOutOfOrder
	}
	*before = stats
	if held != driver.KindNone {
		return held
	}
	if g.fresh[i] { // the handler has judged what there was, unless a member had no reading that counts
		g.handed(g.open)
	}
	g.fresh[i], g.reported[i], g.open = true, true, row
	if !slices.Contains(g.fresh, false) {
		g.handed(row)
	}
	return driver.KindNone
}

// handed notes that the handler has done with a row: the adapter was handed it, or it could not be judged.
func (g *Group) handed(row int) {
	clear(g.fresh)
	if g.submitted > 0 {
		g.submitted--
		g.waiting = append(g.waiting, row)
	}
}

// Len is the number of rows observed since the last drain.
func (g *Group) Len() int { return len(g.pending) }

// Drain waits for the verdicts on all rows observed since the last drain, and returns them in order. A last row that
// lacks readings, which the next row would decide on, is kept for the next drain, unless this is the last one. What is
// returned is valid until the next call.
func (g *Group) Drain(ctx context.Context, last bool) ([]RowOutcome, error) {
	if err := g.handler.Flush(ctx); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failure != nil {
		return nil, g.failure
	}
	if len(g.verdicts) != len(g.waiting) {
		return nil, fmt.Errorf("%d rows were handed to the detector, %d verdicts came back", len(g.waiting), len(g.verdicts))
	}
	for k, row := range g.waiting {
		if row >= 0 {
			g.pending[row] = g.verdicts[k]
		}
	}
	g.waiting, g.verdicts = g.waiting[:0], g.verdicts[:0]
	n := len(g.pending)
	if !last && slices.Contains(g.fresh, true) && g.open >= 0 && n-g.open < MaxBatch/2 {
		n = g.open
	}
	done := slices.Clone(g.pending[:n])
	for i := range done {
		done[i].beside(&g.quality[i])
	}
	g.pending, g.quality = slices.Delete(g.pending, 0, n), slices.Delete(g.quality, 0, n)
	g.open = max(g.open-n, -1)
	return done, nil
}

// Close ends the group. Rows that were not drained have no outcome.
func (g *Group) Close(ctx context.Context) error { return g.handler.Shutdown(ctx) }

func (g *Group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failure == nil {
		g.failure = err
	}
}

// beside takes what the quality stage says of the row's members. Its fault stands unless the detector says worse.
func (o *RowOutcome) beside(q *RowOutcome) {
	if q.Severity.Anomalous() && q.Severity >= o.Severity {
		o.Severity, o.Kind, o.Blamed, o.Message = q.Severity, q.Kind, q.Blamed, q.Message
	}
	if q.Incident.ID != 0 && (o.Incident.ID == 0 || o.Incident.ID == q.Incident.ID && q.Incident.Phase == driver.Began) {
		o.Incident = q.Incident
	}
}

// answered takes the detector's verdict on a row. While it is delivered, judged hears what each member makes of it.
func (g *Group) answered(r *driver.Result, deliver func(*driver.Result)) {
	o := RowOutcome{
		Score: r.Score, Onset: r.Onset, Severity: min(r.Severity, driver.Normal),
		Expected: r.Expected, Lower: r.Lower, Upper: r.Upper,
	}
	if math.IsNaN(o.Onset) && r.Severity != driver.Unknown { // filled in as for a single property, where nothing is open
		o.Onset = r.Score
	}
	for _, cause := range r.Causes {
		name := cause.Key.Property
		if name == "" {
			name = cause.Key.Device
		}
		o.Blamed = append(o.Blamed, name)
	}
	blames, judged := r.Severity.Anomalous(), r.Severity != driver.Unknown
	g.mu.Lock()
	g.verdicts = append(g.verdicts, o)
	g.held = g.held[:0]
	g.mu.Unlock()
	deliver(r)
	g.mu.Lock()
	v := &g.verdicts[len(g.verdicts)-1]
	switch {
	case !v.Severity.Anomalous():
		v.Kind, v.Blamed = driver.KindNone, nil
	case !blames: // they are still in an incident
		v.Blamed = slices.Clone(g.held)
	}
	if v.Incident.Phase == driver.Lasts && math.IsNaN(r.Onset) {
		v.Onset = 0
	}
	if !judged { // that it learns is not why
		v.Message = ""
	}
	g.mu.Unlock()
}

// judged hears a verdict on a member: the detector's, after the member's policy and its incident, or the quality stage's.
func (g *Group) judged(r *driver.Result) {
	if r.Detector == driver.QualityStage {
		q := &g.quality[len(g.quality)-1] // within the call of Observe
		q.member(r)
		if r.Severity.Anomalous() && q.Severity == r.Severity {
			q.Blamed = append(q.Blamed, r.Key.Property)
		}
		return
	}
	if math.IsNaN(r.Score) { // of a row that nobody could judge, maybe within the call of Observe
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.verdicts) == 0 {
		return
	}
	g.verdicts[len(g.verdicts)-1].member(r)
	if r.Severity.Anomalous() {
		g.held = append(g.held, r.Key.Property)
	}
}

// member takes a verdict on a member: the worst stands.
func (o *RowOutcome) member(r *driver.Result) {
	worse := r.Severity.Anomalous() && r.Severity > o.Severity
	if worse {
		o.Severity, o.Kind, o.Message = r.Severity, r.Kind, strings.ReplaceAll(r.Message, recorded("").String()+"/", "")
	}
	if r.Incident.ID != 0 && (worse || o.Incident.ID == 0) {
		o.Incident = r.Incident
	}
}
