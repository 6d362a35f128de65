// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin_test

import (
	"encoding"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// floor is a group of three temperatures that know nothing of each other.
func floor(seed uint64) (members []driver.Member, rows func(i int) driver.Row) {
	keys := []driver.Key{{Device: "hall", Property: "east"}, {Device: "hall", Property: "west"}, {Device: "hall", Property: "roof"}}
	for _, k := range keys {
		members = append(members, driver.Member{Key: k, Unit: "°C"})
	}
	r := rand.New(rand.NewPCG(seed, 1))
	row := make(driver.Row, len(keys))
	return members, func(i int) driver.Row {
		for j, k := range keys {
			row[j] = driver.Sample{Key: k, At: time.Unix(1_700_000_000+60*int64(i), 0), Value: 20 + r.NormFloat64()}
		}
		return row
	}
}

func openAutogroup(t *testing.T, s driver.Settings) driver.Detector {
	t.Helper()
	d, err := driver.Default.Open("autogroup", s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func judge(d driver.Detector, row driver.Row, out *driver.Result) {
	out.Reset(row)
	out.Threshold = driver.DefaultThreshold
	d.Detect(row, out)
}

// TestAutogroupIncident: a member that is away for hours is one alarm, which lasts, says who and what, and is over soon
// after the member is back; where it stays away it is accepted as was set, or never.
func TestAutogroupIncident(t *testing.T) {
	const from, to = 1000, 1200
	for _, test := range []struct {
		name     string
		accept   time.Duration
		to       int
		accepted int // row in which it is, 0 for none
	}{
		{"back", 0, to, 0},
		{"back, never accepted", driver.NeverAccept, to, 0},
		{"stays, accepted after two hours", 2 * time.Hour, 4000, from + 120},
		{"stays, never accepted", driver.NeverAccept, 4000, 0},
		{"stays, accepted by rows", 0, 4000, from + 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			members, rows := floor(1)
			d := openAutogroup(t, driver.Settings{Members: members, Accept: test.accept})
			var out driver.Result
			begun, ended := 0, 0
			for i := range 4000 {
				row := rows(i)
				if i >= from && i < test.to {
					row[1].Value += 12
				}
				was := out.Ongoing
				judge(d, row, &out)
				switch {
				case out.Severity == driver.Unknown:
					if i >= 400 || !strings.Contains(out.Message, "learning") {
						t.Fatalf("row %d is unknown: %q", i, out.Message)
					}
				case out.Ongoing && !was:
					begun++
					if i < from || i > from+10 || out.Onset < out.Threshold || !out.Severity.Anomalous() ||
						out.Kind != driver.KindLevel || out.Causes[0].Key != members[1].Key {
						t.Fatalf("begins in row %d: %+v", i, out)
					}
				case was && !out.Ongoing:
					ended = i
					if out.Accepted != (test.accepted > 0) || out.Severity.Anomalous() {
						t.Fatalf("ends in row %d: %+v", i, out)
					}
				case out.Ongoing && out.Onset != 0:
					t.Fatalf("row %d: onset %v within an alarm", i, out.Onset)
				}
			}
			want := [2]int{0, 0} // still open
			switch {
			case test.accepted > 0:
				want = [2]int{test.accepted, test.accepted + 40}
			case test.to == to:
				want = [2]int{to, to + 60}
			}
			if begun != 1 || ended < want[0] || ended > want[1] {
				t.Errorf("begun %d times, ended in row %d, want once and %v", begun, ended, want)
			}
		})
	}
}

func TestAutogroupLearns(t *testing.T) {
	members, rows := floor(2)
	d := openAutogroup(t, driver.Settings{Members: members})
	var out driver.Result
	var kept []driver.Row
	alarms := map[int]int{}
	for i := range 9000 {
		row := rows(i)
		switch k := i / 1000; {
		case i%1000 >= 100:
		case k == 2 || k == 4 || k == 6:
			row[0].Value += 6
		case k == 8:
			row[0].Value += 40
		}
		judge(d, row, &out)
		if out.Ongoing {
			alarms[i/1000]++
		}
		if i >= 1990 && i < 2110 {
			kept = append(kept, slices.Clone(row))
		}
		if i == 2500 {
			span := driver.Span{From: kept[0][0].At, To: kept[len(kept)-1][0].At}
			if err := d.(driver.Learner).Accept(span); err == nil {
				t.Error("accepted a span that is not remembered")
			}
			span.Rows = slices.Values(kept)
			if err := d.(driver.Learner).Accept(span); err != nil {
				t.Fatal(err)
			}
			restarted := openAutogroup(t, driver.Settings{Members: members})
			state, err := d.(encoding.BinaryMarshaler).MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if err := restarted.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
				t.Fatal(err)
			}
			d = restarted
		}
	}
	if alarms[2] < 80 || alarms[4] > 0 || alarms[6] > 0 || alarms[8] < 80 {
		t.Errorf("rows in alarm by thousand: %v; want about 100 in 2 and 8, none in 4 and 6", alarms)
	}
}

func TestAutogroupExplains(t *testing.T) {
	members, rows := floor(3)
	d := openAutogroup(t, driver.Settings{Members: members})
	var out driver.Result
	for i := range 1030 {
		row := rows(i)
		if i >= 1000 {
			row[2].Value += 15
		}
		judge(d, row, &out)
	}
	english := d.(driver.Explainer).Explain(&out, driver.English)
	chinese := d.(driver.Explainer).Explain(&out, driver.Chinese)
	for _, want := range []string{"/hall/roof left its level", "°C", "for "} {
		if !strings.Contains(english, want) {
			t.Errorf("%q does not say %q", english, want)
		}
	}
	for _, want := range []string{"/hall/roof 偏离了其水平", "°C", "已持续"} {
		if !strings.Contains(chinese, want) {
			t.Errorf("%q does not say %q", chinese, want)
		}
	}
}

// TestAutogroupConstantMember: a member that rested in training and moves is told, and blamed; one that rests on harms
// nothing.
func TestAutogroupConstantMember(t *testing.T) {
	members, rows := floor(4)
	d := openAutogroup(t, driver.Settings{Members: members})
	var out driver.Result
	moved, flagged := 0, 0
	for i := range 4000 {
		row := rows(i)
		row[1].Value = 0
		if i >= 3500 && i < 3700 {
			row[1].Value = 1
		}
		judge(d, row, &out)
		switch {
		case !out.Ongoing:
		case i >= 3500 && i < 3700 && out.Causes[0].Key == members[1].Key:
			moved++
		case i < 3500:
			flagged++
		}
	}
	if moved < 190 || flagged > 20 {
		t.Errorf("%d of 200 rows told, %d of 3,500 false; want 190 and at most 20", moved, flagged)
	}
}

// TestAutogroupSlowFaults: what no chart of the level sees, a member that stands still or drifts slowly among others that
// move, is told and blamed by name.
func TestAutogroupSlowFaults(t *testing.T) {
	const from = 3000
	for kind, fault := range map[driver.Kind]func(i int, x float64) float64{
		driver.KindFreeze: func(int, float64) float64 { return 20.5 },
		driver.KindDrift:  func(i int, x float64) float64 { return x + 0.008*float64(i-from) },
	} {
		t.Run(string(kind), func(t *testing.T) {
			for seed := range uint64(5) {
				members, rows := floor(10 + seed)
				d := openAutogroup(t, driver.Settings{Members: members})
				var out driver.Result
				told, wrong := 0, 0
				for i := range from + 1000 {
					row := rows(i)
					if i >= from {
						row[2].Value = fault(i, row[2].Value)
					}
					judge(d, row, &out)
					switch {
					case !out.Ongoing:
					case i < from:
						wrong++
					case out.Causes[0].Key == members[2].Key:
						told++
					}
				}
				if told < 200 || wrong > 30 {
					t.Errorf("seed %d: %d of 1,000 rows told, %d of %d false", seed, told, wrong, from)
				}
			}
		})
	}
}

// TestAutogroupLearnsSlowFaults: a slow drift of a member that somebody has said was normal is told no more; one of another
// member, and one the other way, are.
func TestAutogroupLearnsSlowFaults(t *testing.T) {
	const every, lasts = 3000, 900
	members, rows := floor(5)
	d := openAutogroup(t, driver.Settings{Members: members})
	var out driver.Result
	var kept []driver.Row
	told := map[int]int{}
	for i := range 6 * every {
		row := rows(i)
		k, at := i/every, i%every
		if at < lasts {
			switch by := 0.01 * float64(at); k {
			case 1, 2, 3:
				row[2].Value += by
			case 4:
				row[0].Value += by
			case 5:
				row[2].Value -= by
			}
		}
		judge(d, row, &out)
		if out.Ongoing {
			told[k]++
		}
		if k == 1 && at < lasts {
			kept = append(kept, slices.Clone(row))
		}
		if i == every+lasts+500 {
			span := driver.Span{From: kept[0][0].At, To: kept[len(kept)-1][0].At, Rows: slices.Values(kept)}
			if err := d.(driver.Learner).Accept(span); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(told)
	if told[1] < 200 || told[2] > told[1]/10 || told[3] > told[1]/10 || told[4] < 200 || told[5] < 200 {
		t.Errorf("rows in alarm by round: %v; want many in 1, 4 and 5, few in 2 and 3", told)
	}
}
