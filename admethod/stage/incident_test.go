// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

var (
	key   = driver.Key{Namespace: "plant", Device: "boiler", Property: "temperature"}
	other = driver.Key{Namespace: "plant", Device: "boiler", Property: "pressure"}
	// A Friday, 11:00.
	epoch = time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
)

func policy(t *testing.T, c stage.PolicyConfig) *stage.Policy {
	t.Helper()
	p, err := stage.NewPolicy(&c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verdict is one at the i-th second. Of a detector that judges each reading by itself: n normal, A warning, C critical,
// ? unknown, F failed for good. Of one that follows incidents: f normal, B one begins, L it lasts, a what lasted is accepted.
// Of the quality stage: q readings are late, g they are good again.
func verdict(letter byte, i int) (r driver.Result, quality bool) {
	at := epoch.Add(time.Duration(i) * time.Second)
	r.Reset(driver.Row{{Key: key, At: at, Value: 20}})
	r.Threshold, r.Expected = 0.95, 20
	score, kind := 0.1, driver.KindNone
	switch letter {
	case 'A', 'B', 'L':
		score, kind, r.Value, r.Message = 0.96, driver.KindSpike, 25, "far from 20"
	case 'C':
		score, kind, r.Value = 0.995, driver.KindSpike, 30
		r.Causes = []driver.Cause{{Key: other, Weight: 1}}
	case 'q':
		score, kind = 0.95, driver.KindLate
	case '?':
		score = math.NaN()
	case 'F':
		score, r.Incident.Phase = math.NaN(), driver.Abandoned
	}
	r.Judge(score, kind)
	switch letter {
	case 'f':
		r.Onset = 0.1
	case 'B':
		r.Onset, r.Ongoing = 0.96, true
	case 'L':
		r.Onset, r.Ongoing = 0, true
	case 'a':
		r.Onset, r.Accepted = 0.1, true
	}
	return r, letter == 'q' || letter == 'g'
}

// marks are what a verdict says of an incident.
var marks = map[driver.Phase]byte{
	driver.NoIncident: '.', driver.Began: '(', driver.Lasts: '-', driver.Returned: ')', driver.NewNormal: ']', driver.Abandoned: 'x',
}

func TestIncident(t *testing.T) {
	tests := []struct {
		name           string
		policy         stage.PolicyConfig
		verdicts, told string
	}{
		{"it begins, and ends after three calm readings", stage.PolicyConfig{Clear: 3}, "nnAAnnnnn", "..(---).."},
		{"brief excursions are one", stage.PolicyConfig{Clear: 3}, "nAnnAnnAnnnn", ".(--------)."},
		{"without patience they are many", stage.PolicyConfig{Clear: 1}, "nAnnAn", ".().()"},
		{"a detector that follows it ends it at once", stage.PolicyConfig{Clear: 3}, "ffBLLLff", "..(---)."},
		{"what lasted is accepted", stage.PolicyConfig{Clear: 3}, "fBLLLaf", ".(---]."},
		{"a fault of the readings alone", stage.PolicyConfig{Clear: 3}, "nqnqnngn", ".(----)."},
		{"one after the other without a gap", stage.PolicyConfig{Clear: 3}, "nAqnnnnngn", ".(------)."},
		{"not knowing ends nothing", stage.PolicyConfig{Clear: 3}, "nA????nnn", ".(------)"},
		{"the detector is gone for good", stage.PolicyConfig{Clear: 3}, "nAAF", ".(-x"},
		{"never anything but unknown", stage.PolicyConfig{Clear: 3}, "??F?", "...."},
		{"down only: what is over is none", stage.PolicyConfig{Clear: 3, Direction: "down"}, "nAAAn", "....."},
		{"muted all day", stage.PolicyConfig{Clear: 3, Mute: []string{"Fri"}}, "nAAAAn", "......"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var in stage.Incident
			p := policy(t, tt.policy)
			var told []byte
			for i := range len(tt.verdicts) {
				r, quality := verdict(tt.verdicts[i], i)
				in.Judge(&r, quality, p)
				told = append(told, marks[r.Incident.Phase])
				if open := r.Incident.Phase.Open(); open != (r.Incident.ID != 0 && r.Incident.End.IsZero()) ||
					open && !r.Severity.Anomalous() && tt.verdicts[i] != '?' || !open && r.Severity.Anomalous() {
					t.Errorf("verdict %d is %v in %+v", i, r.Severity, r.Incident)
				}
			}
			if string(told) != tt.told {
				t.Errorf("%s was told as %s, want %s", tt.verdicts, told, tt.told)
			}
		})
	}
}

// What is said of an incident: its severity holds, its score and cause are the worst, a spike that stays is a level, and
// it ended when the stream was back, not when that was certain.
func TestIncidentTellsTheWorst(t *testing.T) {
	var in stage.Incident
	p := policy(t, stage.DefaultPolicy())
	var last driver.Result
	ids := make(map[uint64]int)
	for i, letter := range []byte("nAACAAAnnn") {
		r, _ := verdict(letter, i)
		in.Judge(&r, false, p)
		if r.Incident.Phase.Open() {
			ids[r.Incident.ID]++
		}
		switch i {
		case 1:
			if r.Onset != r.Score || r.Incident.Kind != driver.KindSpike {
				t.Errorf("first verdict: onset %v of score %v, kind %q", r.Onset, r.Score, r.Incident.Kind)
			}
		case 5:
			if r.Onset != 0 || r.Severity != driver.Critical || r.Score != 0.96 {
				t.Errorf("within: onset %v, %v, score %v; want 0, critical, its own score", r.Onset, r.Severity, r.Score)
			}
		case 8:
			if r.Message != "far from 20" || r.Kind != driver.KindLevel {
				t.Errorf("a calm reading within says %q of kind %q", r.Message, r.Kind)
			}
		}
		last = r
	}
	i := last.Incident
	want := driver.Incident{
		ID: i.ID, Phase: driver.Returned, Start: epoch.Add(time.Second), End: epoch.Add(7 * time.Second),
		Severity: driver.Critical, Score: 0.995, Kind: driver.KindLevel, Cause: other,
	}
	if i != want || last.Severity != driver.Normal || len(ids) != 1 || ids[i.ID] != 8 {
		t.Errorf("the end: %v %+v, identifiers %v; want %+v", last.Severity, i, ids, want)
	}
}

// An incident that is open when a mute window begins goes on, and its end is told; one that begins in it is told when the
// window ends and it still lasts, as having begun when it did.
func TestIncidentAndMuteWindows(t *testing.T) {
	p := policy(t, stage.PolicyConfig{Clear: 3, Mute: []string{"11:01-11:02"}, Timezone: "UTC"})
	tests := []struct {
		name     string
		from, to int // seconds with anomalous readings
		told     string
		start    int
	}{
		{"open before", 50, 70, "50( 73)", 50},
		{"within", 70, 100, "", 0},
		{"still lasts", 90, 150, "120( 153)", 90},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var in stage.Incident
			var told []string
			start := epoch
			for i := range 200 {
				letter := byte('n')
				if i >= tt.from && i <= tt.to {
					letter = 'A'
				}
				r, _ := verdict(letter, i)
				in.Judge(&r, false, p)
				if phase := r.Incident.Phase; phase != driver.NoIncident && phase != driver.Lasts {
					told = append(told, fmt.Sprintf("%d%c", i, marks[phase]))
					start = r.Incident.Start
				}
			}
			if want := epoch.Add(time.Duration(tt.start) * time.Second); strings.Join(told, " ") != tt.told || !start.Equal(want) {
				t.Errorf("told %q since %v; want %q since %v", told, start, tt.told, want)
			}
		})
	}
}

// An incident outlives a restart: it has the same identifier, is not told as begun again, and ends once.
func TestIncidentSurvivesRestart(t *testing.T) {
	p := policy(t, stage.DefaultPolicy())
	const verdicts = "nAqCAnAnngnnnn"
	judge := func(in *stage.Incident, from, to int) (rs []driver.Result) {
		for i := from; i < to; i++ {
			r, quality := verdict(verdicts[i], i)
			in.Judge(&r, quality, p)
			r.Causes = nil
			rs = append(rs, r)
		}
		return rs
	}
	want := judge(new(stage.Incident), 0, len(verdicts))
	for cut := range len(verdicts) {
		var before, after stage.Incident
		judge(&before, 0, cut)
		if err := state.Restore(&after, state.Bytes(&before)); err != nil {
			t.Fatal(err)
		}
		for i, got := range judge(&after, cut, len(verdicts)) {
			w := want[cut+i].Incident
			if g := got.Incident; g.ID != w.ID || g.Phase != w.Phase || !g.Start.Equal(w.Start) || !g.End.Equal(w.End) ||
				g.Severity != w.Severity || g.Cause != w.Cause {
				t.Fatalf("restart before verdict %d: verdict %d is of %+v, want %+v", cut, cut+i, g, w)
			}
		}
	}
}

// Nobody knows for an hour whether it goes on: it is not left open.
func TestIncidentIsAbandoned(t *testing.T) {
	var in stage.Incident
	p := policy(t, stage.DefaultPolicy())
	r, _ := verdict('A', 0)
	in.Judge(&r, false, p)
	for i := 60; i <= 3720; i += 60 {
		r, _ = verdict('?', i)
		in.Judge(&r, false, p)
		if ended := r.Incident.Phase == driver.Abandoned; ended != (i == 3660) {
			t.Errorf("after %d s of not knowing: %+v", i-60, r.Incident)
		}
	}
}

// It ends for a reason outside of the verdicts once.
func TestIncidentEnd(t *testing.T) {
	var in stage.Incident
	p := policy(t, stage.DefaultPolicy())
	r, _ := verdict('A', 3)
	in.Judge(&r, false, p)
	was := in.Open()
	if !in.End(&r, driver.NewNormal) || r.Incident.ID != was.ID || r.Incident.Phase != driver.NewNormal || in.Open().ID != 0 {
		t.Errorf("ended as %+v", r.Incident)
	}
	if in.End(&r, driver.NewNormal) {
		t.Error("ended twice")
	}
}

func FuzzIncidentState(f *testing.F) {
	var in stage.Incident
	p := &stage.Policy{}
	r, _ := verdict('C', 0)
	in.Judge(&r, false, p)
	var w state.Writer
	in.EncodeState(&w)
	f.Add(w.Bytes)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, data []byte) {
		var in stage.Incident
		in.DecodeState(state.NewReader(data))
		for i, letter := range []byte("nAqg?Fn") {
			r, quality := verdict(letter, i)
			in.Judge(&r, quality, p)
		}
	})
}
