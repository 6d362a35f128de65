// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Exact inference agrees with the sum over all joint states, to 1e-12, on networks of up to 12 nodes.
func TestInferenceIsBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	impossible := 0
	for trial := range 300 {
		n := randomNetwork(r, 1+trial%12)
		e := compile(t, n)
		for range 4 {
			row := missing(len(n.Nodes))
			for i := range row {
				if r.IntN(3) == 0 {
					row[i] = uint8(r.IntN(len(n.Nodes[i].States)))
				}
			}
			p, posterior, most := bruteForce(n, row)
			if got := math.Exp(e.LogProb(row)); !near(got, p, 1e-12) {
				t.Fatalf("trial %d: P(%v) = %v, want %v", trial, row, got, p)
			}
			if got := math.Exp(e.Query(row)); !near(got, p, 1e-12) {
				t.Fatalf("trial %d: Query of %v gives %v, want %v", trial, row, got, p)
			}
			for i := range n.Nodes {
				for s, want := range posterior[i] {
					if got := e.Posterior(i)[s]; !near(got, want, 1e-12) {
						t.Fatalf("trial %d: P(%d = %d | %v) = %v, want %v", trial, i, s, row, got, want)
					}
				}
			}
			full := make([]uint8, len(row))
			got := math.Exp(e.Complete(full, row))
			if p == 0 {
				impossible++
				continue
			}
			if !near(got, most, 1e-12) {
				t.Fatalf("trial %d: best completion of %v is %v with %v, want %v", trial, row, full, got, most)
			}
			for i, s := range row {
				if s != Missing && full[i] != s {
					t.Fatalf("trial %d: completion %v of %v", trial, full, row)
				}
			}
			if all := e.LogProb(full); !near(all, e.LogLik(full), 1e-10) {
				t.Fatalf("trial %d: LogProb %v and LogLik %v of a complete row", trial, all, e.LogLik(full))
			}
		}
	}
	if impossible == 0 {
		t.Error("no impossible evidence was tried")
	}
}

func TestLikelihoodEvidence(t *testing.T) {
	n := load(t, "asia.bif")
	e := compile(t, n)
	lung, smoke := n.Index("lung"), n.Index("smoke")
	// By hand: P(lung = yes) = 0.055 and P(smoke = yes | lung = yes) = 0.05/0.055.
	p := e.QueryLikelihood(missing(8), Likelihood{lung, []float64{0.8, 0.2}})
	if want := 0.055*0.8 + 0.945*0.2; !near(math.Exp(p), want, 1e-12) {
		t.Errorf("P = %v, want %v", math.Exp(p), want)
	}
	if want := (0.05*0.8 + 0.45*0.2) / (0.055*0.8 + 0.945*0.2); !near(e.Posterior(smoke)[0], want, 1e-12) {
		t.Errorf("P(smoke) = %v, want %v", e.Posterior(smoke)[0], want)
	}
}

// Hundreds of nodes multiply to less than the smallest float.
func TestLongChainDoesNotVanish(t *testing.T) {
	for _, tree := range []struct {
		name   string
		parent func(i int) int
	}{{"chain", func(i int) int { return i - 1 }}, {"star", func(int) int { return 0 }}} {
		n := &Network{Nodes: make([]Node, MaxNodes)}
		states := make([]string, 40)
		for s := range states {
			states[s] = string(rune('A' + s))
		}
		for i := range n.Nodes {
			v := &n.Nodes[i]
			v.Name, v.States = string(rune('a'+i)), states
			rows := 1
			if i > 0 {
				v.Parents, rows = []int{tree.parent(i)}, len(states)
			}
			for range rows * len(states) {
				v.CPT = append(v.CPT, 1/float64(len(states)))
			}
		}
		e := compile(t, n)
		row := make([]uint8, MaxNodes)
		row[3], row[0] = Missing, Missing
		if got, want := e.Query(row), -float64(MaxNodes-2)*math.Log(40); !near(got, want, 1e-8*-want) {
			t.Errorf("%s: %v, want %v", tree.name, got, want)
		}
		if got := e.Posterior(0)[5]; !near(got, 1.0/40, 1e-12) {
			t.Errorf("%s: posterior %v, want %v", tree.name, got, 1.0/40)
		}
	}
}

func TestTooWide(t *testing.T) {
	const side = 24 // a grid this wide has a clique of about 24 nodes
	n := &Network{}
	for i := range side * side {
		if i >= MaxNodes {
			break
		}
		v := Node{Name: string(rune('a' + i)), States: []string{"0", "1"}}
		if i%side > 0 {
			v.Parents = append(v.Parents, i-1)
		}
		if i >= side {
			v.Parents = append(v.Parents, i-side)
		}
		for range 1 << len(v.Parents) {
			v.CPT = append(v.CPT, 0.5, 0.5)
		}
		n.Nodes = append(n.Nodes, v)
	}
	if _, err := Compile(n); !errors.Is(err, ErrTooWide) {
		t.Errorf("Compile of a wide grid: %v, want ErrTooWide", err)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	good := func() *Network {
		return &Network{Nodes: []Node{
			{Name: "a", States: []string{"x", "y"}, CPT: []float64{0.5, 0.5}},
			{Name: "b", States: []string{"x", "y"}, Parents: []int{0}, CPT: []float64{1, 0, 0, 1}},
		}}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(n *Network){
		"cycle":     func(n *Network) { n.Nodes[0].Parents, n.Nodes[0].CPT = []int{1}, []float64{1, 0, 0, 1} },
		"self":      func(n *Network) { n.Nodes[0].Parents = []int{0} },
		"no node":   func(n *Network) { n.Nodes[1].Parents = []int{5} },
		"same name": func(n *Network) { n.Nodes[1].Name = "a" },
		"states":    func(n *Network) { n.Nodes[0].States[1] = "x" },
		"short":     func(n *Network) { n.Nodes[1].CPT = n.Nodes[1].CPT[:3] },
		"sum":       func(n *Network) { n.Nodes[1].CPT[0] = 0.9 },
		"NaN":       func(n *Network) { n.Nodes[0].CPT[0] = math.NaN() },
		"negative":  func(n *Network) { n.Nodes[0].CPT[0], n.Nodes[0].CPT[1] = -1, 2 },
		"support":   func(n *Network) { n.Nodes[1].Support = []float64{1} },
		"empty":     func(n *Network) { n.Nodes = nil },
	} {
		n := good()
		spoil(n)
		if err := n.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
		if _, err := Compile(n); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
	if err := good().CheckRow([]uint8{2, 0}); !errors.Is(err, ErrInvalid) {
		t.Errorf("row out of range: %v", err)
	}
	if err := good().CheckRow([]uint8{Missing, 1}); err != nil {
		t.Error(err)
	}
}

func TestQueriesDoNotAllocate(t *testing.T) {
	n := load(t, "alarm.bif")
	e := compile(t, n)
	order, _ := n.structure().order()
	row := make([]uint8, len(n.Nodes))
	sample(n, order, rand.New(rand.NewPCG(1, 1)), row)
	gaps := slices.Clone(row)
	gaps[3], gaps[9], gaps[20] = Missing, Missing, Missing
	for name, f := range map[string]func(){
		"LogLik":   func() { e.LogLik(row) },
		"LogProb":  func() { e.LogProb(gaps) },
		"Query":    func() { e.Query(gaps) },
		"Reload":   func() { e.Reload(); e.Query(gaps) },
		"Complete": func() { e.Complete(row, gaps) },
	} {
		if a := testing.AllocsPerRun(100, f); a != 0 {
			t.Errorf("%s allocates %v times", name, a)
		}
	}
}
