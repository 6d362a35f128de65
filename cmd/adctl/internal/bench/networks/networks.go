// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package networks measures what a reading costs in Bayesian networks, and what it costs to learn one.
package networks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/speed"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

// Query is what a row with a reading of each node costs in a network. Times are of the processor, in nanoseconds.
type Query struct {
	Network    string  `json:"network"`
	Nodes      int     `json:"nodes"`
	Arcs       int     `json:"arcs"`
	Likelihood float64 `json:"likelihoodNs"` // the probability of the row
	Judge      float64 `json:"judgeNs"`      // how improbable it is, and whose wrong report would explain it
	Posterior  float64 `json:"posteriorNs"`  // of all nodes, with every other reading missing
	Allocs     float64 `json:"allocs"`       // the most of any of these
}

const (
	seed       = 1
	calibrated = 2000 // rows that surprise is calibrated on
	asked      = 1024 // distinct rows that are asked about
)

// Room is a network of two lights and a brightness that depends on both.
func Room() *bayes.Network {
	onOff := []string{"off", "on"}
	light := func(name string) bayes.Node {
		return bayes.Node{Name: name, States: onOff, CPT: []float64{0.4, 0.6}}
	}
	return &bayes.Network{Name: "room", Nodes: []bayes.Node{light("light-1"), light("light-2"), {
		Name: "brightness", States: []string{"dark", "half", "full"}, Parents: []int{0, 1},
		CPT: []float64{
			0.98, 0.01, 0.01,
			0.01, 0.98, 0.01,
			0.01, 0.98, 0.01,
			0.01, 0.01, 0.98,
		},
	}}}
}

// Random is a seeded network: each node depends on one or two of those shortly before it, and has two to four states.
func Random(nodes int) *bayes.Network {
	rng := rand.New(rand.NewPCG(seed, uint64(nodes)))
	n := &bayes.Network{Name: fmt.Sprintf("random-%d", nodes)}
	for i := range nodes {
		node := bayes.Node{Name: fmt.Sprintf("n%d", i)}
		for s := range 2 + rng.IntN(3) {
			node.States = append(node.States, fmt.Sprint(s))
		}
		configurations := 1
		for p := max(0, i-3); p < i && len(node.Parents) < 2; p++ {
			if rng.Float64() < 0.45 {
				node.Parents = append(node.Parents, p)
				configurations *= len(n.Nodes[p].States)
			}
		}
		for range configurations {
			weights, sum := make([]float64, len(node.States)), 0.0
			for s := range weights {
				weights[s] = rng.ExpFloat64() + 0.02
				sum += weights[s]
			}
			for _, w := range weights {
				node.CPT = append(node.CPT, w/sum)
			}
		}
		n.Nodes = append(n.Nodes, node)
	}
	return n
}

// sampler draws rows from a network.
type sampler struct {
	n     *bayes.Network
	order []int // parents before children
	rng   *rand.Rand
}

func newSampler(n *bayes.Network) *sampler {
	s := &sampler{n: n, rng: rand.New(rand.NewPCG(seed, 2))}
	for len(s.order) < len(n.Nodes) {
		for i := range n.Nodes {
			ready := !slices.Contains(s.order, i)
			for _, p := range n.Nodes[i].Parents {
				ready = ready && slices.Contains(s.order, p)
			}
			if ready {
				s.order = append(s.order, i)
			}
		}
	}
	return s
}

func (s *sampler) draw(row []uint8) {
	for _, i := range s.order {
		node := &s.n.Nodes[i]
		configuration := 0
		for _, p := range node.Parents {
			configuration = configuration*len(s.n.Nodes[p].States) + int(row[p])
		}
		k := len(node.States)
		u := s.rng.Float64()
		state := 0
		for ; state < k-1; state++ {
			if u -= node.CPT[configuration*k+state]; u < 0 {
				break
			}
		}
		row[i] = uint8(state)
	}
}

// MeasureQuery measures each question for the given time.
func MeasureQuery(n *bayes.Network, d time.Duration) (Query, error) {
	if err := n.Validate(); err != nil {
		return Query{}, err
	}
	q := Query{Network: n.Name, Nodes: len(n.Nodes), Arcs: len(n.Edges())}
	e, err := bayes.Compile(n)
	if err != nil {
		return q, err
	}
	vars := make([]bayes.Variable, len(n.Nodes))
	for i := range n.Nodes {
		vars[i] = bayes.Variable{Name: n.Nodes[i].Name, States: n.Nodes[i].States}
	}
	t, err := bayes.NewTable(vars)
	if err != nil {
		return q, err
	}
	s := newSampler(n)
	rows, halves := make([][]uint8, asked), make([][]uint8, asked)
	for i := range calibrated {
		row := make([]uint8, len(n.Nodes))
		s.draw(row)
		if err := t.Add(row); err != nil {
			return q, err
		}
		if i >= asked {
			continue
		}
		rows[i], halves[i] = row, slices.Clone(row)
		for k := i % 2; k < len(row); k += 2 {
			halves[i][k] = bayes.Missing
		}
	}
	c, err := bayes.Calibrate(e, t, bayes.Options{})
	if err != nil {
		return q, err
	}
	l, err := bayes.NewLocator(e, c, bayes.Options{})
	if err != nil {
		return q, err
	}
	for _, m := range []struct {
		to  *float64
		ask func(i int)
	}{
		{&q.Likelihood, func(i int) { e.LogLik(rows[i]) }},
		{&q.Judge, func(i int) { l.Judge(rows[i]) }},
		{&q.Posterior, func(i int) { e.Query(halves[i]) }},
	} {
		for i := range asked { // warm up
			m.ask(i)
		}
		i := 0
		ns, allocs := speed.Cost(d, func() {
			m.ask(i)
			i = (i + 1) % asked
		})
		*m.to, q.Allocs = ns, max(q.Allocs, allocs)
	}
	return q, nil
}

// Training is what it costs to learn a network.
type Training struct {
	Detector string  `json:"detector"`
	Rows     int     `json:"rows"`
	Columns  int     `json:"columns"`
	Seconds  float64 `json:"seconds"`
}

// MeasureTraining has a driver learn from rows that are drawn from a random network.
func MeasureTraining(ctx context.Context, detector string, rows, columns int) (Training, error) {
	r := Training{Detector: detector, Rows: rows, Columns: columns}
	settings := driver.Settings{}
	for i := range columns {
		settings.Members = append(settings.Members, driver.Member{
			Key:      driver.Key{Namespace: "default", Device: "recording", Property: fmt.Sprintf("c%d", i)},
			DataType: "double", Minimum: math.NaN(), Maximum: math.NaN(),
		})
	}
	d, err := driver.Default.Open(detector, settings, nil)
	if err != nil {
		return r, err
	}
	t, ok := d.(driver.Trainer)
	if !ok {
		return r, errors.New("the detector cannot be trained")
	}
	begin := time.Now()
	err = t.Train(ctx, drawn(Random(columns), settings.Members, rows))
	r.Seconds = time.Since(begin).Seconds()
	return r, err
}

// drawn draws the same rows each time.
func drawn(n *bayes.Network, members []driver.Member, rows int) iter.Seq[driver.Row] {
	start := time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)
	return func(yield func(driver.Row) bool) {
		s := newSampler(n)
		states := make([]uint8, len(n.Nodes))
		row := make(driver.Row, len(members))
		for i := range rows {
			s.draw(states)
			for k := range row {
				row[k] = driver.Sample{Key: members[k].Key, At: start.Add(time.Duration(i) * time.Second), Value: float64(states[k])}
			}
			if !yield(row) {
				return
			}
		}
	}
}
