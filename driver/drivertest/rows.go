// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

const cycle = time.Second

var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

func memberKey(i int) driver.Key {
	return driver.Key{Namespace: "default", Device: "device-1", Property: fmt.Sprintf("property%d", i)}
}

// rowsOf makes n rows of values, one a cycle.
func (s *suite) rowsOf(n int, value func(i, member int) float64) []driver.Row {
	rows := make([]driver.Row, n)
	for i := range rows {
		rows[i] = make(driver.Row, s.members)
		for m := range rows[i] {
			rows[i][m] = driver.Sample{Key: memberKey(m), At: epoch.Add(time.Duration(i) * cycle), Value: value(i, m)}
		}
	}
	return rows
}

// usual is what a healthy device sends: a slow rhythm with noise, now and then a spike, a rest and a missing value.
func (s *suite) usual(n int, seed uint64) []driver.Row {
	rng := rand.New(rand.NewPCG(seed, 0))
	rows := s.rowsOf(n, func(i, m int) float64 {
		return 20 + float64(m) + 3*math.Sin(float64(i)/200) + 0.5*rng.NormFloat64()
	})
	for i := 150; i+10 < n; i += 150 {
		m := rng.IntN(s.members)
		switch (i / 150) % 4 {
		case 0:
			rows[i][m].Value += 30
		case 1:
			for k := range 8 {
				rows[i+k][m].Value = rows[i][m].Value
			}
		case 2:
			rows[i][m].Value, rows[i][m].Flags = math.NaN(), driver.NotANumber
		case 3:
			rows[i][m].At = rows[i-2][m].At
		}
	}
	return rows
}

// stream is a named input.
type stream struct {
	name string
	rows []driver.Row
}

// hostile are inputs that no detector may stumble over, each after a healthy start as well as alone.
func (s *suite) hostile() []stream {
	const n = 400
	rng := rand.New(rand.NewPCG(7, 7))
	alternate := func(values ...float64) []driver.Row {
		return s.rowsOf(n, func(i, m int) float64 { return values[(i+m)%len(values)] })
	}
	mixed := []float64{
		math.NaN(), math.Inf(1), math.Inf(-1), 1e308, -1e308, math.MaxFloat64, -math.MaxFloat64,
		math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 0, math.Copysign(0, -1), 1, 20, 1e-300, 1e150,
	}
	streams := []stream{
		{"constant", alternate(5)},
		{"zero", alternate(0)},
		{"NaN", alternate(math.NaN())},
		{"+Inf", alternate(math.Inf(1))},
		{"-Inf", alternate(math.Inf(-1))},
		{"both infinities", alternate(math.Inf(1), math.Inf(-1))},
		{"huge", alternate(1e308)},
		{"huge of both signs", alternate(1e308, -1e308)},
		{"tiny", alternate(math.SmallestNonzeroFloat64, 0, -math.SmallestNonzeroFloat64)},
		{"two values", alternate(0, 1)},
		{"counter", s.rowsOf(n, func(i, _ int) float64 { return float64(i % 150) })},
		{"doubling", s.rowsOf(n, func(i, _ int) float64 { return math.Ldexp(1, 3*i-600) })},
		{"mixed", s.rowsOf(n, func(int, int) float64 { return mixed[rng.IntN(len(mixed))] })},
		{"empty", make([]driver.Row, 20)},
	}
	add := func(name string, change func(i int, row driver.Row)) {
		rows := s.usual(n, 3)
		for i, row := range rows {
			change(i, row)
		}
		streams = append(streams, stream{name, rows})
	}
	add("text only", func(i int, row driver.Row) {
		for m := range row {
			row[m].Value, row[m].Text, row[m].Flags = math.NaN(), fmt.Sprintf("état-%d", i%7), driver.Unparsable
		}
	})
	add("one time", func(_ int, row driver.Row) { setTime(row, epoch) })
	add("no time", func(_ int, row driver.Row) { setTime(row, time.Time{}) })
	add("backward times", func(i int, row driver.Row) { setTime(row, epoch.Add(-time.Duration(i)*cycle)) })
	add("shuffled times", func(_ int, row driver.Row) { setTime(row, epoch.Add(time.Duration(rng.IntN(n))*cycle)) })
	add("times an age apart", func(i int, row driver.Row) { setTime(row, epoch.AddDate(100*(i%40), 0, 0)) })
	add("every flag", func(i int, row driver.Row) {
		for m := range row {
			row[m].Flags = driver.Flags(1 << (i % 16))
		}
	})
	if s.members > 1 {
		add("a member missing", func(i int, row driver.Row) { row[i%len(row)].Value = math.NaN() })
		add("members alike", func(_ int, row driver.Row) {
			for m := range row {
				row[m].Value = row[0].Value
			}
		})
		short := s.usual(n, 3)
		for i := range short {
			short[i] = short[i][:i%s.members]
		}
		streams = append(streams, stream{"short rows", short})
	}
	return streams
}

func setTime(row driver.Row, at time.Time) {
	for m := range row {
		row[m].At = at
	}
}

func cloneRows(rows []driver.Row) []driver.Row {
	out := make([]driver.Row, len(rows))
	for i, row := range rows {
		out[i] = slices.Clone(row)
	}
	return out
}

// scribble overwrites a row with what no detector has seen before.
func scribble(row driver.Row) {
	for m := range row {
		row[m] = driver.Sample{
			Key: driver.Key{Namespace: "scribble"}, At: epoch.AddDate(9, 0, 0), Value: -98765.4321, Text: "scribble", Flags: driver.Stale,
		}
	}
}
