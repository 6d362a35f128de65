// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// sample is a batch with a reading of every kind.
func sample() Batch {
	at := time.Date(2026, 3, 1, 8, 0, 0, 1, time.UTC)
	low := -1.5
	about := &source.Property{Model: "beater", DataType: "float", Minimum: &low, Labels: map[string]string{"hall": "3"}, Lasting: true}
	key := func(p string) driver.Key { return driver.Key{Namespace: "default", Device: "pump.1", Property: p} }
	return Batch{Publisher: "x", Number: 7, Origin: "plant", Readings: []source.Reading{
		{Key: key("a"), At: at, Value: 1.25, Property: about},
		{Key: key("b"), At: at.Add(-time.Hour), Value: math.Inf(1), Past: true},
		{Key: key("b"), At: at, Text: "öffen"},
		{Key: key("a"), At: at.Add(time.Nanosecond), Property: about, Finding: &source.Finding{Kind: driver.KindMissing, Strength: 2, Message: "away"}},
		{Key: key("c"), Gone: true},
	}}
}

func TestBatches(t *testing.T) {
	want := sample()
	data, n, err := new(encoder).append(nil, &want)
	if err != nil || n != len(want.Readings) {
		t.Fatalf("%d of %d, %v", n, len(want.Readings), err)
	}
	var d decoder
	var got Batch
	if err := d.decode(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
	first := got.Readings[0].Property
	if err := d.decode(data, &got); err != nil || got.Readings[0].Property != first || got.Readings[3].Property != first {
		t.Errorf("%v: what is known of a property that did not change is another one", err)
	}
	for i := range data { // a message that was cut off is no other message
		if err := d.decode(data[:i], &got); err == nil {
			t.Errorf("the first %d bytes of %d are read", i, len(data))
		}
	}
}

// A batch ends where what is known of one of its properties changes, and where it is long enough.
func TestBatchesAreBounded(t *testing.T) {
	b := sample()
	b.Readings[3].Property = &source.Property{Model: "another"}
	if _, n, err := new(encoder).append(nil, &b); err != nil || n != 3 {
		t.Errorf("%d readings, %v; want those before the change", n, err)
	}
	b.Readings = nil
	for i := range 3 * mostReadings {
		b.Readings = append(b.Readings, source.Reading{Key: driver.Key{Namespace: "n", Device: "d", Property: fmt.Sprint(i)}, At: time.Unix(1, 0)})
	}
	if _, n, err := new(encoder).append(nil, &b); err != nil || n != mostReadings {
		t.Errorf("%d readings, %v; want %d", n, err, mostReadings)
	}
}

func FuzzBatch(f *testing.F) {
	b := sample()
	data, _, err := new(encoder).append(nil, &b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{batchVersion, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var d decoder
		var b, again Batch
		if d.decode(data, &b) != nil || len(b.Readings) > mostReadings {
			return
		}
		out, n, err := new(encoder).append(nil, &b)
		if err != nil || n < len(b.Readings) {
			return
		}
		if err := d.decode(out, &again); err != nil {
			t.Fatal(err)
		}
		if len(again.Readings) != len(b.Readings) || again.Publisher != b.Publisher || again.Number != b.Number {
			t.Errorf("got %+v, want %+v", again, b)
		}
	})
}

func TestSubjects(t *testing.T) {
	for want, key := range map[string]driver.Key{
		"verdicts.default.pump%2E1.bar":     {Namespace: "default", Device: "pump.1", Property: "bar"},
		"verdicts.default.pump.%":           {Namespace: "default", Device: "pump"},
		"verdicts.a%20b.%2A%3E%25.müll%0A1": {Namespace: "a b", Device: "*>%", Property: "müll\n1"},
	} {
		if got := Subject(key); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Who goes on tells what is behind the last mark, and nothing before it.
func TestMarks(t *testing.T) {
	all := []toldOf{{seq: 3}, {seq: 3, n: 1}, {seq: 4}, {seq: 4, n: 1}, {seq: 9}}
	for name, c := range map[string]struct {
		mark mark
		left int
	}{
		"nothing is told":       {mark{}, 5},
		"a message is":          {mark{Seq: 3}, 3},
		"and a part of another": {mark{Seq: 3, Of: 4, Told: 1}, 2},
		"all is":                {mark{Seq: 9}, 0},
	} {
		left := 0
		for i := range all {
			if !c.mark.muted(&all[i]) {
				left++
			}
		}
		if left != c.left {
			t.Errorf("%s: %d are left, want %d", name, left, c.left)
		}
	}
}

func TestPatience(t *testing.T) {
	tries := 0
	err := patiently(t.Context(), func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("away")
		}
		return stop{errFenced}
	})
	if !errors.Is(err, errFenced) || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
}
