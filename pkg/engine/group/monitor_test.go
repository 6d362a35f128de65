// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/pkg/engine/group"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// A pump's flow drops while its temperature wanders as it always does.
func Example() {
	random := rand.New(rand.NewPCG(1, 2))
	monitor, err := group.New(2, group.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	temperature := 70.0
	before := false
	for i := range 1000 {
		flow := 32 + 0.5*random.NormFloat64()
		if i >= 600 && i < 700 {
			flow -= 3
		}
		temperature += 0.1 * random.NormFloat64()
		v := monitor.Observe([]float64{flow, temperature}, sec(i), nil)
		if v.Alarm != before {
			fmt.Printf("row %d: alarm %t\n", i, v.Alarm)
			if v.Alarm {
				level, _, _ := monitor.Expected(v.Lead)
				fmt.Printf("member %d left its level of %.0f\n", v.Lead, level)
			}
			before = v.Alarm
		}
	}
	// Output:
	// row 602: alarm true
	// member 0 left its level of 32
	// row 718: alarm false
}

// sec is the time of row i of a group that is read every second.
func sec(i int) int64 { return int64(i) * int64(time.Second) }

// secs are the times of so many rows.
func secs(n int) []int64 {
	times := make([]int64, n)
	for i := range times {
		times[i] = sec(i)
	}
	return times
}

func must(t testing.TB, members int, c group.Config) *group.Monitor {
	t.Helper()
	m, err := group.New(members, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// noise is n rows of independent members, with member j at level j and noise 1.
func noise(seed uint64, n, members int) [][]float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = make([]float64, members)
		for j := range rows[i] {
			rows[i][j] = float64(j) + r.NormFloat64()
		}
	}
	return rows
}

func shift(rows [][]float64, member, from, to int, by float64) {
	for i := from; i < to; i++ {
		rows[i][member] += by
	}
}

func TestVerdicts(t *testing.T) {
	short := group.DefaultConfig()
	short.MaxAge = 100
	for _, test := range []struct {
		name   string
		config group.Config
		spoil  func(rows [][]float64)
		alarm  [][2]int // rows in which an alarm must be on
		quiet  [][2]int // and off
		lead   int
	}{
		{
			name: "white noise raises nothing", config: group.DefaultConfig(), spoil: func([][]float64) {},
			quiet: [][2]int{{0, 3000}}, lead: -1,
		},
		{
			name: "a level shift that goes back", config: group.DefaultConfig(),
			spoil: func(rows [][]float64) { shift(rows, 1, 1000, 1300, 5) },
			alarm: [][2]int{{1010, 1300}}, quiet: [][2]int{{0, 1000}, {1380, 3000}}, lead: 1,
		},
		{
			name: "two members in one fault, and soon over", config: group.DefaultConfig(),
			spoil: func(rows [][]float64) { shift(rows, 1, 1000, 1300, 9); shift(rows, 2, 1003, 1295, -6) },
			alarm: [][2]int{{1010, 1300}}, quiet: [][2]int{{0, 1000}, {1350, 3000}}, lead: 1,
		},
		{
			name: "one bad reading is not an excursion", config: group.DefaultConfig(),
			spoil: func(rows [][]float64) { shift(rows, 1, 1000, 1001, 10) },
			quiet: [][2]int{{0, 3000}}, lead: -1,
		},
		{
			name: "a new normal is accepted at MaxAge", config: short,
			spoil: func(rows [][]float64) { shift(rows, 2, 1000, 3000, 5) },
			alarm: [][2]int{{1010, 1100}}, quiet: [][2]int{{0, 1000}, {1150, 3000}}, lead: 2,
		},
		{
			name: "a partial recovery ends a large excursion", config: group.DefaultConfig(),
			spoil: func(rows [][]float64) { shift(rows, 0, 1000, 1200, 40); shift(rows, 0, 1200, 3000, 4) },
			alarm: [][2]int{{1005, 1200}}, quiet: [][2]int{{0, 1000}, {1300, 3000}}, lead: 0,
		},
		{
			name: "so does rest at less than a third of the peak", config: group.DefaultConfig(),
			spoil: func(rows [][]float64) { shift(rows, 0, 1000, 1200, 40); shift(rows, 0, 1200, 3000, 10) },
			alarm: [][2]int{{1005, 1240}}, quiet: [][2]int{{0, 1000}, {1300, 3000}}, lead: 0,
		},
		{
			name: "a drift slower than the baseline is followed", config: group.DefaultConfig(),
			spoil: func(rows [][]float64) {
				for i := range rows {
					rows[i][0] += 0.001 * float64(i)
				}
			},
			quiet: [][2]int{{0, 3000}}, lead: -1,
		},
		{
			name: "a missing member keeps its state", config: group.DefaultConfig(),
			spoil: func(rows [][]float64) { shift(rows, 1, 500, 2000, math.NaN()) },
			quiet: [][2]int{{0, 3000}}, lead: -1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			rows := noise(7, 3000, 3)
			test.spoil(rows)
			m := must(t, 3, test.config)
			got := make([]group.Verdict, len(rows))
			for i, row := range rows {
				got[i] = m.Observe(row, sec(i), nil)
				if got[i].Alarm && got[i].Lead != test.lead {
					t.Fatalf("row %d blames member %d, want %d", i, got[i].Lead, test.lead)
				}
			}
			for _, span := range test.alarm {
				for i := span[0]; i < span[1]; i++ {
					if !got[i].Alarm {
						t.Fatalf("no alarm in row %d", i)
					}
				}
			}
			for _, span := range test.quiet {
				for i := span[0]; i < span[1]; i++ {
					if got[i].Alarm {
						t.Fatalf("alarm in row %d: %+v", i, got[i])
					}
				}
			}
		})
	}
}

func TestInvariance(t *testing.T) {
	rows := noise(3, 2000, 4)
	shift(rows, 2, 900, 1200, -6)
	a, b := must(t, 4, group.DefaultConfig()), must(t, 4, group.DefaultConfig())
	scaled := make([]float64, 4)
	for i, row := range rows {
		for j, x := range row {
			scaled[j] = 1e4 - 1000*x/float64(j+1)
		}
		va, vb := a.Observe(row, sec(i), nil), b.Observe(scaled, sec(i), nil)
		if diff := cmp.Diff(va, vb, cmpopts.EquateApprox(1e-3, 1e-3)); diff != "" {
			t.Fatalf("row %d in one unit and in another: %s", i, diff)
		}
	}
}

func TestStillMember(t *testing.T) {
	for _, unit := range []float64{1e-6, 1, 1e6} {
		m := must(t, 1, group.DefaultConfig())
		for i := range 1000 {
			x := 3 * unit
			if i >= 600 {
				x += 0.01 * unit
			}
			v := m.Observe([]float64{x}, sec(i), nil)
			if want := i >= 608; v.Alarm != want {
				t.Fatalf("unit %g, row %d: alarm %t, want %t", unit, i, v.Alarm, want)
			}
		}
	}
}

func TestLateMemberLearnsByItself(t *testing.T) {
	m := must(t, 2, group.DefaultConfig())
	rows := noise(5, 2000, 2)
	shift(rows, 1, 0, 1000, math.NaN())
	shift(rows, 1, 1500, 1600, 8)
	for i, row := range rows {
		v := m.Observe(row, sec(i), nil)
		if want := i >= 399; v.Ready != want {
			t.Fatalf("row %d: ready %t", i, v.Ready)
		}
		if i == 1199 && m.Learned(1) != 0.5 {
			t.Errorf("learned %v of member 1, want 0.5", m.Learned(1))
		}
		if i == 1550 && (!m.Alarmed(1) || m.Alarmed(0) || v.Lead != 1 || v.Level < 1) {
			t.Errorf("row %d: %+v", i, v)
		}
	}
	level, lower, upper := m.Expected(0)
	if math.Abs(level) > 0.5 || lower >= level || upper <= level {
		t.Errorf("member 0 is expected at %v (%v to %v), want 0", level, lower, upper)
	}
}

func TestFitIsLearningFromTheStream(t *testing.T) {
	rows := noise(9, 1000, 3)
	shift(rows, 0, 700, 800, 6)
	stream, fitted := must(t, 3, group.DefaultConfig()), must(t, 3, group.DefaultConfig())
	if err := fitted.Fit(rows[:400], secs(400)); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		a := stream.Observe(row, sec(i), nil)
		if i < 400 {
			continue
		}
		if b := fitted.Observe(row, sec(i), nil); a != b {
			t.Fatalf("row %d: %+v from the stream, %+v from Fit", i, a, b)
		}
	}
}

func TestFitRejects(t *testing.T) {
	m := must(t, 2, group.DefaultConfig())
	if err := m.Fit(noise(1, 19, 2), secs(19)); !errors.Is(err, group.ErrTooFew) {
		t.Errorf("19 rows: %v, want ErrTooFew", err)
	}
	if err := m.Fit([][]float64{{1, 2}, {1}}, secs(2)); err == nil || !strings.Contains(err.Error(), "row 1 has 1 members, want 2") {
		t.Errorf("short row: %v", err)
	}
}

func TestConfigErrorsAreJoined(t *testing.T) {
	_, err := group.New(3, group.Config{TrainRows: 5, Start: 2, Stop: 3, Smoothing: math.NaN(), Recover: -1})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"TrainRows is 5", "Stop is 3", "Smoothing is NaN", "Recover is -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
	for _, n := range []int{0, -1, group.MaxMembers + 1} {
		if _, err := group.New(n, group.DefaultConfig()); err == nil {
			t.Errorf("%d members accepted", n)
		}
	}
}

func TestStateContinues(t *testing.T) {
	rows := noise(11, 1500, 3)
	shift(rows, 1, 600, 900, 6)
	for _, at := range []int{0, 100, 400, 610, 905, 1200} {
		whole := must(t, 3, group.DefaultConfig())
		for i, row := range rows[:at] {
			whole.Observe(row, sec(i), nil)
		}
		var w state.Writer
		whole.EncodeState(&w)
		restored := must(t, 3, group.DefaultConfig())
		if err := state.Restore(restored, w.Bytes); err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
		for i, row := range rows[at:] {
			if diff := cmp.Diff(whole.Observe(row, sec(at+i), nil), restored.Observe(row, sec(at+i), nil)); diff != "" {
				t.Fatalf("restored at %d, row %d: %s", at, at+i, diff)
			}
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	for _, n := range []int{10, 500} {
		m, err := group.New(2, group.DefaultConfig())
		if err != nil {
			f.Fatal(err)
		}
		for i, row := range noise(1, n, 2) {
			m.Observe(row, sec(i), nil)
		}
		var w state.Writer
		m.EncodeState(&w)
		f.Add(w.Bytes)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := must(t, 2, group.DefaultConfig())
		r := state.NewReader(data)
		m.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for i, row := range noise(2, 20, 2) {
			if v := m.Observe(row, sec(i), nil); math.IsNaN(v.Level) {
				t.Fatalf("%+v", v)
			}
		}
	})
}

func TestExtremeReadings(t *testing.T) {
	extremes := []float64{math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.NaN(), 0, math.SmallestNonzeroFloat64}
	r := rand.New(rand.NewPCG(4, 4))
	c := group.DefaultConfig()
	c.TrainRows = 20
	m := must(t, 2, c)
	for i := range 2000 {
		row := []float64{extremes[r.IntN(len(extremes))], extremes[r.IntN(len(extremes))]}
		if v := m.Observe(row, sec(i), nil); math.IsNaN(v.Level) || v.Lead >= 2 {
			t.Fatalf("row %d %v: %+v", i, row, v)
		}
	}
	if v := m.Observe([]float64{1}, sec(2000), nil); v.Ready || v.Alarm || v.Lead != -1 {
		t.Errorf("short row: %+v", v)
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	m := must(t, 8, group.DefaultConfig())
	rows := noise(2, 1000, 8)
	for i, row := range rows {
		m.Observe(row, sec(i), nil)
	}
	i := len(rows)
	if n := testing.AllocsPerRun(1000, func() { m.Observe(rows[i%len(rows)], sec(i), nil); i++ }); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}

func BenchmarkObserve8(b *testing.B) {
	m := must(b, 8, group.DefaultConfig())
	rows := noise(2, 1024, 8)
	for i, row := range rows {
		m.Observe(row, sec(i), nil)
	}
	b.ReportAllocs()
	i := len(rows)
	for b.Loop() {
		m.Observe(rows[i&1023], sec(i), nil)
		i++
	}
}

// TestSlowWandererIsNoAlarm: members that wander slowly, of which the first rows say little, make no alarms by themselves.
func TestSlowWandererIsNoAlarm(t *testing.T) {
	const coefficient, members, n = 0.999, 4, 20_000
	flagged, seeds := 0, uint64(2)
	if os.Getenv("EDGE_ANOMALY_HEAVY") != "" {
		seeds = 10
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 7))
		m := must(t, members, group.DefaultConfig())
		level, row := make([]float64, members), make([]float64, members)
		for j := range level {
			level[j] = r.NormFloat64()
		}
		for i := range n {
			for j := range level {
				level[j] = coefficient*level[j] + math.Sqrt(1-coefficient*coefficient)*r.NormFloat64()
				row[j] = 20 + level[j]
			}
			if m.Observe(row, sec(i), nil).Alarm {
				flagged++
			}
		}
	}
	if share := float64(flagged) / float64(seeds*n); share > 0.005 {
		t.Errorf("%.2f %% of the rows are in alarm, want at most 0.5 %%", 100*share)
	}
}

// TestBrokenRelation: a member that leaves what the others say is found and blamed, although its own values are such as
// it always had.
func TestBrokenRelation(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 1))
	m := must(t, 4, group.DefaultConfig())
	common, found, blamed := 0.0, 0, 0
	for i := range 12_000 {
		common = 0.98*common + 0.2*r.NormFloat64()
		row := []float64{common, 2 * common, -common, r.NormFloat64()}
		for j := range row {
			row[j] += 0.05 * r.NormFloat64()
		}
		if broken := i >= 11_000 && i < 11_200; broken {
			row[1] = -row[1]
		}
		v := m.Observe(row, sec(i), nil)
		if i > 11_020 && i < 11_200 && v.Alarm {
			found++
			if sign, _ := m.Evidence(1); v.Lead == 1 && sign == group.Relation {
				blamed++
			}
		}
	}
	if found < 30 || blamed < found*3/4 {
		t.Errorf("%d of 180 rows are in alarm, %d of them blame the relation of member 1; want 30, and three in four", found, blamed)
	}
}

// TestOftenIsUsual: excursions that come every 100 rows are no alarms in the end.
func TestOftenIsUsual(t *testing.T) {
	m := must(t, 3, group.DefaultConfig())
	rows := noise(31, 12_000, 3)
	for at := 500; at < len(rows); at += 100 {
		shift(rows, 1, at, at+10, 8)
	}
	early, late := 0, 0
	for i, row := range rows {
		switch v := m.Observe(row, sec(i), nil); {
		case v.Alarm && i < 3000:
			early++
		case v.Alarm && i >= 9000:
			late++
		}
	}
	if early < 120 || late > 30 {
		t.Errorf("%d rows of the first 3,000 in alarm and %d of the last; want 120 at least, and at most 30", early, late)
	}
}

// TestAllow: what was said to be normal begins no alarm any more, and what goes further or elsewhere does.
func TestAllow(t *testing.T) {
	m := must(t, 3, group.DefaultConfig())
	rows := noise(41, 8000, 3)
	shift(rows, 0, 1000, 1100, 5)
	shift(rows, 0, 3000, 3100, 5)
	shift(rows, 0, 5000, 5100, 30)
	shift(rows, 1, 7000, 7100, 5)
	alarms := map[int]int{}
	for i, row := range rows {
		if m.Observe(row, sec(i), nil).Alarm {
			alarms[i/1000]++
		}
		if i == 1300 {
			m.Allow(rows[990:1110], secs(1110)[990:])
		}
	}
	if alarms[1] < 90 || alarms[3] != 0 || alarms[5] < 90 || alarms[7] < 90 {
		t.Errorf("rows in alarm by thousand: %v; want about 100 in 1, 5 and 7, none in 3", alarms)
	}
}
