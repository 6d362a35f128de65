// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

func encoded(parts ...state.Part) []byte {
	var w state.Writer
	for _, p := range parts {
		p.EncodeState(&w)
	}
	return w.Bytes
}

// A restored locator judges as the one that was saved.
func TestStateRoundTrip(t *testing.T) {
	l, _ := room(t, 3000, 0.01, Options{})
	p, err := NewPersistence(l, Persist{})
	if err != nil {
		t.Fatal(err)
	}
	p.Judge([]uint8{1, 0, 0})
	levels, err := LearnDiscretizer([]float64{0, 1, 2, 3}, Discretize{})
	if err != nil {
		t.Fatal(err)
	}
	names, err := LearnDiscretizer(nil, Discretize{Categories: []string{"off", "on"}})
	if err != nil {
		t.Fatal(err)
	}
	data := encoded(l.engine.net, l.cal, levels, names, p)

	r := state.NewReader(data)
	var n Network
	var cal Calibration
	var d1, d2 Discretizer
	for _, part := range []state.Part{&n, &cal, &d1, &d2} {
		part.DecodeState(r)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	l2, err := NewLocator(compile(t, &n), &cal, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p2, err := NewPersistence(l2, Persist{})
	if err != nil {
		t.Fatal(err)
	}
	p2.DecodeState(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(data, encoded(&n, &cal, &d1, &d2, p2)); diff != "" {
		t.Error(diff)
	}
	for _, row := range [][]uint8{{0, 0, 0}, {1, 0, 0}, {1, Missing, 2}, {0, 1, 2}} {
		if diff := cmp.Diff(p.Judge(row), p2.Judge(row)); diff != "" {
			t.Errorf("%v: %s", row, diff)
		}
	}
	if d1.State(2.2) != levels.State(2.2) || d2.State(7) != names.State(7) {
		t.Error("a restored discretizer differs")
	}
}

func FuzzDecodeState(f *testing.F) {
	l, _ := room(f, 200, 0, Options{})
	d, err := LearnDiscretizer([]float64{0, 1, 2, 3}, Discretize{})
	if err != nil {
		f.Fatal(err)
	}
	p, err := NewPersistence(l, Persist{})
	if err != nil {
		f.Fatal(err)
	}
	for k, part := range []state.Part{l.engine.net, l.cal, d, p} {
		f.Add(uint8(k), encoded(part))
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		r := state.NewReader(data)
		switch kind % 4 {
		case 0:
			var n Network
			n.DecodeState(r)
			if r.Err() == nil {
				if err := n.Validate(); err != nil {
					t.Fatal(err)
				}
			}
		case 1:
			var c Calibration
			c.DecodeState(r)
			if x := c.PValue(1, 1); r.Err() == nil && !(x >= 0 && x <= 1) {
				t.Fatalf("p-value %v", x)
			}
		case 2:
			var d Discretizer
			d.DecodeState(r)
			if r.Err() == nil && d.State(0.5) != Missing && int(d.State(0.5)) >= d.Len() || d.State(math.NaN()) != Missing {
				t.Fatalf("state %d of %d", d.State(0.5), d.Len())
			}
		default:
			p.Reset()
			p.DecodeState(r)
			p.Judge([]uint8{1, 0, 0})
		}
	})
}
