// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package generators makes streams that each show one thing a detector is easily wrong about, and measures what the
// defaults make of them: a fault that comes again and again, a sensor that is stuck, a season that changes, a clock that
// is set. Equal seeds make equal streams. No constant of a detector was chosen on them alone.
package generators

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// Figure is what was measured, and what it is to be.
type Figure struct {
	Generator string  `json:"generator"`
	Name      string  `json:"figure"`
	Value     float64 `json:"value"`
	Goal      float64 `json:"goal"`
	Less      bool    `json:"lessIsBetter,omitempty"`
	Detail    string  `json:"detail,omitempty"`
}

// Holds reports whether the goal is reached.
func (f *Figure) Holds() bool { return f.Less && f.Value <= f.Goal || !f.Less && f.Value >= f.Goal }

// Generator makes streams of one sort.
type Generator struct {
	Name, Doc string

	measure func(p *player) []Figure
}

// All are the generators.
var All = slices.Concat(lasting, stuck, seasons, healthy, extremes, groups)

// Options say what is measured.
type Options struct {
	Seeds int      // streams of each sort
	Names []string // of generators; empty means all
}

// Run measures the generators, in their order.
func Run(ctx context.Context, o Options) ([]Figure, error) {
	var chosen []*Generator
	for i := range All {
		if g := &All[i]; len(o.Names) == 0 || slices.Contains(o.Names, g.Name) {
			chosen = append(chosen, g)
		}
	}
	for _, name := range o.Names {
		if !slices.ContainsFunc(All, func(g Generator) bool { return g.Name == name }) {
			return nil, fmt.Errorf("unknown generator %q", name)
		}
	}
	if o.Seeds < 1 {
		return nil, fmt.Errorf("seeds: got %d, want at least 1", o.Seeds)
	}
	figures, errs := make([][]Figure, len(chosen)), make([]error, len(chosen))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(chosen) {
					return
				}
				p := &player{ctx: ctx, seeds: uint64(o.Seeds)}
				figures[i], errs[i] = chosen[i].measure(p), p.err
				for k := range figures[i] {
					figures[i][k].Generator = chosen[i].Name
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(figures...), errors.Join(errs...)
}

// stream is one that was made, a minute from one reading to the next unless it says otherwise.
type stream struct {
	x     []float64
	at    []time.Duration // since start
	place *time.Location  // nil for UTC
	start time.Time       // zero for that of all
}

var start = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const minute = time.Minute

func (s *stream) readings() []dataset.Reading {
	rs := make([]dataset.Reading, len(s.x))
	from := s.start
	if from.IsZero() {
		from = start
	}
	for i, x := range s.x {
		at := time.Duration(i) * minute
		if s.at != nil {
			at = s.at[i]
		}
		rs[i] = dataset.Reading{At: from.Add(at), Value: x}
		if s.place != nil {
			rs[i].At = rs[i].At.In(s.place)
		}
	}
	return rs
}

// spaced are n times so far apart.
func spaced(n int, by time.Duration) []time.Duration {
	at := make([]time.Duration, n)
	for i := range at {
		at[i] = time.Duration(i) * by
	}
	return at
}

// player hands streams to detectors. After an error it plays no more.
type player struct {
	ctx   context.Context //nolint:containedctx // of one call of Run
	seeds uint64
	err   error
}

// random are the random numbers of a seed.
func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 77)) }

type change func(*admethod.ADMethodConfig)

func by(detector string) change              { return func(c *admethod.ADMethodConfig) { c.Detector = detector } }
func acceptNever(c *admethod.ADMethodConfig) { c.Accept = admethod.Acceptance(driver.NeverAccept) }

// play gives what becomes of each reading.
func (p *player) play(s stream, changes ...change) outcomes {
	all := make(outcomes, len(s.x))
	if p.err != nil {
		return all
	}
	c := admethod.DefaultConfig()
	for _, f := range changes {
		f(&c)
	}
	p.err = replay.Run(p.ctx, replay.Options{Config: c, Meta: admethod.Meta{DataType: "double"}}, s.readings(),
		func(i int, o *replay.Outcome) { all[i] = *o })
	return all
}

// together gives what becomes of each row of a table with these columns.
func (p *player) together(columns ...[]float64) outcomes {
	all := make(outcomes, 0, len(columns[0]))
	if p.err != nil {
		return make(outcomes, len(columns[0]))
	}
	c := admethod.DefaultConfig()
	c.Detector = "autogroup"
	members := make([]replay.Member, len(columns))
	for i := range members {
		members[i].Name = string(rune('a' + i))
	}
	g, err := replay.OpenGroup(p.ctx, replay.GroupOptions{Config: c, Members: members})
	if err != nil {
		p.err = err
		return make(outcomes, len(columns[0]))
	}
	defer func() { p.err = errors.Join(p.err, g.Close(context.WithoutCancel(p.ctx))) }()
	cells := make([]input.Cell, len(columns))
	for i := range columns[0] {
		for k := range columns {
			cells[k] = input.Cell{Value: columns[k][i]}
		}
		g.Observe(start.Add(time.Duration(i)*minute), cells)
		last := i == len(columns[0])-1
		if g.Len() < replay.MaxBatch && !last {
			continue
		}
		rows, err := g.Drain(p.ctx, last)
		if err != nil {
			p.err = err
			return make(outcomes, len(columns[0]))
		}
		for _, o := range rows {
			all = append(all, replay.Outcome{Score: o.Score, Severity: o.Severity, Kind: o.Kind, Incident: o.Incident})
		}
	}
	return all
}

type outcomes []replay.Outcome

// told reports whether a reading is said to be anomalous by what it is, not by when it came.
func told(o *replay.Outcome) bool {
	return o.Severity.Anomalous() && o.Kind != driver.KindMissing && o.Kind != driver.KindLate
}

func (os outcomes) found() bool { return os.delay() >= 0 }

// delay is the number of the first that is told, -1 if none is.
func (os outcomes) delay() int {
	return slices.IndexFunc(os, func(o replay.Outcome) bool { return told(&o) })
}

func (os outcomes) count(of func(*replay.Outcome) bool) (n int) {
	for i := range os {
		if of(&os[i]) {
			n++
		}
	}
	return n
}

// share is that of the readings told.
func (os outcomes) share() float64 { return float64(os.count(told)) / float64(max(len(os), 1)) }

// incidents counts those that began.
func (os outcomes) incidents() int {
	return os.count(func(o *replay.Outcome) bool { return o.Incident.Phase == driver.Began && told(o) })
}

// kind is the one that most of the readings told have.
func (os outcomes) kind() driver.Kind {
	counts := make(map[driver.Kind]int)
	var most driver.Kind
	for i := range os {
		if !told(&os[i]) {
			continue
		}
		if k := os[i].Kind; true {
			counts[k]++
			if counts[k] > counts[most] || most == "" {
				most = k
			}
		}
	}
	return most
}

// slow is an autoregression of first order with standard deviation sd.
func slow(r *rand.Rand, n int, p, sd float64) []float64 {
	v := sd * r.NormFloat64()
	return each(n, func(int) float64 {
		v = p*v + sd*math.Sqrt(1-p*p)*r.NormFloat64()
		return v
	})
}

func wave(i int, period, size float64) float64 { return size * math.Sin(2*math.Pi*float64(i)/period) }

// each makes n readings.
func each(n int, f func(i int) float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = f(i)
	}
	return x
}

// per is a share of seeds or of faults.
func per(n, of int) float64 { return float64(n) / float64(max(of, 1)) }
