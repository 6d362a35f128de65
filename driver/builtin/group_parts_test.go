// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math/rand/v2"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

// Of many rows evenly spaced ones are fitted, or the last.
func TestManyRows(t *testing.T) {
	const n = 2*fitMost + 5
	members := plantMembers(1)
	c := newColumns([]driver.Key{members[0].Key})
	rows := func(yield func(driver.Row) bool) {
		row := make(driver.Row, 1)
		for i := range n {
			row[0].Value = float64(i)
			if !yield(row) {
				return
			}
		}
	}
	spaced, _, err := collectRows(t.Context(), rows, &c, true)
	if err != nil {
		t.Fatal(err)
	}
	step := spaced[1][0] - spaced[0][0]
	for i := 1; i < len(spaced); i++ {
		if spaced[i][0]-spaced[i-1][0] != step {
			t.Fatalf("rows %v and %v follow each other, want steps of %v", spaced[i-1], spaced[i], step)
		}
	}
	if len(spaced) < fitMost/2 || len(spaced) > fitMost || spaced[0][0] > step || spaced[len(spaced)-1][0] < n-1-step {
		t.Errorf("%d rows from %v to %v, want the whole of %d", len(spaced), spaced[0], spaced[len(spaced)-1], n)
	}
	last, _, err := collectRows(t.Context(), rows, &c, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(last) != fitMost || last[0][0] != n-fitMost || last[fitMost-1][0] != n-1 {
		t.Errorf("%d rows from %v to %v, want the last %d", len(last), last[0], last[len(last)-1], fitMost)
	}
	d, err := driver.Open(bayesnetName, driver.Settings{Members: members}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.(driver.Trainer).Train(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	// Evenly spread numbers have no blocks: bins of equal frequency, over the whole range.
	z := d.(*bayesnetDetector).known.discretizers[0]
	if first, last := z.State(0), z.State(n-1); z.Len() != 8 || first != 0 || last != 7 || z.State(n*9/16) != 4 {
		t.Errorf("%d states, %d to %d, want 8, 0 to 7", z.Len(), first, last)
	}
}

func TestBlame(t *testing.T) {
	members := roomMembers()
	d, err := driver.Open(bayesnetName, driver.Settings{Members: members}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := d.(*bayesnetDetector)
	for _, c := range []struct {
		candidates []bayes.Candidate
		rivals     int
		message    string
		causes     []driver.Cause
	}{
		{[]bayes.Candidate{{Members: []int{1}, Posterior: 0.9}, {Members: []int{0}, Posterior: 0.1}}, 1,
			"light-2 contradicts the other members", []driver.Cause{{Key: roomKeys[1], Weight: 0.9}}},
		{[]bayes.Candidate{{Members: []int{1, 0}, Posterior: 0.5}}, 1,
			"light-1 and light-2 contradict the other members", []driver.Cause{{Key: roomKeys[1], Weight: 0.25}, {Key: roomKeys[0], Weight: 0.25}}},
		{[]bayes.Candidate{{Members: []int{2}, Posterior: 0.5}, {Members: []int{0}, Posterior: 0.25}}, 2,
			"cannot tell: brightness or light-1", []driver.Cause{{Key: roomKeys[2], Weight: 0.5}, {Key: roomKeys[0], Weight: 0.25}}},
		{[]bayes.Candidate{{Members: []int{2}, Posterior: 0.375}, {Members: []int{0, 1}, Posterior: 0.25}, {Members: []int{0}, Posterior: 0.3125}}, 3,
			"cannot tell which of the causes is wrong",
			[]driver.Cause{{Key: roomKeys[0], Weight: 0.4375}, {Key: roomKeys[2], Weight: 0.375}, {Key: roomKeys[1], Weight: 0.125}}},
	} {
		var out driver.Result
		b.blame(&out, c.candidates, c.candidates[0].Members, c.rivals)
		same := len(out.Causes) == len(c.causes)
		for i := range min(len(out.Causes), len(c.causes)) {
			same = same && out.Causes[i] == c.causes[i]
		}
		if out.Message != c.message || !same {
			t.Errorf("%v: %q %v, want %q %v", c.candidates, out.Message, out.Causes, c.message, c.causes)
		}
	}
	var out driver.Result
	b.blame(&out, nil, nil, 0)
	if len(out.Causes) != 0 || out.Message == "" {
		t.Errorf("a row that nobody is to blame for: %q %v", out.Message, out.Causes)
	}
}

func TestCausesAreBounded(t *testing.T) {
	var out driver.Result
	for i := range 3 * maxCauses {
		addCause(&out, driver.Key{Property: string(rune('a' + i))}, float64(i*7%24)/1000)
	}
	if len(out.Causes) != maxCauses || out.Causes[0].Weight != 0.023 || out.Causes[maxCauses-1].Weight != 0.016 {
		t.Errorf("causes are %v, want the %d heaviest", out.Causes, maxCauses)
	}
}

// TestConstantMemberMoves: a member that had one number in all that was learned from and has another now is told and
// blamed by every detector of groups; the same member at rest harms nothing.
func TestConstantMemberMoves(t *testing.T) {
	for _, name := range groupDrivers() {
		t.Run(name, func(t *testing.T) {
			g := openGroup(t, name, driver.Settings{Members: plantMembers(3)}, nil)
			r := rand.New(rand.NewPCG(7, 7))
			told, wrong := 0, 0
			for i := range 4000 {
				flow, rest := r.NormFloat64(), 0.0
				if i >= 3500 && i < 3600 {
					rest = 1
				}
				out := g.feed(10+flow, rest, 20+2*flow+0.2*r.NormFloat64())
				switch bad := out.Severity.Anomalous() || out.Ongoing; {
				case !bad:
				case i >= 3500 && i < 3600 && out.Causes[0].Key == plantMembers(3)[1].Key:
					told++
				case i < 3500:
					wrong++
				}
			}
			if told < 90 || wrong > 35 {
				t.Errorf("%d of 100 rows told, %d of 3,500 false; want 90 and at most 35", told, wrong)
			}
		})
	}
}
