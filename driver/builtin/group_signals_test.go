// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// plantMembers are n numeric properties of a device.
func plantMembers(n int) []driver.Member {
	members := make([]driver.Member, n)
	for i := range members {
		members[i] = driver.Member{
			Key:     driver.Key{Namespace: "default", Device: "plant", Property: fmt.Sprintf("p%d", i)},
			Minimum: math.NaN(), Maximum: math.NaN(), Cycle: time.Second,
		}
	}
	return members
}

// groupFeeder hands rows to a detector, one a second.
type groupFeeder struct {
	d   driver.Detector
	row driver.Row
	out driver.Result
	n   int
}

func openGroup(tb testing.TB, name string, s driver.Settings, config map[string]any) *groupFeeder {
	tb.Helper()
	d, err := driver.Open(name, s, config)
	if err != nil {
		tb.Fatal(err)
	}
	g := &groupFeeder{d: d, row: make(driver.Row, len(s.Members))}
	for i, m := range s.Members {
		g.row[i].Key = m.Key
	}
	return g
}

// judge hands in the row as it is.
func (g *groupFeeder) judge() *driver.Result {
	for i := range g.row {
		g.row[i].At = start.Add(time.Duration(g.n) * time.Second)
	}
	g.n++
	g.out.Reset(g.row)
	g.out.Threshold = driver.DefaultThreshold
	g.d.Detect(g.row, &g.out)
	return &g.out
}

// feed hands in numbers; the verdict is valid until the next call.
func (g *groupFeeder) feed(values ...float64) *driver.Result {
	for i, x := range values {
		g.row[i].Value, g.row[i].Text, g.row[i].Flags = x, "", 0
	}
	return g.judge()
}

// feedTexts hands in texts; those that are "" are missing.
func (g *groupFeeder) feedTexts(texts ...string) *driver.Result {
	for i, text := range texts {
		g.row[i].Value, g.row[i].Text, g.row[i].Flags = float64(len(text)), text, 0
		if text == "" {
			g.row[i].Value, g.row[i].Flags = math.NaN(), driver.Stale
		}
	}
	return g.judge()
}

// plant yields rows of a plant in which two causes, slow and fast, drive all members.
func plant(seed uint64, members int) func() []float64 {
	rng, slow := rand.New(rand.NewPCG(seed, 21)), 0.0
	return func() []float64 {
		slow += 0.1*rng.NormFloat64() - 0.02*slow
		fast := rng.NormFloat64()
		row := make([]float64, members)
		for j := range row {
			a := float64(j%3) - 1
			row[j] = 10*float64(j) + 2*slow + a*fast + 0.2*rng.NormFloat64()
		}
		return row
	}
}

// trainModel trains a driver offline on the rows and returns the content of a model file.
func trainModel(tb testing.TB, name string, members []driver.Member, columns []string, rows iter.Seq[driver.Row]) []byte {
	tb.Helper()
	d, err := driver.Open(name, driver.Settings{Members: members}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if err := d.(driver.Trainer).Train(tb.Context(), rows); err != nil {
		tb.Fatal(err)
	}
	payload, err := d.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	m := model.Trained{Facts: model.Facts{Driver: name, Members: columns}, Payload: payload}
	data, err := m.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// rowsOf is a sequence of n rows of values.
func rowsOf(members []driver.Member, n int, values func() []float64) iter.Seq[driver.Row] {
	all := make([]driver.Row, n)
	for k := range all {
		all[k] = make(driver.Row, len(members))
		for i, x := range values() {
			all[k][i] = driver.Sample{Key: members[i].Key, At: start.Add(time.Duration(k) * time.Second), Value: x}
		}
	}
	return func(yield func(driver.Row) bool) {
		for _, row := range all {
			if !yield(row) {
				return
			}
		}
	}
}
