// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// findTime finds the column with the time of reading.
func (p *plan) findTime(names []string, header bool, cells func(int) []string, o *Options) (err error) {
	location := o.Location
	if location == nil {
		location = time.UTC
	}
	read := func(column int, called bool) (*clock, error) {
		if o.TimeFormat == "" {
			return clockOf(sampled(cells(column)), location, called)
		}
		layout, err := layoutOf(o.TimeFormat)
		if err != nil {
			return nil, err
		}
		all := sampled(cells(column))
		if layout = timed(layout, all, location); reads(layout, all, location) == 0 {
			return nil, fmt.Errorf("time: got %q, want it as --time-format says, %s", clip(firstOf(all)), pattern(layout))
		}
		zoned := strings.Contains(layout, "-07") || strings.Contains(layout, "Z07") || strings.Contains(layout, "MST")
		return &clock{layout: layout, location: location, zoned: zoned}, nil
	}
	if o.Time != "" {
		if p.time = slices.Index(names, o.Time); p.time < 0 || !header {
			return fmt.Errorf("no column %q among %q", o.Time, names)
		}
		if p.clock, err = read(p.time, true); err == nil {
			p.clock.count(o.Time, cells(p.time))
		}
		return err
	}
	if o.TimeFormat == "" && p.findParts(names, cells, location) {
		return nil
	}
	var candidates []int
	for _, name := range timeNames {
		if i := index(names, name); i >= 0 && !slices.Contains(candidates, i) {
			candidates = append(candidates, i)
		}
	}
	named := len(candidates)
	for i := range names { // those whose texts look like dates, before numbers that may be anything
		if !slices.Contains(candidates, i) && !slices.Contains(ignored, names[i]) && !dataset.Truth(names[i]) {
			candidates = append(candidates, i)
		}
	}
	slices.SortStableFunc(candidates[named:], func(a, b int) int { return rank(cells(a)) - rank(cells(b)) })
	// Numbers may be anything: those that are small have to stand in a column that is called so, or in the first one, and go on.
	small := slices.DeleteFunc(slices.Clone(candidates[named:]), func(i int) bool { return place(names[i], i, header) == nowhere || !onward(cells(i)) })
	slices.SortStableFunc(small, func(a, b int) int { return cmp.Compare(place(names[a], a, header), place(names[b], b, header)) })
	var first error
	for k, i := range slices.Concat(candidates, small) {
		c, err := read(i, k < named || i == 0 && !header)
		if err == nil && c.unit != text && k >= named && k < len(candidates) && !large(cells(i)) && (c.unit != excel || i > 0 || !onward(cells(0))) {
			continue
		}
		if err == nil {
			p.time, p.clock = i, c
			name := names[i]
			if !header {
				name = ""
			}
			if c.count(name, cells(i)); o.TimeFormat == "" {
				return p.joinClock(names, cells, location)
			}
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		return errors.New("no column is a time, and none of the columns of numbers is called one: --time-column says which, or that there is none (--time-column none)")
	}
	return fmt.Errorf("no column is a time: %w", first)
}

// The places of columns of small numbers that may stand for times, in order of precedence.
const (
	elapsing = iota
	numbering
	leading
	nowhere
)

// place says why a column may be one of small numbers that stand for times.
func place(name string, column int, header bool) int {
	_, _, is := elapsed(name)
	switch {
	case is && header:
		return elapsing
	case header && name != "" && slices.Contains(numberNames, strings.ToLower(strings.TrimSpace(name))):
		return numbering
	case column == 0:
		return leading
	}
	return nowhere
}

// timed is a layout of days, with the time of day as it stands behind them.
func timed(layout string, times []string, location *time.Location) string {
	if strings.Contains(layout, "15") || strings.Contains(layout, "3:04") {
		return layout
	}
	best, most := layout, reads(layout, times, location)
	for _, of := range clockLayouts[1:] {
		for _, zone := range zoneLayouts {
			if n := reads(layout+of+zone, times, location); n > most {
				best, most = layout+of+zone, n
			}
		}
	}
	return best
}

// large reports whether a column is of numbers that are Unix times, if times at all.
func large(cells []string) bool {
	v, ok := plainNumber(firstOf(cells))
	return ok && v > 5e8
}

// onward reports whether numbers mostly grow, or mostly fall.
func onward(cells []string) bool {
	up, down := 0, 0
	for i := 1; i < len(cells); i++ {
		a, okA := epoch(cells[i-1])
		b, okB := epoch(cells[i])
		switch {
		case !okA || !okB:
		case b > a:
			up++
		case b < a:
			down++
		}
	}
	return min(up, down)*10 <= up+down && (up+down > 0 || len(cells) < 2)
}

// partNames are those of the columns of a time that stands in several, which begin with the year.
var partNames = [...][]string{
	{"year", "yyyy", "yr", "jahr", "年"}, {"month", "mm", "mo", "monat", "月"}, {"day", "dd", "dy", "tag", "日"},
	{"hour", "hh", "hr", "stunde", "时"}, {"minute", "min", "mn", "分"}, {"second", "sec", "ss", "sekunde", "秒"},
}

// findParts finds a time that stands in columns of year, month, day and maybe hour, minute and second.
func (p *plan) findParts(names []string, cells func(int) []string, location *time.Location) bool {
	var parts []int
	for _, usual := range partNames {
		i := slices.IndexFunc(names, func(n string) bool { return slices.Contains(usual, strings.ToLower(strings.TrimSpace(n))) })
		if i < 0 || numbers(cells(i), point) < 1 {
			break
		}
		parts = append(parts, i)
	}
	if len(parts) < 3 {
		return false
	}
	var times []string
	row := make([]string, len(names))
	for k := range min(len(cells(parts[0])), 200) {
		for _, i := range parts {
			if all := cells(i); k < len(all) {
				row[i] = all[k]
			}
		}
		times = append(times, joined(row, parts))
	}
	c, err := clockOf(times, location, true)
	if err != nil || c.unit != text {
		return false
	}
	p.time, p.parts, p.clock = slices.Max(parts), parts, c
	return true
}

// joined is a time whose parts stand in several fields.
func joined(fields []string, parts []int) string {
	var b strings.Builder
	for k, i := range parts {
		b.WriteString([...]string{"", "-", "-", " ", ":", ":"}[k])
		if k > 2 && len(strings.TrimSpace(fields[i])) == 1 {
			b.WriteByte('0')
		}
		b.WriteString(strings.TrimSpace(fields[i]))
	}
	if len(parts) == 4 {
		b.WriteString(":00")
	}
	return b.String()
}

// rank puts columns of dates before columns of numbers.
func rank(cells []string) int {
	if len(cells) == 0 {
		return 2
	}
	if _, ok := plainNumber(cells[0]); ok {
		return 1
	}
	return 0
}

// sampled thins cells to some hundred, since finding a layout is dear.
func sampled(cells []string) []string {
	const most = 200
	if len(cells) <= most {
		return cells
	}
	thin := make([]string, 0, most)
	for i := range most {
		thin = append(thin, cells[i*len(cells)/most])
	}
	return thin
}

// joinClock finds the time of day where it stands in a column of its own beside the date.
func (p *plan) joinClock(names []string, cells func(int) []string, location *time.Location) error {
	if p.clock.unit == excel {
		p.joinSerial(names, cells)
		return nil
	}
	if p.clock.unit != text || strings.Contains(p.clock.layout, ":04") || strings.Contains(p.clock.layout, "1504") {
		return nil
	}
	for _, name := range clockNames {
		i := index(names, name)
		if i < 0 || i == p.time {
			continue
		}
		dates, clocks := cells(p.time), cells(i)
		n := min(len(dates), len(clocks))
		joined := make([]string, n)
		for k := range n {
			joined[k] = dates[k] + " " + clocks[k]
		}
		c, err := clockOf(sampled(joined), location, false)
		if err == nil && strings.Contains(c.layout, "04") {
			p.timeOf, p.clock = i, c
			return nil
		}
	}
	return nil
}

// joinSerial finds the time of day, a fraction of a day, beside Excel's days.
func (p *plan) joinSerial(names []string, cells func(int) []string) {
	within := func(cells []string, is func(float64) bool) bool {
		return len(cells) > 0 && !slices.ContainsFunc(cells, func(c string) bool { v, ok := plainNumber(c); return ok && !is(v) })
	}
	if !within(cells(p.time), func(v float64) bool { return v == math.Trunc(v) }) {
		return
	}
	for _, name := range clockNames {
		if i := index(names, name); i >= 0 && i != p.time && within(cells(i), func(v float64) bool { return v >= 0 && v < 1 }) {
			p.timeOf = i
			return
		}
	}
}

// fraction is one of a second that follows a colon, as controllers write it; ofPlace is what Java writes behind an offset.
var (
	fraction = regexp.MustCompile(`(\d:\d\d:\d\d):(\d{1,6})$`)
	ofPlace  = regexp.MustCompile(`\[[\w/+-]+\]$`)
	halves   = strings.NewReplacer("a. m.", "AM", "p. m.", "PM", "a.m.", "AM", "p.m.", "PM")
)

// usual is a time without what no layout has.
func usual(t string) string {
	return halves.Replace(ofPlace.ReplaceAllString(fraction.ReplaceAllString(t, "$1.$2"), ""))
}

// usualAll are times without what no layout has, where all of them have it.
func usualAll(times []string) (all []string, odd bool) {
	for _, t := range times {
		u := usual(t)
		if u == t {
			return nil, false
		}
		all = append(all, u)
	}
	return all, all != nil
}
