// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

func TestRoundTrip(t *testing.T) {
	var w state.Writer
	w.Uint(math.MaxUint64)
	w.Int(-5)
	w.Int(7)
	w.Bool(true)
	w.Bool(false)
	for _, v := range []float64{math.NaN(), math.Inf(-1), 2.5, 3} {
		w.Float(v)
	}
	w.Floats([]float64{1, math.NaN()})
	w.Floats(nil)
	w.Floats([]float64{8, 9})
	w.Text("Wärme")
	w.Text("")

	r := state.NewReader(w.Bytes)
	pair := make([]float64, 2)
	got := []any{
		r.Uint(), r.Int(), r.Count("count", 7), r.Bool(), r.Bool(),
		r.Float(), r.Float(), r.Finite("finite"), r.Min("min", 3),
		r.Floats("floats", 2), len(r.Floats("none", 0)),
	}
	r.FloatsTo("pair", pair)
	got = append(got, pair, r.Text("text", 6), r.Text("nothing", 0))
	want := []any{
		uint64(math.MaxUint64), int64(-5), 7, true, false,
		math.NaN(), math.Inf(-1), 2.5, 3.0,
		[]float64{1, math.NaN()}, 0, []float64{8, 9}, "Wärme", "",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("what was read (-want +got):\n%s", diff)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestReaderRefuses(t *testing.T) {
	written := func(write func(w *state.Writer)) []byte {
		var w state.Writer
		write(&w)
		return w.Bytes
	}
	for name, c := range map[string]struct {
		data []byte
		read func(r *state.Reader)
		want string
	}{
		"nothing":               {nil, func(r *state.Reader) { r.Uint() }, "ends 8 bytes early"},
		"half a number":         {make([]byte, 5), func(r *state.Reader) { r.Float() }, "ends 3 bytes early"},
		"no boolean":            {nil, func(r *state.Reader) { r.Bool() }, "ends 1 bytes early"},
		"boolean of 2":          {[]byte{2}, func(r *state.Reader) { r.Bool() }, "a boolean is 2"},
		"negative count":        {written(func(w *state.Writer) { w.Int(-1) }), func(r *state.Reader) { r.Count("size", 9) }, "size is -1, want 0 to 9"},
		"count too large":       {written(func(w *state.Writer) { w.Int(10) }), func(r *state.Reader) { r.Count("size", 9) }, "size is 10"},
		"NaN":                   {written(func(w *state.Writer) { w.Float(math.NaN()) }), func(r *state.Reader) { r.Finite("mean") }, "mean is NaN"},
		"infinity":              {written(func(w *state.Writer) { w.Float(math.Inf(1)) }), func(r *state.Reader) { r.Min("mean", 0) }, "mean is +Inf"},
		"under the minimum":     {written(func(w *state.Writer) { w.Float(-1) }), func(r *state.Reader) { r.Min("variance", 0) }, "variance is -1, want at least 0"},
		"length beyond the end": {written(func(w *state.Writer) { w.Int(1 << 29) }), func(r *state.Reader) { r.Floats("window", 1<<30) }, "early"},
		"length over the cap":   {written(func(w *state.Writer) { w.Int(100) }), func(r *state.Reader) { r.Floats("window", 9) }, "window length is 100"},
		"other length":          {written(func(w *state.Writer) { w.Floats([]float64{1}) }), func(r *state.Reader) { r.FloatsTo("pair", make([]float64, 2)) }, "pair has 1 values, want 2"},
		"text too long":         {written(func(w *state.Writer) { w.Text("long") }), func(r *state.Reader) { r.Text("name", 3) }, "name length is 4"},
		"text cut off":          {written(func(w *state.Writer) { w.Text("long") })[:10], func(r *state.Reader) { r.Text("name", 9) }, "early"},
		"left over":             {make([]byte, 9), func(r *state.Reader) { r.Uint() }, "1 bytes left over"},
	} {
		t.Run(name, func(t *testing.T) {
			r := state.NewReader(c.data)
			c.read(r)
			err := r.Close()
			if !errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want a corrupt state: %s", err, c.want)
			}
		})
	}
}

func TestFirstErrorStays(t *testing.T) {
	r := state.NewReader([]byte{9, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	r.Bool()
	first := r.Err()
	if r.Uint() != 0 || r.Float() != 0 || r.Bool() || r.Text("t", 9) != "" || r.Floats("f", 9) != nil || r.Count("n", 9) != 0 {
		t.Error("a read after an error returned something other than zero")
	}
	if !errors.Is(r.Close(), first) {
		t.Errorf("the error became %v, want the first: %v", r.Err(), first)
	}
}

// FuzzReader interprets the first bytes as a programme of reads over the rest.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, []byte("some state, long enough for a number or two"))
	f.Add([]byte{6, 6}, []byte{255, 255, 255, 255, 255, 255, 255, 127})
	f.Fuzz(func(t *testing.T, programme, data []byte) {
		r := state.NewReader(data)
		for _, op := range programme {
			failed := r.Err()
			switch op % 8 {
			case 0:
				r.Uint()
			case 1:
				r.Bool()
			case 2:
				if v := r.Finite("v"); math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("Finite returned %v", v)
				}
			case 3:
				if n := r.Count("n", 7); n < 0 || n > 7 {
					t.Errorf("Count returned %d", n)
				}
			case 4:
				if v := r.Floats("v", 1<<30); 8*len(v) > len(data) {
					t.Errorf("%d floats out of %d bytes", len(v), len(data))
				}
			case 5:
				r.FloatsTo("v", make([]float64, 2))
			case 6:
				if s := r.Text("s", 1<<30); len(s) > len(data) {
					t.Errorf("%d bytes of text out of %d", len(s), len(data))
				}
			case 7:
				r.Min("m", -1)
			}
			if failed != nil && !errors.Is(r.Err(), failed) {
				t.Errorf("the first error %v was lost", failed)
			}
		}
		if err := r.Close(); err != nil && !errors.Is(err, state.ErrCorrupt) {
			t.Errorf("error %v is not ErrCorrupt", err)
		}
	})
}

type level struct {
	mean  float64
	count uint64
}

func (l *level) EncodeState(w *state.Writer) { w.Float(l.mean); w.Uint(l.count) }
func (l *level) DecodeState(r *state.Reader) { l.mean = r.Finite("mean"); l.count = r.Uint() }

func ExamplePart() {
	var w state.Writer
	learned := level{mean: 20.5, count: 3}
	learned.EncodeState(&w)

	var restored level
	r := state.NewReader(w.Bytes)
	restored.DecodeState(r)
	fmt.Println(restored, r.Close())

	r = state.NewReader(w.Bytes[:12])
	restored.DecodeState(r)
	fmt.Println(r.Close())
	// Output:
	// {20.5 3} <nil>
	// corrupt state: ends 4 bytes early
}
