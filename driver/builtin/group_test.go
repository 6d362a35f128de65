// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// The first trainRows rows are unknown, later ones are judged, whatever the number.
func TestTrainRows(t *testing.T) {
	for _, name := range groupDrivers() {
		for _, n := range []int{100, 400} {
			g := openGroup(t, name, driver.Settings{Members: plantMembers(3)}, map[string]any{"trainRows": n})
			rows := plant(3, 3)
			for i := range n + 50 {
				if r := g.feed(rows()...); (r.Severity == driver.Unknown) != (i < n) {
					t.Fatalf("%s with trainRows %d: row %d is %v", name, n, i, r.Severity)
				}
			}
		}
	}
}

// A member that leaves its relation to the others is named, though its own readings are plausible.
func TestBrokenRelationIsNamed(t *testing.T) {
	for _, name := range []string{pcaName} {
		t.Run(name, func(t *testing.T) {
			members := plantMembers(8)
			g := openGroup(t, name, driver.Settings{Members: members}, nil)
			rows := plant(4, 8)
			alarms := 0
			for i := range 5000 {
				if r := g.feed(rows()...); i >= 500 && r.Severity.Anomalous() {
					alarms++
				}
			}
			t.Logf("%d alarms in 4,500 normal rows", alarms)
			if alarms > 9 {
				t.Errorf("%d alarms in 4,500 normal rows, want at most 9", alarms)
			}
			found, named := 0, 0
			for j := range members {
				for range 20 {
					row := rows()
					row[j] += 3 // a standard deviation of a member is 1.1 to 1.5, and its noise 0.2
					r := g.feed(row...)
					if r.Severity.Anomalous() {
						found++
						if r.Causes[0].Key == members[j].Key && r.Kind == driver.KindCorrelation {
							named++
						}
					}
				}
			}
			t.Logf("%d of 160 found, %d named", found, named)
			if found < 150 || named < 140 {
				t.Errorf("%d of 160 found and %d named, want 150 and 140", found, named)
			}
		})
	}
}

// Anomalies are not learned: a fault is the same finding after 3,000 rows of it.
func TestFaultIsNotLearned(t *testing.T) {
	for _, name := range []string{pcaName, iforestName} {
		members := plantMembers(4)
		g := openGroup(t, name, driver.Settings{Members: members}, nil)
		rows := plant(5, 4)
		for range 1000 {
			g.feed(rows()...)
		}
		missed := 0
		for range 3000 {
			row := rows()
			row[1] += 40
			if r := g.feed(row...); !r.Severity.Anomalous() {
				missed++
			}
		}
		if missed > 0 {
			t.Errorf("%s: %d of 3,000 rows with the fault are normal", name, missed)
		}
	}
}

func TestMembersThatAreMissing(t *testing.T) {
	for _, name := range groupDrivers() {
		g := openGroup(t, name, driver.Settings{Members: plantMembers(4)}, map[string]any{"trainRows": 200})
		rows := plant(6, 4)
		for range 250 {
			g.feed(rows()...)
		}
		set := func(flags ...driver.Flags) *driver.Result {
			for i, x := range rows() {
				g.row[i].Value, g.row[i].Flags = x, flags[i]
			}
			return g.judge()
		}
		held, stale := driver.Held, driver.Stale
		for _, c := range []struct {
			flags   []driver.Flags
			unknown bool
		}{
			{[]driver.Flags{0, held, held, 0}, false},
			{[]driver.Flags{0, stale, 0, 0}, false},
			{[]driver.Flags{held, held, held, driver.Duplicate}, true}, // nothing new
			{[]driver.Flags{stale, stale, stale, stale}, true},
		} {
			if r := set(c.flags...); (r.Severity == driver.Unknown) != c.unknown {
				t.Errorf("%s: rows with flags %v are %v", name, c.flags, r.Severity)
			}
		}
	}
}

// Members that never moved in training are told when they move, and keep a detector from nothing: where they go on
// moving they are learned.
func TestConstantMembersAreWatched(t *testing.T) {
	for _, name := range []string{pcaName, iforestName} {
		for _, constant := range []int{1, 3} { // of three
			members := plantMembers(3)
			g := openGroup(t, name, driver.Settings{Members: members}, map[string]any{"trainRows": 100})
			rows := plant(7, 3)
			feed := func(by float64) driver.Result {
				row := rows()
				for j := range constant {
					row[j] = 5 + by
				}
				return *g.feed(row...)
			}
			for range 100 {
				feed(0)
			}
			for range 50 { // the two that move may raise a false alarm, learned from so few rows
				if r := feed(0); r.Severity == driver.Unknown || constant == 3 && r.Severity != driver.Normal {
					t.Fatalf("%s, %d constant: a row at rest is %v, %q", name, constant, r.Severity, r.Message)
				}
			}
			for range 50 {
				if r := feed(1); !r.Severity.Anomalous() || r.Causes[0].Key != members[0].Key {
					t.Fatalf("%s, %d constant: a row with what never moved is %v of %v", name, constant, r.Severity, r.Causes)
				}
				if why := g.d.(driver.Explainer).Explain(&g.out, driver.English); !strings.Contains(why, "p0 is 6, and was 5 in all of training") {
					t.Fatalf("%s: %q", name, why)
				}
			}
			for range 300 {
				g.feed(rows()...)
			}
			if r := g.feed(rows()...); r.Severity == driver.Unknown {
				t.Errorf("%s, %d constant: unknown when all move: %s", name, constant, r.Message)
			}
		}
	}
}

func TestCategoriesWantBayesnet(t *testing.T) {
	members := plantMembers(2)
	members[1].Categories = []string{"open", "closed"}
	for _, name := range groupDrivers() {
		_, err := driver.Open(name, driver.Settings{Members: members}, nil)
		if name == bayesnetName && err != nil || name != bayesnetName && (err == nil || !strings.Contains(err.Error(), `detector "bayesnet" takes both`)) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestGroupConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		driver string
		config map[string]any
		want   string
	}{
		{autogroupName, map[string]any{"start": 2}, "detector.stop: got 2.5, want less than start, 2"},
		{pcaName, map[string]any{"trainRow": 100}, `did you mean "trainRows"?`},
		{pcaName, map[string]any{"trainRows": 10}, "detector.trainRows: got 10, want at least 40"},
		{bayesnetName, map[string]any{"edges": "a>b"}, "want none unless structure is given"},
		{bayesnetName, map[string]any{"structure": "given", "edges": "a-b"}, "want cause>effect"},
		{bayesnetName, map[string]any{"structure": "best"}, "hillclimb"},
	} {
		_, err := driver.Open(c.driver, driver.Settings{Members: plantMembers(2)}, c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: error is %v, want one that says %s", c.driver, c.config, err, c.want)
		}
	}
}

// A structure that is given names members; a wrong name is said when it is used.
func TestGivenStructure(t *testing.T) {
	run := func(edges string) (*bayesnetDetector, string) {
		g := openRoom(t, nil, map[string]any{"structure": "given", "edges": edges, "trainRows": 100})
		for row := range roomRows(1, 101, 0) {
			copy(g.row, row)
			g.judge()
		}
		return g.d.(*bayesnetDetector), g.out.Message
	}
	d, _ := run("light-1>brightness, light-2/power > value")
	if d.known == nil || !slices.Equal(d.known.network.Nodes[2].Parents, []int{0, 1}) {
		t.Errorf("learned %+v, want the arcs that were given", d.known)
	}
	if _, message := run("light-3>brightness"); !strings.Contains(message, `"light-3" stands for 0 members`) {
		t.Errorf("message is %q, want one about light-3", message)
	}
}

// Texts are told apart by what they say, whatever numbers the stream gives them.
func TestCategoriesGoByText(t *testing.T) {
	members := plantMembers(2)
	g := openGroup(t, bayesnetName, driver.Settings{Members: members}, map[string]any{"persist": false, "trainRows": 200})
	valve := []string{"open", "closed", "other"}
	for i := range 250 {
		v := valve[i%3]
		g.feedTexts(v, "flow-"+v)
	}
	if g.out.Severity != driver.Normal {
		t.Fatalf("what was learned is %v", g.out.Severity)
	}
	for _, c := range []struct {
		texts []string
		bad   bool
	}{
		{[]string{"other", "flow-other"}, false}, {[]string{"open", "flow-closed"}, true},
		{[]string{"never met", "flow-open"}, true}, {[]string{"", "flow-open"}, false},
	} {
		if r := g.feedTexts(c.texts...); r.Severity.Anomalous() != c.bad {
			t.Errorf("%q is %v", c.texts, r.Severity)
		}
	}
}

func TestTrainEnds(t *testing.T) {
	members := plantMembers(2)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range groupDrivers() {
		d, err := driver.Open(name, driver.Settings{Members: members}, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows := plant(8, 2)
		if err := d.(driver.Trainer).Train(cancelled, rowsOf(members, 5000, rows)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error of cancelled training is %v", name, err)
		}
		if err := d.(driver.Trainer).Train(t.Context(), rowsOf(members, 0, rows)); !errors.Is(err, errNoRows) {
			t.Errorf("%s: error of training without rows is %v", name, err)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, name := range groupDrivers() {
		members := plantMembers(3)
		g := openGroup(t, name, driver.Settings{Members: members}, map[string]any{"trainRows": 200})
		rows := plant(9, 3)
		say := func() string { return g.d.(driver.Explainer).Explain(&g.out, driver.English) }
		for range 10 {
			g.feed(rows()...)
		}
		if got := say(); got != "learning: 10 of 200 rows" {
			t.Errorf("%s: %q while learning", name, got)
		}
		for range 400 {
			g.feed(rows()...)
		}
		if got := say(); !strings.Contains(got, "member") {
			t.Errorf("%s: %q for a normal row", name, got)
		}
		for range 30 {
			row := rows()
			row[1] += 40
			g.feed(row...)
		}
		if name != bayesnetName && !strings.Contains(say(), "default/plant/p1") {
			t.Errorf("%s: %q for a row in which p1 is wrong", name, say())
		}
	}
}

// A threshold is an expected rate: a higher one makes fewer alarms, in all drivers.
func TestThresholdMovesAlarms(t *testing.T) {
	for _, name := range []string{autogroupName, pcaName, iforestName} {
		last := math.MaxInt
		for _, threshold := range []float64{0.7, 0.9, 0.99} {
			g := openGroup(t, name, driver.Settings{Members: plantMembers(4), Threshold: threshold}, nil)
			rows := plant(10, 4)
			alarms := 0
			for range 3000 {
				for i, x := range rows() {
					g.row[i].Value = x
				}
				g.out.Reset(g.row)
				g.out.Threshold = threshold
				g.d.Detect(g.row, &g.out)
				if g.out.Severity.Anomalous() {
					alarms++
				}
			}
			if alarms > last || threshold == 0.7 && alarms == 0 {
				t.Errorf("%s: %d alarms at threshold %v, %d at the one before", name, alarms, threshold, last)
			}
			last = alarms
		}
	}
}

func TestLevelScore(t *testing.T) {
	for _, threshold := range []float64{0.5, 0.95, 0.999} {
		if got := levelScore(thresholdLevel(threshold)); math.Abs(got-threshold) > 1e-12 {
			t.Errorf("the level of threshold %v scores %v", threshold, got)
		}
	}
	if levelScore(1) != driver.DefaultThreshold || levelScore(0) != 0 || levelScore(math.Inf(1)) != 1 {
		t.Errorf("levels 1, 0 and infinite score %v, %v and %v", levelScore(1), levelScore(0), levelScore(math.Inf(1)))
	}
}

// TestGroupGolden compares scores with those in testdata/golden, so that a change of scores is seen in review.
func TestGroupGolden(t *testing.T) {
	const trainRows, n = 200, 320
	table := [][]string{append([]string{"p0", "p1", "p2", "p3"}, groupDrivers()...)}
	feeders := make([]*groupFeeder, len(groupDrivers()))
	for i, name := range groupDrivers() {
		feeders[i] = openGroup(t, name, driver.Settings{Members: plantMembers(4), Seed: 1}, map[string]any{"trainRows": trainRows})
	}
	rows := plant(12, 4)
	format := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	for i := range n {
		row := rows()
		if i == 220 || i >= 260 {
			row[2] += 4
		}
		var line []string
		for _, x := range row {
			line = append(line, format(x))
		}
		for _, g := range feeders {
			line = append(line, format(g.feed(row...).Score))
		}
		table = append(table, line)
	}
	path := filepath.Join("testdata", "golden", "plant.csv")
	if *update {
		writeGolden(t, path, table)
		return
	}
	compareGolden(t, path, table)
}

// FuzzGroupRestore hands payloads in sound frames to every driver for groups: they are refused, or the detector goes on
// judging within the contract.
func FuzzGroupRestore(f *testing.F) {
	const members = 2
	for _, name := range groupDrivers() {
		for _, n := range []int{10, 60} {
			g := openGroup(f, name, driver.Settings{Members: plantMembers(members)}, map[string]any{"trainRows": 50})
			rows := plant(13, members)
			for range n {
				g.feed(rows()...)
			}
			data, err := g.d.(encoding.BinaryMarshaler).MarshalBinary()
			if err != nil {
				f.Fatal(err)
			}
			payload, err := model.Unseal("detector/"+name, snapshotVersion, data)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(payload)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, name := range groupDrivers() {
			g := openGroup(t, name, driver.Settings{Members: plantMembers(members)}, map[string]any{"trainRows": 50})
			data, err := model.Seal("detector/"+name, snapshotVersion, payload)
			if err != nil {
				t.Fatal(err)
			}
			if g.d.(encoding.BinaryUnmarshaler).UnmarshalBinary(data) != nil {
				continue
			}
			for _, x := range []float64{20, 20, 21, 1e308, -1e308, 0, math.SmallestNonzeroFloat64, math.NaN(), 20} {
				if r := g.feed(x, -x); r.Score < 0 || r.Score > 1 || !(r.Confidence >= 0 && r.Confidence <= 1) {
					t.Errorf("%s: %v scores %v with confidence %v", name, x, r.Score, r.Confidence)
				}
			}
		}
	})
}

// BenchmarkGroup measures one row through each driver for groups.
func BenchmarkGroup(b *testing.B) {
	for _, name := range groupDrivers() {
		for _, members := range []int{3, 8, 37} {
			b.Run(fmt.Sprintf("driver=%s/members=%d", name, members), func(b *testing.B) {
				g := openGroup(b, name, driver.Settings{Members: plantMembers(members)}, nil)
				next := plant(14, members)
				var rows []driver.Row
				for range 1 << 10 {
					row := slices.Clone(g.row)
					for i, x := range next() {
						row[i].Value = x
					}
					rows = append(rows, row)
				}
				out := driver.Result{Threshold: driver.DefaultThreshold}
				for _, row := range rows {
					g.d.Detect(row, &out)
				}
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					out.Reset(rows[i&(1<<10-1)])
					out.Threshold = driver.DefaultThreshold
					g.d.Detect(rows[i&(1<<10-1)], &out)
					i++
				}
			})
		}
	}
}

// BenchmarkRoom measures a row of the room through bayesnet.
func BenchmarkRoom(b *testing.B) {
	g := openRoom(b, roomModel(b, 0), nil)
	var rows []driver.Row
	for row := range roomRows(2, 1<<10, 0) {
		rows = append(rows, slices.Clone(row))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		g.out.Reset(rows[i&(1<<10-1)])
		g.out.Threshold = driver.DefaultThreshold
		g.d.Detect(rows[i&(1<<10-1)], &g.out)
		i++
	}
}
