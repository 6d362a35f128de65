// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package training_test

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/kubeedge/edge-anomaly/driver/builtin"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/training"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

func write(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "table.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// numbered is a table whose column says which row it is.
func numbered(n int) string {
	var b strings.Builder
	b.WriteString("time,n,word,label\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,%d,w%d,1\n", 1000+i, i, i%2)
	}
	return b.String()
}

// Each row is either trained on or held out, and the last ones are held out.
func TestPartsShareTheRows(t *testing.T) {
	const n = 1000
	path := write(t, numbered(n))
	for _, share := range []float64{0, 0.2, 0.5, 0.9} {
		s, err := training.Open(t.Context(), path, training.Options{Text: true, HoldOut: share})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Columns(), ","); got != "n,word" {
			t.Fatalf("members are %s", got)
		}
		var trained, held training.Part
		next := 0
		check := func(row driver.Row) {
			if row[0].Value != float64(next) || row[1].Text != fmt.Sprintf("w%d", next%2) || row[0].At.Unix() != int64(1000+next) {
				t.Fatalf("row %d is %+v", next, row)
			}
			next++
		}
		for range 2 { // as often as wanted
			next = 0
			for row := range s.Train(t.Context(), &trained) {
				check(row)
			}
			for row := range s.HeldOut(t.Context(), &held) {
				check(row)
			}
		}
		if trained.Rows+held.Rows != n || math.Abs(float64(held.Rows)-share*n) > 0.02*n {
			t.Errorf("%d rows trained on and %d held out, want %.0f of %d", trained.Rows, held.Rows, share*n, n)
		}
		if trained.From.Unix() != 1000 || trained.To.Unix() != int64(1000+trained.Rows-1) || s.Err() != nil {
			t.Errorf("trained on %v to %v, %v", trained.From, trained.To, s.Err())
		}
	}
}

func TestCellsThatAreNone(t *testing.T) {
	s, err := training.Open(t.Context(), write(t, "time,a,b\n1,1,x\n2,,\n3,high,y\n4,Inf,7\nfive,1,x\n"), training.Options{Text: true})
	if err != nil {
		t.Fatal(err)
	}
	var part training.Part
	var got []string
	for row := range s.Train(t.Context(), &part) {
		got = append(got, fmt.Sprintf("%d%q %d%q", row[0].Flags, row[0].Text, row[1].Flags, row[1].Text))
	}
	bad, nan := driver.Unparsable, driver.NotANumber
	want := fmt.Sprintf(`[0"" 0"x" %[1]d"" %[1]d"" %[2]d"" 0"y" %[1]d"" 0"7"]`, nan, bad)
	if fmt.Sprint(got) != want {
		t.Errorf("flags and texts are %v, want %s", got, want)
	}
	if part.Skipped != 1 || len(part.Bad) != 1 || !strings.Contains(part.Bad[0].Error(), "line 6") {
		t.Errorf("bad rows: %d, %v", part.Skipped, part.Bad)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	s, err := training.Open(t.Context(), write(t, numbered(20_000)), training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	defer cancel(nil)
	var part training.Part
	for range s.Train(ctx, &part) {
		cancel(interrupted)
	}
	if !errors.Is(s.Err(), interrupted) || part.Rows >= 20_000 {
		t.Errorf("%d rows, error %v", part.Rows, s.Err())
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		o    training.Options
		want string
	}{
		"texts only": {"time,a\n1,x\n", training.Options{}, "no column of numbers among a"},
		"a column":   {"time,a\n1,1\n", training.Options{Input: input.Options{Columns: []string{"b"}}}, `no column "b"`},
		"nothing":    {"", training.Options{}, "empty"},
	} {
		if _, err := training.Open(t.Context(), write(t, c.text), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one that says %q", name, err, c.want)
		}
	}
}

// trained is a model of two coins, of which the second always shows what the first does.
func trained(tb testing.TB, detector string) *model.Trained {
	tb.Helper()
	s, err := training.Open(tb.Context(), write(tb, "time,a,b\n"+strings.Repeat("1,heads,heads\n2,tails,tails\n", 200)), training.Options{Text: true})
	if err != nil {
		tb.Fatal(err)
	}
	d, err := driver.Open(detector, driver.Settings{Members: s.Members}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	var part training.Part
	if err := d.(driver.Trainer).Train(tb.Context(), s.Train(tb.Context(), &part)); err != nil {
		tb.Fatal(err)
	}
	m := &model.Trained{Facts: model.Facts{Driver: detector, Members: s.Columns()}}
	if m.Payload, err = d.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestReadNetwork(t *testing.T) {
	n, err := training.ReadNetwork(trained(t, "bayesnet"))
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Nodes) != 2 || len(n.Edges()) != 1 {
		t.Fatalf("%d nodes and %d arcs, want 2 and 1", len(n.Nodes), len(n.Edges()))
	}
	row := func(a, b string) driver.Row { return driver.Row{{Text: a}, {Text: b}} }
	for _, c := range []struct {
		row  driver.Row
		want float64
	}{
		{row("heads", "heads"), math.Log(0.5)},
		{row("tails", "tails"), math.Log(0.5)},
		{driver.Row{{Text: "heads"}, {Value: math.NaN(), Flags: driver.NotANumber}}, math.Log(0.5)},
	} {
		if got := n.LogProb(c.row); math.Abs(got-c.want) > 0.01 {
			t.Errorf("log-probability of %v is %v, want about %v", c.row, got, c.want)
		}
	}
	if got := n.LogProb(row("heads", "tails")); got > math.Log(0.01) {
		t.Errorf("log-probability of coins that differ is %v", got)
	}
	if got := n.LogProb(row("edge", "edge")); got > math.Log(0.01) {
		t.Errorf("log-probability of a text never met is %v", got)
	}
	if got := n.LogProb(nil); !math.IsNaN(got) {
		t.Errorf("log-probability of no row is %v", got)
	}
}

func FuzzReadNetwork(f *testing.F) {
	m := trained(f, "bayesnet")
	payload, err := model.Unseal("detector/bayesnet", 1, m.Payload)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add(payload[:len(payload)/2])
	f.Fuzz(func(t *testing.T, payload []byte) {
		data, err := model.Seal("detector/bayesnet", 1, payload)
		if err != nil {
			t.Skip()
		}
		n, err := training.ReadNetwork(&model.Trained{Facts: m.Facts, Payload: data})
		if err != nil {
			return
		}
		if p := n.LogProb(driver.Row{{Text: "heads"}, {Text: "tails"}}); p > 1e-9 {
			t.Errorf("log-probability is %v", p)
		}
	})
}
