// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func locator(t testing.TB, n *Network, rows int, opt Options) *Locator {
	t.Helper()
	e := compile(t, n)
	cal, err := Calibrate(e, sampled(t, n, rows, 11), opt)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLocator(e, cal, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The weights of all fault sets of up to two members are what the model of reports says, summed over all true states.
func TestLocatorIsBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	const fault = 0.3 // so that every set gets among the candidates now and then
	for trial := range 200 {
		n := randomNetwork(r, 2+trial%6)
		for i := range n.Nodes { // without zeros, which judging raises to leastProbability
			v := &n.Nodes[i]
			for at := range v.CPT {
				v.CPT[at] = 0.98*v.CPT[at] + 0.02/float64(len(v.States))
			}
		}
		l := locator(t, n, 50, Options{Fault: fault, Alpha: 0.999})
		row := make([]uint8, len(n.Nodes))
		for i := range row {
			row[i] = uint8(r.IntN(len(n.Nodes[i].States)))
			if trial%3 == 0 && r.IntN(4) == 0 {
				row[i] = Missing
			}
		}
		if trial%3 > 0 && slices.Contains(row, Missing) || !slices.ContainsFunc(row, func(s uint8) bool { return s != Missing }) {
			continue
		}
		v := l.Judge(row)
		p, _, _ := bruteForce(n, row)
		if !near(v.LogLik, math.Log(p), 1e-9) {
			t.Fatalf("trial %d: LogLik %v, want %v", trial, v.LogLik, math.Log(p))
		}
		for _, c := range v.Candidates {
			want := faultWeight(n, row, c.Members, fault) / p
			if got := c.Posterior / v.NoFault; !near(got, want, 1e-9*max(1, want)) {
				t.Fatalf("trial %d: weight %v of %v in %v, want %v", trial, got, c.Members, row, want)
			}
		}
	}
}

// faultWeight sums P(x) over the states of wrong members other than those reported, with the odds of the reports.
func faultWeight(n *Network, row []uint8, wrong []int, fault float64) float64 {
	x := slices.Clone(row)
	var visit func(k int) float64
	visit = func(k int) float64 {
		if k == len(wrong) {
			p, _, _ := bruteForce(n, x)
			return p
		}
		i, sum := wrong[k], 0.0
		others := len(n.Nodes[i].States) - 1
		for s := range n.Nodes[i].States {
			if uint8(s) != row[i] {
				x[i] = uint8(s)
				sum += visit(k+1) * fault / (1 - fault) / float64(others)
			}
		}
		x[i] = row[i]
		return sum
	}
	return visit(0)
}

// realityOf is the sum that Locator.realities documents, over all single errors of the other members.
func realityOf(n *Network, row []uint8, i int, s uint8, fault float64) float64 {
	x := slices.Clone(row)
	x[i] = s
	sum, _, _ := bruteForce(n, x)
	for j := range row {
		if j != i {
			sum += faultWeight(n, x, []int{j}, fault)
		}
	}
	return sum
}

func TestRealitiesAreBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	const fault = 0.2
	for trial := range 100 {
		n := randomNetwork(r, 2+trial%5)
		for i := range n.Nodes {
			for at := range n.Nodes[i].CPT {
				n.Nodes[i].CPT[at] = 0.95*n.Nodes[i].CPT[at] + 0.05/float64(len(n.Nodes[i].States))
			}
		}
		l := locator(t, n, 20, Options{Fault: fault, Alpha: 0.999})
		row := make([]uint8, len(n.Nodes))
		for i := range row {
			row[i] = uint8(r.IntN(len(n.Nodes[i].States)))
		}
		if v := l.judge(row, true); !v.Anomalous {
			continue // the pairs are not looked at
		}
		p, _, _ := bruteForce(n, row)
		for i := range n.Nodes {
			for s := range n.Nodes[i].States {
				want := realityOf(n, row, i, uint8(s), fault) / p
				if got := l.reality[l.flips.offset[i]+s]; !near(got, want, 1e-9*max(1, want)) {
					t.Fatalf("trial %d: reality of %d in %d is %v, want %v", trial, i, s, got, want)
				}
			}
		}
	}
}

// Rows of the kind that the network was learned from are rarely anomalous, as often as Alpha says; a contradiction in a
// wide row is found although it is small beside the surprise of the whole.
func TestCalibration(t *testing.T) {
	n := load(t, "alarm.bif")
	l := locator(t, n, 20_000, Options{Alpha: 0.01})
	order, _ := n.structure().order()
	r := rand.New(rand.NewPCG(8, 8))
	row := make([]uint8, len(n.Nodes))
	alarms := 0
	const rows = 20_000
	for range rows {
		sample(n, order, r, row)
		if l.Judge(row).Anomalous {
			alarms++
		}
	}
	if share := float64(alarms) / rows; share > 0.012 || share < 0.002 {
		t.Errorf("%.2f %% of normal rows are anomalous at alpha 1 %%", 100*share)
	}
	gaps, found := 0, 0
	for range 2000 {
		sample(n, order, r, row)
		row[r.IntN(len(row))] = Missing
		row[r.IntN(len(row))] = Missing
		if l.Judge(row).Anomalous {
			gaps++
		}
	}
	if share := float64(gaps) / 2000; share > 0.025 {
		t.Errorf("%.2f %% of normal rows with gaps are anomalous at alpha 1 %%", 100*share)
	}
	// CVP and PCWP both follow LVEDVOLUME. A wrong report of that contradicts both.
	volume, named := n.Index("LVEDVOLUME"), 0
	for range 500 {
		sample(n, order, r, row)
		row[volume] = (row[volume] + 1) % 3
		if v := l.Judge(row); v.Anomalous {
			found++
			if len(v.Blamed) == 1 && v.Blamed[0] == volume {
				named++
			}
		}
	}
	if found < 300 || named < found*9/10 {
		t.Errorf("of 500 wrong reports of LVEDVOLUME %d are found, and %d named", found, named)
	}
}

// Independent rows of a network accuse nobody, however many of its members have rare states.
func TestPersistenceIsPatient(t *testing.T) {
	for _, name := range []string{"asia.bif", "alarm.bif"} {
		n := load(t, name)
		p, err := NewPersistence(locator(t, n, 20_000, Options{}), Persist{})
		if err != nil {
			t.Fatal(err)
		}
		order, _ := n.structure().order()
		r := rand.New(rand.NewPCG(1, 3))
		row := make([]uint8, len(n.Nodes))
		for k := range 20_000 {
			sample(n, order, r, row)
			if f := p.Judge(row); f.Faulty {
				t.Fatalf("%s, row %d: %s blamed", name, k, n.Nodes[f.Blamed[0]].Name)
			}
		}
	}
}

func TestLocatorAdapts(t *testing.T) {
	l, _ := room(t, 4000, 0, Options{})
	if err := l.Adapt(Adapt{Trust: 100, Memory: 500}); err != nil {
		t.Fatal(err)
	}
	row := []uint8{1, 0, 0} // from now on light 1 is not seen by the sensor
	if !l.Judge(row).Anomalous {
		t.Fatal("the row is not anomalous at first")
	}
	before := l.Judge(row).LogLik
	for range 300 {
		for _, row := range [][]uint8{{1, 0, 0}, {0, 0, 0}, {1, 1, 2}, {0, 1, 2}} {
			l.Learn(row)
		}
	}
	v := l.Judge(row)
	if v.Anomalous || v.LogLik < before+5 {
		t.Errorf("after 300 rounds: p = %v, log-likelihood from %v to %v", v.PValue, before, v.LogLik)
	}
	if err := l.Engine().Network().Validate(); err != nil {
		t.Error(err)
	}
	if p := l.Engine().LogProb(row); !near(p, v.LogLik, 1e-9) {
		t.Errorf("the engine says %v, the locator %v", p, v.LogLik)
	}
}

func TestLocatorRefusesOptions(t *testing.T) {
	l, _ := room(t, 100, 0, Options{})
	for name, opt := range map[string]Options{
		"alpha":  {Alpha: 2},
		"fault":  {Fault: -1},
		"faults": {Faults: []float64{0.1}},
		"prior":  {Faults: []float64{0.1, math.NaN(), 0}},
		"set":    {MaxSet: 3},
		"rival":  {Rival: 7},
	} {
		if _, err := NewLocator(l.engine, l.cal, opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewLocator(l.engine, &Calibration{}, Options{}); err == nil {
		t.Error("empty calibration: no error")
	}
	if _, err := NewPersistence(l, Persist{Threshold: -1}); err == nil {
		t.Error("threshold: no error")
	}
}

func TestJudgingDoesNotAllocate(t *testing.T) {
	n := load(t, "alarm.bif")
	l := locator(t, n, 5000, Options{Alpha: 0.5})
	if err := l.Adapt(Adapt{}); err != nil {
		t.Fatal(err)
	}
	p, err := NewPersistence(l, Persist{})
	if err != nil {
		t.Fatal(err)
	}
	order, _ := n.structure().order()
	r := rand.New(rand.NewPCG(1, 9))
	row := make([]uint8, len(n.Nodes))
	if a := testing.AllocsPerRun(200, func() {
		sample(n, order, r, row)
		row[r.IntN(len(row))] = 0
		p.Judge(row)
		l.Learn(row)
		row[r.IntN(len(row))] = Missing
		p.Judge(row)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func BenchmarkJudge(b *testing.B) {
	small, _ := room(b, 4000, 0, Options{})
	alarm := load(b, "alarm.bif")
	big := locator(b, alarm, 20_000, Options{})
	order, _ := alarm.structure().order()
	normal := make([]uint8, 37)
	sample(alarm, order, rand.New(rand.NewPCG(1, 1)), normal)
	wrong := slices.Clone(normal)
	wrong[alarm.Index("LVEDVOLUME")] ^= 1
	wrong[alarm.Index("VENTLUNG")] ^= 1
	gaps := slices.Clone(normal)
	gaps[3], gaps[17] = Missing, Missing
	for _, c := range []struct {
		name string
		l    *Locator
		row  []uint8
	}{
		{"nodes=3/normal", small, []uint8{1, 0, 1}},
		{"nodes=3/anomalous", small, []uint8{1, 0, 0}},
		{"nodes=37/normal", big, normal},
		{"nodes=37/anomalous", big, wrong},
		{"nodes=37/gaps", big, gaps},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.l.Judge(c.row)
			}
		})
		b.Run(c.name+"/persistence", func(b *testing.B) {
			p, err := NewPersistence(c.l, Persist{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Judge(c.row)
			}
		})
	}
}

func BenchmarkEngine(b *testing.B) {
	n := load(b, "alarm.bif")
	e := compile(b, n)
	row := evidence(b, n, "HRBP", "HIGH", "CO", "LOW", "BP", "HIGH", "HRSAT", "LOW")
	b.Run("LogProb", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.LogProb(row)
		}
	})
	b.Run("Query", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Query(row)
		}
	})
}
