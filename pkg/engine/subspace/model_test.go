// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

func TestNormalRowsStayWithinTheLimit(t *testing.T) {
	fresh := plant(2, 5000, 8)
	for name, m := range models(t, plant(1, 1000, 8), Options{}) {
		over := 0
		for _, row := range fresh {
			if m.ScoreTo(nil, row) > 1 {
				over++
			}
		}
		// Two statistics at 1 % each, and limits that 1000 rows leave uncertain.
		if rate := float64(over) / 5000; rate > 0.035 || rate == 0 {
			t.Errorf("%s: %.2f %% of normal rows are beyond the limit, want about 1 %%", name, 100*rate)
		}
	}
}

// A value that is plausible alone, in a row it does not fit, is seen and blamed.
func TestBrokenRelationIsBlamed(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for name, m := range models(t, plant(1, 1000, 8), Options{}) {
		right, tried := 0, 0
		share := make([]float64, 8)
		for i, row := range plant(3, 200, 8) {
			j := i % 8
			row = slices.Clone(row)
			row[j] += 1.5 * float64(1+j) // one and a half standard deviations
			if m.ScoreTo(share, row) <= 1 {
				continue
			}
			tried++
			if argmax(share) == j {
				right++
			}
			var sum float64
			for _, s := range share {
				sum += s
			}
			if math.Abs(sum-1) > 1e-9 || slices.Min(share) < 0 {
				t.Fatalf("%s: shares %v", name, share)
			}
		}
		if tried < 190 || right < tried*95/100 {
			t.Errorf("%s: saw %d of 200 and blamed %d rightly", name, tried, right)
		}
	}
}

func TestExpectedIsWhatTheOthersSay(t *testing.T) {
	expected := make([]float64, 8)
	for name, m := range models(t, plant(1, 1000, 8), Options{}) {
		var worst float64
		for _, row := range plant(4, 100, 8) {
			truth := row[3]
			row[3] = math.NaN()
			m.ExpectedTo(expected, row)
			worst = max(worst, math.Abs(expected[3]-truth)/4)
		}
		if worst > 1.5 { // standard deviations of the member
			t.Errorf("%s: imputes a missing member %.2f standard deviations off", name, worst)
		}
	}
}

func TestUnitsDoNotMatter(t *testing.T) {
	rows, fresh := plant(1, 500, 5), plant(2, 50, 5)
	convert := func(rows [][]float64) [][]float64 {
		out := make([][]float64, len(rows))
		for i, row := range rows {
			out[i] = slices.Clone(row)
			out[i][1] = 9.0/5*row[1] + 32
			out[i][4] = -1e6 * row[4]
		}
		return out
	}
	a, b := models(t, rows, Options{}), models(t, convert(rows), Options{})
	for name := range a {
		for i, row := range fresh {
			x, y := a[name].ScoreTo(nil, row), b[name].ScoreTo(nil, convert(fresh[i : i+1])[0])
			if math.Abs(x-y) > 1e-6*(1+x) {
				t.Fatalf("%s: row %d scores %v, in other units %v", name, i, x, y)
			}
		}
	}
}

func TestMissingMembers(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	share := make([]float64, 8)
	for name, m := range models(t, plant(1, 500, 8), Options{}) {
		row := plant(2, 1, 8)[0]
		row[1] = nan
		if s := m.ScoreTo(share, row); !(s >= 0 && s < 1) || share[1] != 0 {
			t.Errorf("%s: a normal row with a missing member scores %v, blames %v", name, s, share)
		}
		row[3] += 2 * 4
		if s := m.ScoreTo(share, row); !(s > 1) || argmax(share) != 3 {
			t.Errorf("%s: a bad row with a missing member scores %v, blames %v", name, s, share)
		}
		row[0], row[2], row[4], row[5] = inf, nan, nan, nan
		if s := m.ScoreTo(share, row); !math.IsNaN(s) || m.Adapt() {
			t.Errorf("%s: five of eight missing, and it scores %v", name, s)
		}
		if s := m.ScoreTo(nil, row[:3]); !math.IsNaN(s) {
			t.Errorf("%s: a short row scores %v", name, s)
		}
	}
}

func TestStillMemberIsLeftOut(t *testing.T) {
	rows := plant(1, 500, 4)
	for _, row := range rows {
		row[2] = 7
	}
	expected := make([]float64, 4)
	for name, m := range models(t, rows, Options{}) {
		row := slices.Clone(rows[0])
		before := m.ScoreTo(nil, row)
		row[2] = 1000
		if after := m.ScoreTo(nil, row); after != before {
			t.Errorf("%s: a member that never moved changes the score from %v to %v", name, before, after)
		}
		if m.ExpectedTo(expected, row); !math.IsNaN(expected[2]) || math.IsNaN(expected[0]) {
			t.Errorf("%s: expects %v", name, expected)
		}
	}
}

func TestAdaptFollowsNormalRowsOnly(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for name, m := range models(t, plant(1, 1000, 4), Options{Rate: 0.01, Reach: 0.5}) {
		// Rows far out are not followed, however many there are.
		bad := slices.Clone(plant(2, 1, 4)[0])
		bad[1] += 10 * 2
		before := m.ScoreTo(nil, bad)
		for range 1000 {
			m.ScoreTo(nil, bad)
			if m.Adapt() {
				t.Fatalf("%s: followed a row that scores %v", name, before)
			}
		}
		if after := m.ScoreTo(nil, bad); after != before {
			t.Errorf("%s: an anomaly was learned: its score went from %v to %v", name, before, after)
		}
		// A slow change of one member is followed, and then no further than Reach.
		still, followed := 0.0, 0.0
		fixed := models(t, plant(1, 1000, 4), Options{Rate: 0.01, Reach: 0.5})[name]
		for i, row := range plant(5, 4000, 4) {
			row[0] += 0.3 * min(1, float64(i)/3000)
			a, b := fixed.ScoreTo(nil, row), m.ScoreTo(nil, row)
			m.Adapt()
			if i >= 3000 {
				still += a
				followed += b
			}
		}
		if followed > 0.75*still {
			t.Errorf("%s: rows at a new level score %v in sum with adapting, %v without", name, followed, still)
		}
		for i, row := range plant(6, 20000, 4) {
			row[0] += 1e-3 * float64(i)
			m.ScoreTo(nil, row)
			m.Adapt()
		}
		last := plant(7, 1, 4)[0]
		last[0] += 20
		if s := m.ScoreTo(nil, last); !(s > 1) {
			t.Errorf("%s: a drift of 20 standard deviations was learned: score %v", name, s)
		}
	}
}

func TestStateRoundTrip(t *testing.T) {
	empty := map[string]func() Model{
		"PCA": func() Model { return new(PCA) },
	}
	rows := plant(1, 300, 5)
	for name, m := range models(t, rows, Options{}) {
		for _, row := range rows[:50] {
			m.ScoreTo(nil, row)
			m.Adapt()
		}
		var w state.Writer
		m.EncodeState(&w)
		restored := empty[name]()
		if err := state.Restore(restored, w.Bytes); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a, b := make([]float64, 5), make([]float64, 5)
		for i, row := range plant(2, 200, 5) {
			if i%3 == 0 {
				row[i%5] = math.NaN()
			}
			x, y := m.ScoreTo(a, row), restored.ScoreTo(b, row)
			if x != y || !slices.Equal(a, b) || m.Adapt() != restored.Adapt() {
				t.Fatalf("%s row %d: %v %v, restored %v %v", name, i, x, a, y, b)
			}
		}
		for n := range w.Bytes {
			if n%7 != 0 {
				continue
			}
			r := state.NewReader(w.Bytes[:n])
			cut := empty[name]()
			cut.DecodeState(r)
			if !errors.Is(r.Close(), state.ErrCorrupt) {
				t.Fatalf("%s: %d of %d bytes are accepted", name, n, len(w.Bytes))
			}
			if !math.IsNaN(cut.ScoreTo(nil, rows[0])) {
				t.Fatalf("%s: a model that failed to load judges", name)
			}
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	rows := plant(1, 60, 3)
	for _, m := range models(f, rows, Options{}) {
		var w state.Writer
		m.EncodeState(&w)
		f.Add(w.Bytes)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		m := new(PCA)
		r := state.NewReader(data)
		m.DecodeState(r)
		if r.Close() != nil {
			return
		}
		dst := make([]float64, m.Members())
		row := make([]float64, m.Members())
		m.ScoreTo(dst, row)
		row[0] = math.NaN()
		m.ScoreTo(dst, row)
		m.Adapt()
		m.ExpectedTo(dst, row)
	})
}

func TestExtremeRows(t *testing.T) {
	extremes := []float64{math.MaxFloat64, -math.MaxFloat64, math.Inf(-1), math.NaN(), 0, math.SmallestNonzeroFloat64}
	r := rand.New(rand.NewPCG(1, 1))
	dst := make([]float64, 4)
	for name, m := range models(t, plant(1, 200, 4), Options{}) {
		for range 500 {
			row := make([]float64, 4)
			present := 0
			for j := range row {
				row[j] = extremes[r.IntN(len(extremes))]
				if finite(row[j]) {
					present++
				}
			}
			if s := m.ScoreTo(dst, row); math.IsNaN(s) != (present < 2) {
				t.Fatalf("%s: %v scores %v", name, row, s)
			}
			for _, v := range dst {
				if math.IsNaN(v) {
					t.Fatalf("%s: %v is blamed on %v", name, row, dst)
				}
			}
			m.Adapt()
		}
	}
	for i := range extremes {
		rows := plant(2, 100, 3)
		for k := range rows {
			rows[k][1] = extremes[(i+k)%len(extremes)]
		}
		// Whatever is made of such rows, it is a model or an error.
		if m, err := FitPCA(rows, PCAOptions{}); err == nil {
			m.ScoreTo(nil, rows[0])
		}
	}
}

func TestFitRejects(t *testing.T) {
	fits := map[string]func([][]float64, Options) error{
		"PCA": func(r [][]float64, o Options) error { _, err := FitPCA(r, PCAOptions{Options: o}); return err },
	}
	ragged := plant(1, 100, 3)
	ragged[17] = ragged[17][:2]
	constant := make([][]float64, 100)
	for i := range constant {
		constant[i] = []float64{1, 2, 3}
	}
	for name, fit := range fits {
		for _, test := range []struct {
			rows [][]float64
			o    Options
			few  bool
			want string
		}{
			{nil, Options{}, true, "no rows"},
			{plant(1, 10, 3), Options{}, true, "10 complete rows"},
			{constant, Options{}, true, "no member ever moved"},
			{ragged, Options{}, false, "row 17 has 2 members, want 3"},
			{plant(1, 100, 3), Options{Confidence: 2}, false, "Confidence is 2"},
			{plant(1, 100, 3), Options{Rate: -1}, false, "Rate is -1"},
			{plant(1, 100, 3), Options{Reach: math.NaN()}, false, "Reach is NaN"},
		} {
			err := fit(test.rows, test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrTooFew) != test.few {
				t.Errorf("%s: %v, want %q", name, err, test.want)
			}
		}
	}
}

func TestScoringDoesNotAllocate(t *testing.T) {
	dst := make([]float64, 8)
	fresh := plant(2, 64, 8)
	fresh[5][2] = math.NaN()
	fresh[9][7] += 100
	for name, m := range models(t, plant(1, 500, 8), Options{}) {
		i := 0
		if n := testing.AllocsPerRun(500, func() {
			m.ScoreTo(dst, fresh[i%64])
			m.Adapt()
			m.ExpectedTo(dst, fresh[i%64])
			i++
		}); n != 0 {
			t.Errorf("%s: %v allocations a row", name, n)
		}
	}
}

func BenchmarkScoreTo8(b *testing.B) {
	dst := make([]float64, 8)
	fresh := plant(2, 64, 8)
	for name, m := range models(b, plant(1, 1000, 8), Options{}) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.ScoreTo(dst, fresh[i&63])
				i++
			}
		})
	}
}

func BenchmarkFit1000x8(b *testing.B) {
	rows := plant(1, 1000, 8)
	for name, fit := range map[string]func() error{
		"PCA": func() error { _, err := FitPCA(rows, PCAOptions{}); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := fit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
