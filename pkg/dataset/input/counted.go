// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Count is what small numbers count that stand where times should.
type Count uint8

// The counts.
const (
	NoCount Count = iota // they are times
	Rows                 // no time is known: a row counts as a second
	Seconds              // from a start that the file does not tell
)

// String is the unit.
func (c Count) String() string { return [...]string{"", "row", "second"}[c] }

// earliestUnix is 1985 in Unix seconds: numbers before it are counted from a start of their own.
const earliestUnix = 5e8

var (
	// numberNames are names of columns that number the rows.
	numberNames = []string{"", "index", "unnamed: 0", "nr", "nr.", "no", "no.", "#", "id", "row", "line", "seq", "lfd. nr.", "序号"}
	// elapsedNames are names of columns of times from a start.
	elapsedNames = []string{"t", "elapsed", "elapsed time", "elapsed_time", "seconds", "sec", "laufzeit"}
	// elapsedUnits may stand behind such a name, in brackets or after an underscore.
	elapsedUnits = map[string]time.Duration{
		"s": time.Second, "sec": time.Second, "seconds": time.Second, "ms": time.Millisecond, "us": time.Microsecond, "µs": time.Microsecond,
		"ns": time.Nanosecond, "min": time.Minute, "minutes": time.Minute, "h": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "days": 24 * time.Hour,
	}
)

// NoTime is Options.Time of a file without times: its rows are counted.
const NoTime = "none"

// numbered is a table whose first column is the number of the row.
type numbered struct {
	Grid
	n   int
	row []string
}

// Header implements Grid.
func (n *numbered) Header() []string {
	if h := n.Grid.Header(); h != nil {
		return append([]string{"row"}, h...)
	}
	return nil
}

// Read implements Grid.
func (n *numbered) Read() ([]string, int, error) {
	row, line, err := n.Grid.Read()
	if err != nil {
		return row, line, err
	}
	n.row = append(append(n.row[:0], strconv.Itoa(n.n)), row...)
	n.n++
	return n.row, line, nil
}

// elapsed cuts the unit off the name of a column of times: time (ms), time_s.
func elapsed(name string) (base string, unit time.Duration, ok bool) {
	base = strings.ToLower(strings.TrimSpace(name))
	unit = time.Second
	if i := strings.LastIndexAny(base, "([_ "); i > 0 {
		if u, known := elapsedUnits[strings.Trim(base[i:], "()[]_ ")]; known {
			base, unit = strings.TrimSpace(base[:i]), u
		}
	}
	return base, unit, slices.Contains(elapsedNames, base) || slices.Contains(timeNames, base)
}

// count finds out whether a clock of seconds reads small numbers, and what they count.
func (c *clock) count(name string, cells []string) {
	if c.unit != seconds || slices.ContainsFunc(cells, func(s string) bool { v, _ := epoch(s); return math.Abs(v) >= earliestUnix }) {
		return
	}
	c.counts = Seconds
	_, unit, isTime := elapsed(name)
	switch {
	case name != "" && slices.Contains(numberNames, strings.ToLower(strings.TrimSpace(name))), !isTime && onebyone(cells):
		c.counts = Rows
	case unit != time.Second:
		c.scale = unit.Seconds()
	}
}

// onebyone reports whether cells are whole numbers of which mostly each is one more, or one less, than the one before.
func onebyone(cells []string) bool {
	steps := 0
	last := math.NaN()
	for _, s := range cells {
		v, ok := plainNumber(s)
		if !ok || v != math.Trunc(v) {
			return false
		}
		if math.Abs(v-last) == 1 {
			steps++
		}
		last = v
	}
	return steps*10 >= (len(cells)-1)*9
}

// unitName is what the numbers of a clock that counts seconds are.
func (c *clock) unitName() string {
	switch time.Duration(c.scale * float64(time.Second)) {
	case time.Millisecond:
		return "milliseconds"
	case time.Microsecond:
		return "microseconds"
	case time.Nanosecond:
		return "nanoseconds"
	case time.Minute:
		return "minutes"
	case time.Hour:
		return "hours"
	case 24 * time.Hour:
		return "days"
	}
	return "seconds"
}
