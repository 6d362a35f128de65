// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

// wrongEdges counts the undirected edges that are in one structure only.
func wrongEdges(a, b []Edge) int {
	skeleton := func(list []Edge) map[Edge]bool {
		m := make(map[Edge]bool)
		for _, e := range list {
			m[Edge{min(e.From, e.To), max(e.From, e.To)}] = true
		}
		return m
	}
	x, y, n := skeleton(a), skeleton(b), 0
	for e := range x {
		if !y[e] {
			n++
		}
	}
	for e := range y {
		if !x[e] {
			n++
		}
	}
	return n
}

// From 20,000 samples of Asia hill climbing finds all but at most two of the edges, and no more than that too many.
func TestHillClimbRecoversAsia(t *testing.T) {
	n := load(t, "asia.bif")
	for seed := range uint64(8) {
		table := sampled(t, n, 20_000, seed)
		steps := 0
		s, score, err := HillClimb(t.Context(), table, Climb{Progress: func(k int, _ float64) { steps = k }})
		if err != nil {
			t.Fatal(err)
		}
		wrong := wrongEdges(s.Edges(), n.Edges())
		truth, err := bic(table, n.structure())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %d wrong edges after %d steps, BIC %.1f, of the true structure %.1f", seed, wrong, steps, score, truth)
		if wrong > 2 {
			t.Errorf("seed %d: %d wrong edges in %v", seed, wrong, s.Edges())
		}
		again, _, err := HillClimb(t.Context(), table, Climb{})
		if err != nil || !cmp.Equal(s, again) {
			t.Errorf("seed %d: a second search ends elsewhere: %v, %v", seed, again, err)
		}
	}
}

func TestHillClimbKeepsToEdges(t *testing.T) {
	n := load(t, "asia.bif")
	table := sampled(t, n, 5000, 1)
	asia, xray, smoke, lung := n.Index("asia"), n.Index("xray"), n.Index("smoke"), n.Index("lung")
	opt := Climb{Required: []Edge{{asia, xray}}, Forbidden: []Edge{{smoke, lung}, {lung, smoke}}, MaxParents: 2}
	s, _, err := HillClimb(t.Context(), table, opt)
	if err != nil {
		t.Fatal(err)
	}
	if edges := s.Edges(); !slices.Contains(edges, opt.Required[0]) || slices.Contains(edges, opt.Forbidden[0]) || slices.Contains(edges, opt.Forbidden[1]) {
		t.Errorf("edges %v", edges)
	}
	for i, p := range s.Parents {
		if len(p) > 2 {
			t.Errorf("%d parents of %d", len(p), i)
		}
	}
	for name, bad := range map[string]Climb{
		"both":  {Required: []Edge{{0, 1}}, Forbidden: []Edge{{0, 1}}},
		"cycle": {Required: []Edge{{0, 1}, {1, 0}}},
		"range": {Forbidden: []Edge{{0, 99}}},
		"self":  {Required: []Edge{{3, 3}}},
	} {
		if _, _, err := HillClimb(t.Context(), table, bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	if _, _, err := HillClimb(ctx, table, Climb{}); !errors.Is(err, stop) {
		t.Errorf("cancelled search: %v, want %v", err, stop)
	}
}

// A tree is found exactly by Chow and Liu's method, and an independent column stays alone.
func TestChowLiu(t *testing.T) {
	table, err := NewTable([]Variable{{"a", []string{"0", "1"}}, {"b", []string{"0", "1"}}, {"c", []string{"0", "1"}}, {"lone", []string{"0", "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	noisy := func(s uint8) uint8 {
		if r.IntN(10) == 0 {
			return 1 - s
		}
		return s
	}
	for range 2000 {
		b := uint8(r.IntN(2))
		if err := table.Add([]uint8{noisy(b), b, noisy(b), uint8(r.IntN(2))}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := ChowLiu(table, 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Edge{{0, 1}, {1, 2}}, s.Edges()); diff != "" {
		t.Error(diff)
	}
	if _, err := ChowLiu(table, 4); !errors.Is(err, ErrInvalid) {
		t.Errorf("root out of range: %v", err)
	}
}

// Counting three columns at once, two, and one by one is the same; rows with gaps count where they are complete.
func TestTableCounts(t *testing.T) {
	table, err := NewTable([]Variable{{"a", []string{"0", "1"}}, {"b", []string{"0", "1", "2"}}, {"c", []string{"0", "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]uint8{{0, 0, 0}, {0, 2, 1}, {0, 2, 1}, {1, 1, Missing}, {Missing, 2, 1}, {1, 0, 1}} {
		if err := table.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	if table.Rows() != 6 || table.Distinct() != 5 {
		t.Errorf("%v rows, %d distinct", table.Rows(), table.Distinct())
	}
	for _, c := range []struct {
		parents []int
		want    []float64
		rows    float64
	}{
		{nil, []float64{3, 2}, 5},
		{[]int{1}, []float64{1, 1, 0, 1, 2, 0}, 5},
		{[]int{1, 2}, []float64{1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0}, 4},
	} {
		got, rows := table.family(nil, 0, c.parents)
		if diff := cmp.Diff(c.want, got); diff != "" || rows != c.rows {
			t.Errorf("parents %v: %v rows, %s", c.parents, rows, diff)
		}
	}
	for _, row := range [][]uint8{{0, 0}, {0, 3, 0}} {
		if err := table.Add(row); !errors.Is(err, ErrInvalid) {
			t.Errorf("row %v: %v", row, err)
		}
	}
	if err := table.AddWeighted([]uint8{0, 0, 0}, math.NaN()); !errors.Is(err, ErrInvalid) {
		t.Errorf("NaN weight: %v", err)
	}
}

// The fitted tables are the Dirichlet posterior means, by hand.
func TestFit(t *testing.T) {
	table, err := NewTable([]Variable{{"a", []string{"0", "1"}}, {"b", []string{"0", "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		row []uint8
		n   float64
	}{{[]uint8{0, 0}, 6}, {[]uint8{0, 1}, 2}} {
		if err := table.AddWeighted(w.row, w.n); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewStructure(2, []Edge{{0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prior Prior
		a, b  []float64
	}{
		{Prior{}, []float64{8.5 / 9, 0.5 / 9}, []float64{6.25 / 8.5, 2.25 / 8.5, 0.5, 0.5}},
		{Prior{SampleSize: 4}, []float64{10.0 / 12, 2.0 / 12}, []float64{7.0 / 10, 3.0 / 10, 0.5, 0.5}},
		{Prior{Add: 1}, []float64{9.0 / 10, 1.0 / 10}, []float64{7.0 / 10, 3.0 / 10, 0.5, 0.5}},
	} {
		n, err := Fit(table, s, c.prior)
		if err != nil {
			t.Fatal(err)
		}
		for k, want := range [][]float64{c.a, c.b} {
			for at, p := range n.Nodes[k].CPT {
				if !near(p, want[at], 1e-15) {
					t.Errorf("%+v: table %d is %v, want %v", c.prior, k, n.Nodes[k].CPT, want)
					break
				}
			}
		}
		if diff := cmp.Diff([]float64{8, 0}, n.Nodes[1].Support); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := Fit(table, s, Prior{Add: math.Inf(1)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("infinite prior: %v", err)
	}
	if _, err := Fit(table, Structure{Parents: [][]int{nil}}, Prior{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("structure of another size: %v", err)
	}
}

// Online learning follows a coin that changes its bias, and remembers about as many rows as it was told to.
func TestUpdaterFollows(t *testing.T) {
	n := &Network{Nodes: []Node{{Name: "coin", States: []string{"heads", "tails"}, CPT: []float64{0.5, 0.5}}}}
	u, err := NewUpdater(n, Adapt{Memory: 400, Trust: 10})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(6, 6))
	for _, bias := range []float64{0.9, 0.2} {
		for range 4000 {
			s := uint8(1)
			if r.Float64() < bias {
				s = 0
			}
			u.Update([]uint8{s})
		}
		if got := n.Nodes[0].CPT[0]; !near(got, bias, 0.06) {
			t.Errorf("P(heads) = %v, want about %v", got, bias)
		}
	}
	if a := testing.AllocsPerRun(100, func() { u.Update([]uint8{Missing}); u.Update([]uint8{1}) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
	if err := n.Validate(); err != nil {
		t.Error(err)
	}
}

// millionRows is a table of 1,000,000 rows of 10 columns with 8 states each, most of which do not repeat.
func millionRows(t testing.TB) *Table {
	vars := make([]Variable, 10)
	for i := range vars {
		vars[i] = Variable{string(rune('a' + i)), []string{"0", "1", "2", "3", "4", "5", "6", "7"}}
	}
	table, err := NewTable(vars)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	row := make([]uint8, len(vars))
	for range 1_000_000 {
		for i := range row {
			row[i] = uint8(r.IntN(8))
			if i >= 2 && r.IntN(3) > 0 {
				row[i] = (row[i-1] + row[i-2]) % 8
			}
		}
		if err := table.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// Training on a million rows takes seconds and little memory; the bounds leave room for a busy machine.
func TestTrainingIsQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("a million rows")
	}
	start := proctest.CPU(t) // not the wall clock: the machine may have others to serve
	table := millionRows(t)
	s, _ := learned(t, table, Options{})
	took := proctest.CPU(t) - start
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d distinct rows, %d edges: %v, %d MiB from the system", table.Distinct(), len(s.Edges()), took, m.Sys>>20)
	if took > 10*time.Second {
		t.Errorf("took %v of the processor, want at most 10 s", took)
	}
	if m.Sys > 1<<30 {
		t.Errorf("%d MiB, want at most 1024", m.Sys>>20)
	}
}

// bic is the score of a structure on the table, as HillClimb maximises it.
func bic(t *Table, s Structure) (float64, error) {
	if err := t.fits(s); err != nil {
		return 0, err
	}
	sc, v := newScorer(t), 0.0
	for i, parents := range s.Parents {
		v += sc.score(i, slices.Sorted(slices.Values(parents)))
	}
	return v, nil
}
