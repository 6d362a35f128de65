// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"fmt"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Answers belong to their readings, also where all have the same time and some are lost.
func TestAnswersAreExactWithEqualTimes(t *testing.T) {
	in, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	n := &series{members: []driver.Member{{Key: driver.Key{Namespace: "n", Device: "d", Property: "p"}}}}
	session, err := in.Open(in.Client("c", []string{"*"}, Limits{}), 16)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for i := range uint64(8) {
		a, err := session.admit(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		a.set(&pb.DevicePropertyData{Sequence: i + 1, TimeUnixNano: 7})
		n.number++
		a.state.Store(waiting)
		if n.pending.waiting == 0 {
			n.head = n.number
		}
		n.pending.push(waits{answer: a, sequence: i + 1})
	}
	// Row 3 is lost while 1 is being judged; 5 comes late, after it was given up.
	at := time.Unix(0, 7)
	row := driver.Row{{At: at}}
	verdict := func(number uint64) {
		r := driver.Result{At: at, Severity: driver.Normal, Expected: float64(number)}
		n.settled(number, &r, row)
	}
	n.settled(3, nil, nil)
	verdict(1)
	verdict(2)
	verdict(4)
	n.settled(5, &driver.Result{At: at, Kind: driver.KindFailed, Message: "hung"}, nil)
	verdict(6)
	verdict(5)
	verdict(7)
	verdict(8)
	got := make(map[uint64]string)
	for len(got) < 8 {
		batch, err := session.Answers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range batch {
			m := &a.Reply.Message
			if got[m.Sequence] != "" {
				t.Errorf("%d is answered twice", m.Sequence)
			}
			got[m.Sequence] = fmt.Sprint(m.Severity, m.GetExpected())
		}
		session.Done(batch)
	}
	for sequence, answer := range got {
		want := fmt.Sprint(pb.Severity_SEVERITY_NORMAL, sequence)
		if sequence == 3 || sequence == 5 {
			want = fmt.Sprint(pb.Severity_SEVERITY_UNKNOWN, 0)
		}
		if answer != want {
			t.Errorf("%d is answered with %s, want %s", sequence, answer, want)
		}
	}
	if n.pending.waiting != 0 {
		t.Errorf("%d rows still wait", n.pending.waiting)
	}
}

// A reading that was lost before it was judged is judged when it is sent again.
func TestRepeatOfALostReadingIsJudged(t *testing.T) {
	m := new(memory)
	n := new(series)
	m.add(7, n, 1)
	m.settle(7, nil)
	if _, known, _ := m.find(7, 1); known {
		t.Error("a lost reading is taken for one that was judged")
	}
	m.add(7, n, 2)
	m.settle(7, &driver.Result{Severity: driver.Warning})
	if r, known, _ := m.find(7, 2); !known || !r.judged || r.verdict.Severity != driver.Warning {
		t.Errorf("a judged one: %+v, known %v", r, known)
	}
	for i := range uint64(3 * remembered) {
		m.add(8+i, n, 3+i)
	}
	if _, known, tooOld := m.find(7, 3); known || !tooOld {
		t.Errorf("one that is too old: known %v, too old %v", known, tooOld)
	}
	if len(m.records) != remembered {
		t.Errorf("%d records", len(m.records))
	}
}
