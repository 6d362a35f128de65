// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Dates and clocks as they are written. A day, a month or an hour may have one digit or two; fractions of a second
// follow a point or a comma.
var (
	dateLayouts = [...]string{
		"2006-1-2", "2006/1/2", "2006.1.2", "20060102",
		"2.1.2006", "2.1.06", "2/1/2006", "1/2/2006", "2-1-2006", "1-2-2006", "2/1/06", "1/2/06",
		"2-Jan-2006", "2-Jan-06", "2 Jan 2006", "Jan 2, 2006", "2 January 2006", "2. January 2006", "January 2, 2006",
		"Mon 2 Jan 2006", "Mon, 2 Jan 2006", "Mon Jan 2 2006", "Mon, Jan 2, 2006", "Monday, 2 January 2006",
		"Monday, January 2, 2006", "2006年1月2日", "2006-1",
	}
	clockLayouts = [...]string{"", " 15:04:05", " 15:04", "T15:04:05", "T15:04", " 3:04:05 PM", " 3:04 PM", " 3:04:05 pm", " 3:04 pm", " 3:04:05PM", " 3:04PM", "T150405", " 150405", " 15時04分", " 15時04分05秒", " 15时04分", " 15时04分05秒"}
	zoneLayouts  = [...]string{"", "Z07:00", " Z07:00", " -0700", "-0700", "-07", " -07", " -0700 MST", " MST"}
)

// wholeLayouts begin with the day of the week, or are digits alone.
var wholeLayouts = [...]string{
	time.UnixDate, time.ANSIC, time.RubyDate, time.RFC1123, time.RFC1123Z, time.RFC850, wholeDigits, "200601021504",
	"15:04:05 2.1.2006", "15:04 2.1.2006", "15:04:05 2006-1-2", "2006-002 15:04:05", "2006-002 15:04", "2006-002T15:04:05Z07:00",
}

const wholeDigits = "20060102150405"

// monthFirst is the other reading of a layout that begins with a day.
var monthFirst = strings.NewReplacer("2/1/", "1/2/", "2-1-2006", "1-2-2006")

const looseRFC3339 = "2006-1-2T15:04:05Z07:00"

// unit of a number that is a time.
type unit uint8

const (
	text unit = iota // a date as written by a layout
	seconds
	milliseconds
	microseconds
	nanoseconds
	excel // days since 1899-12-30
)

// clock reads the times of a file, all written alike.
type clock struct {
	unit     unit
	layout   string
	other    string // another layout that reads every time so far, but as another day
	zoned    bool   // times carry a zone
	location *time.Location
	last     time.Time // for the hour that is there twice
	counts   Count     // what numbers count that are no times
	odd      bool      // times have what no layout has, see usual
	scale    float64   // seconds of a number, where that is no one; 0 where it is
}

// The times that have a number of nanoseconds in an int64.
var (
	earliest = time.Unix(0, math.MinInt64)
	latest   = time.Unix(0, math.MaxInt64)
)

const wanted = "RFC 3339, YYYY-MM-DD hh:mm:ss, DD.MM.YYYY hh:mm, a Unix time or an Excel date; --time-format says another"

// clockOf finds how times are written from some of them: of a column that is called a time at least one has to be one,
// of another column every other.
func clockOf(times []string, location *time.Location, called bool) (*clock, error) {
	if all, odd := usualAll(times); odd {
		c, err := clockOf(all, location, called)
		if err == nil {
			c.odd = true
		}
		return c, err
	}
	c := &clock{location: location}
	least := max(len(times)/2, 1)
	if called {
		least = 1
	}
	if u, ok := unitOf(times, least); ok {
		c.unit = u
		return c, nil
	}
	best := 0
	for _, layout := range wholeLayouts {
		if n := reads(layout, times, location); n > best {
			best, c.layout, c.zoned = n, layout, strings.Contains(layout, "MST") || strings.Contains(layout, "-0700")
		}
	}
	for _, t := range times {
		if best*10 > len(times)*5 {
			break
		}
		for _, date := range dateLayouts {
			for _, of := range clockLayouts {
				for _, zone := range zoneLayouts {
					if of == "" && zone != "" {
						continue
					}
					layout := date + of + zone
					if layout == c.layout {
						continue
					}
					if _, err := time.ParseInLocation(layout, t, location); err != nil {
						continue
					}
					if n := reads(layout, times, location); n > best {
						best, c.layout, c.zoned = n, layout, zone != ""
					}
				}
			}
		}
		if best*10 > len(times)*5 {
			break
		}
	}
	if best < least && reads("15:04:05", times, location)+reads("15:04", times, location) > 0 {
		return nil, fmt.Errorf("time: got %q, a time of day without its day: want both in one column, or a column date beside it", clip(firstOf(times)))
	}
	if best < least {
		return nil, fmt.Errorf("time: got %q, want %s", clip(firstOf(times)), wanted)
	}
	if swapped := monthFirst.Replace(c.layout); swapped != c.layout && reads(swapped, times, location) == best {
		c.other = swapped
	}
	return c, nil
}

func firstOf(times []string) string {
	if len(times) == 0 {
		return ""
	}
	return times[0]
}

func reads(layout string, times []string, location *time.Location) (n int) {
	for _, t := range times {
		if _, err := time.ParseInLocation(layout, t, location); err == nil {
			n++
		}
	}
	return n
}

// unitOf tells Unix times and Excel dates by their size.
func unitOf(times []string, least int) (unit, bool) {
	numbers, days := 0, 0
	largest := 0.0
	for _, t := range times {
		v, ok := epoch(t)
		if !ok {
			continue
		}
		numbers++
		if v >= 20000 && v < 80000 { // 1954 to 2119
			days++
		}
		largest = max(largest, math.Abs(v))
	}
	if numbers < least || least > 1 && numbers*2 <= len(times) {
		return text, false
	}
	switch {
	case days == numbers:
		return excel, true
	case largest < 1e11: // each unit up to the year 5138
		return seconds, true
	case largest < 1e14:
		return milliseconds, true
	case largest < 1e17:
		return microseconds, true
	}
	return nanoseconds, true
}

// epoch is the number that a time is written as; 8, 12 or 14 digits that are a date are none.
func epoch(t string) (float64, bool) {
	if n := len(t); (n == 8 || n == 12 || n == 14) && (strings.HasPrefix(t, "19") || strings.HasPrefix(t, "20")) {
		if _, err := time.Parse(wholeDigits[:n], t); err == nil {
			return 0, false
		}
	}
	v, ok := plainNumber(t)
	if !ok {
		v, ok = comma.value(t)
	}
	return v, ok && !math.IsInf(v, 0)
}

func looksLikeTime(text string) bool {
	_, err := clockOf([]string{strings.TrimSpace(text)}, time.UTC, false)
	return err == nil
}

var errAmbiguous = errors.New("may be a day and a month, or a month and a day")

// settle tells that no time of the file ruled one of two readings out.
func (c *clock) settle(example string) error {
	if c.other == "" {
		return nil
	}
	if c.same(example) { // 05/05/2026
		return nil
	}
	a, errA := time.Parse(c.layout, example)
	b, errB := time.Parse(c.other, example)
	if err := errors.Join(errA, errB); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	return fmt.Errorf("time: %q %w: %s or %s; --time-format %q or %q says which",
		clip(example), errAmbiguous, a.Format("2 January 2006"), b.Format("2 January 2006"), pattern(c.layout), pattern(c.other))
}

// same reports whether both readings give the same day.
func (c *clock) same(t string) bool {
	a, errA := time.Parse(c.layout, t)
	b, errB := time.Parse(c.other, t)
	return errA != nil || errB != nil || a.Equal(b)
}

// parse reads a time. It is told in the location, whose clock what is measured may go by.
func (c *clock) parse(t string) (time.Time, error) {
	if c.odd {
		t = usual(t)
	}
	if c.unit != text {
		at, err := c.number(t)
		return at.In(c.location), err
	}
	layout := c.layout
	if layout == looseRFC3339 && len(t) > 10 {
		layout = time.RFC3339 // package time reads this one three times as fast
	}
	at, err := time.ParseInLocation(layout, t, c.location)
	if err != nil && layout != c.layout {
		at, err = time.ParseInLocation(c.layout, t, c.location)
	}
	if c.other != "" { // each reading is held against every time of the file
		if _, otherErr := time.ParseInLocation(c.other, t, c.location); (err == nil) != (otherErr == nil) {
			if err != nil {
				c.layout = c.other
				at, err = time.ParseInLocation(c.layout, t, c.location)
			}
			c.other = ""
		}
	}
	if err != nil {
		if before, ok := c.midnight(t); ok {
			return before, nil
		}
		one, otherErr := clockOf([]string{t}, c.location, false)
		if otherErr != nil || one.other != "" || one.unit != text {
			return time.Time{}, fmt.Errorf("time: got %q, want it as %s", clip(t), pattern(c.layout))
		}
		if at, err = one.parse(t); err != nil {
			return time.Time{}, err
		}
	}
	if c.zoned {
		if at, err = abbreviated(at); err != nil {
			return time.Time{}, fmt.Errorf("time: got %q: %w", clip(t), err)
		}
	}
	if !c.zoned && c.location != time.UTC {
		at = c.second(at)
	}
	if at.Before(earliest) || at.After(latest) {
		return time.Time{}, fmt.Errorf("time: got %q, want a time between the years 1678 and 2262", clip(t))
	}
	return at.In(c.location), nil
}

// zones are the hours east of UTC that abbreviations stand for: those of RFC 5322, section 4.3, but for CST, which is
// China's as well, and those of Europe and the east that no two places share.
var zones = map[string]float64{
	"UTC": 0, "GMT": 0, "UT": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9, "HKT": 8,
	"EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}

// abbreviated puts a time right whose zone is an abbreviation that is not of the location: package time takes it for one
// at UTC.
func abbreviated(at time.Time) (time.Time, error) {
	name, offset := at.Zone()
	if offset != 0 || name == "" || name == "UTC" || at.Location().String() != name {
		return at, nil
	}
	hours, ok := zones[name]
	if !ok {
		return at, fmt.Errorf("the zone %s may be several: write the times with an offset, or without %s and with --timezone", name, name)
	}
	return at.Add(-time.Duration(hours * float64(time.Hour))), nil
}

// midnight reads the 24:00 at the end of a day, which is 0:00 of the next.
func (c *clock) midnight(t string) (time.Time, bool) {
	whole := strings.Replace(t, "24:00", "00:00", 1)
	at, err := time.ParseInLocation(c.layout, whole, c.location)
	if whole == t || err != nil || at.Hour() != 0 || at.Minute() != 0 {
		return time.Time{}, false
	}
	return at.AddDate(0, 0, 1), true
}

// second tells the two times apart that a local time has when clocks are set back: it is the earlier one, unless that
// would run backwards.
func (c *clock) second(at time.Time) time.Time {
	same := func(other time.Time) bool { return other.Hour() == at.Hour() && other.Minute() == at.Minute() }
	earlier, later := at, at
	if t := at.Add(-time.Hour); same(t) {
		earlier = t
	}
	if t := at.Add(time.Hour); same(t) {
		later = t
	}
	if at = earlier; earlier.Before(c.last) {
		at = later
	}
	c.last = at
	return at
}

func (c *clock) number(t string) (time.Time, error) {
	v, ok := epoch(t)
	if !ok {
		return time.Time{}, fmt.Errorf("time: got %q, want a number as in the other rows", clip(t))
	}
	if c.unit == excel { // six digits are a tenth of a second: what is that near to a whole second is one
		ms := math.Round(v * 86400e3)
		if whole := math.Round(ms/1e3) * 1e3; math.Abs(ms-whole) <= 100 {
			ms = whole
		}
		day := time.Date(1899, time.December, 30, 0, 0, 0, 0, c.location)
		return day.AddDate(0, 0, int(ms/86400e3)).Add(time.Duration(math.Mod(ms, 86400e3)) * time.Millisecond).UTC(), nil
	}
	if c.scale != 0 {
		if ns := v * c.scale * 1e9; math.Abs(ns) < math.MaxInt64 {
			return time.Unix(0, int64(math.Round(ns))).UTC(), nil
		}
		return time.Time{}, fmt.Errorf("time: got %q, want less than 292 years from the start", clip(t))
	}
	scale := map[unit]int64{seconds: 1, milliseconds: 1e3, microseconds: 1e6, nanoseconds: 1e9}[c.unit]
	if math.Abs(v)/float64(scale) >= 9.2e9 {
		return time.Time{}, fmt.Errorf("time: got %q, want a time between the years 1678 and 2262", clip(t))
	}
	whole, fraction, _ := strings.Cut(strings.Replace(t, ",", ".", 1), ".")
	// Nine digits of a fraction are kept; a float64 would keep six.
	n, whole1 := integer(whole)
	if strings.ContainsAny(fraction, "eE") { // 1.7723e+09: not cut behind the ninth digit
		whole1 = false
	}
	part, whole2 := integer((fraction + "000000000")[:9])
	if !whole1 || !whole2 { // with an exponent
		whole, fraction := math.Modf(v / float64(scale))
		return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), nil
	}
	if strings.HasPrefix(whole, "-") {
		part = -part
	}
	return time.Unix(n/scale, n%scale*(1e9/scale)+part/scale).UTC(), nil
}

func integer(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// tokens of patterns as people write them, and of Go's layouts; longer ones first.
var tokens = [...][2]string{
	{"YYYY", "2006"}, {"yyyy", "2006"}, {"MMM", "Jan"}, {"MM", "1"}, {"DD", "2"}, {"dd", "2"}, {"YY", "06"}, {"yy", "06"},
	{"HH", "15"}, {"hh", "15"}, {"mm", "04"}, {"ss", "05"}, {"SS", "05"}, {"AM", "PM"}, {"am", "PM"}, {"Z", "Z07:00"}, {"M", "1"}, {"D", "2"}, {"d", "2"},
}

// strftime directives, as many tools take them.
var strftime = strings.NewReplacer("%Y", "2006", "%m", "1", "%d", "2", "%y", "06", "%H", "15", "%M", "04", "%S", "05", "%f", "000000",
	"%z", "-0700", "%b", "Jan", "%I", "3", "%p", "PM", "%%", "%")

// layoutOf is Go's layout for a format: one of Go's own (with 2006 in it), strftime's (%d.%m.%Y) or DD.MM.YYYY hh:mm:ss.
func layoutOf(format string) (string, error) {
	var layout strings.Builder
	switch {
	case strings.Contains(format, "2006") || strings.Contains(format, "06"):
		return format, nil
	case strings.Contains(format, "%"):
		layout.WriteString(strftime.Replace(format))
	default:
	next:
		for rest := format; rest != ""; {
			for _, t := range tokens {
				if after, ok := strings.CutPrefix(rest, t[0]); ok {
					rest = after
					layout.WriteString(t[1])
					continue next
				}
			}
			layout.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	l := layout.String()
	if strings.Contains(l, "PM") {
		l = strings.Replace(l, "15", "3", 1)
	}
	if strings.Contains(l, "06") {
		return l, nil
	}
	return "", fmt.Errorf("--time-format: got %q, want one such as DD.MM.YYYY hh:mm:ss, %%d.%%m.%%Y %%H:%%M:%%S, or 02.01.2006 15:04:05", format)
}

// pattern is a layout as people write it.
func pattern(layout string) string {
	return strings.NewReplacer("2006", "YYYY", "06", "YY", "January", "month", "Jan", "MMM", "15", "hh", "04", "mm", "05", "ss", "3:", "hh:", "PM", "AM",
		"Z07:00", "Z", "-0700", "±hhmm", "-07", "±hh", "Monday", "weekday", "Mon", "weekday", "MST", "zone", "1", "MM", "2", "DD").Replace(layout)
}

// clip shortens a text for a message.
func clip(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
