// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
)

// tick is a mark of an axis.
type tick struct {
	at   float64 // in units of the axis
	text string
}

// ticks are round numbers in a range: about so many, two at least where that is possible.
func ticks(lo, hi float64, most int) (marks []tick) {
	step := roundStep((hi - lo) / float64(most))
	digits := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+step*1e-9; k++ {
		v := k*step + 0 // never -0
		text := strconv.FormatFloat(v, 'f', digits, 64)
		if a := math.Abs(v); a >= 1e6 || digits > 6 {
			text = strconv.FormatFloat(v, 'g', 4, 64)
		}
		marks = append(marks, tick{v, text})
		if len(marks) > 2*most {
			break
		}
	}
	if len(marks) < 2 && most < 16 { // one mark tells no scale
		return ticks(lo, hi, 2*most)
	}
	return marks
}

// roundStep is the least of 1, 2 and 5 times a power of ten that is not under step.
func roundStep(step float64) float64 {
	if !(step > 0) || math.IsInf(step, 0) {
		return 1
	}
	base := math.Pow(10, math.Floor(math.Log10(step)))
	for _, f := range [...]float64{1, 2, 5} {
		if f*base >= step*(1-1e-9) {
			return f * base
		}
	}
	return 10 * base
}

var timeSteps = [...]time.Duration{
	time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 2 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day,
}

const day = 24 * time.Hour

// timeTicks are times that are round where they are shown, in a range of what is shown; when says when that is, and at is in
// Unix nanoseconds.
func timeTicks(from, to time.Time, most int, when func(shown time.Time) time.Time) (marks []tick) {
	span := to.Sub(from)
	step := max(timeSteps[len(timeSteps)-1], span/time.Duration(most))
	for _, s := range timeSteps {
		if span/s <= time.Duration(most) {
			step = s
			break
		}
	}
	layout := "15:04:05.000"
	switch {
	case step >= day:
		layout = "2 Jan 2006"
	case step >= time.Minute && span > day:
		layout = "2 Jan 15:04"
	case step >= time.Minute:
		layout = "15:04"
	case step >= time.Second:
		layout = "15:04:05"
	}
	for t := from.Truncate(step); !t.After(to); t = t.Add(step) {
		if !t.Before(from) {
			marks = append(marks, tick{float64(when(t).UnixNano()), t.Format(layout)})
		}
	}
	return marks
}

// scoreTicks are the scores that are worth a mark.
func scoreTicks() (marks []tick) {
	for _, s := range [...]string{"0", "0.9", "0.99", "0.999", "0.9999", "0.99999"} {
		v, err := strconv.ParseFloat(s, 64)
		if err == nil {
			marks = append(marks, tick{verdict.Rarity(v), s})
		}
	}
	return append(marks, tick{verdict.Rarest, "1"})
}

// padded widens a range a little; one that is empty gets some room.
func padded(e extent) (lo, hi float64) {
	switch {
	case !e.some:
		return 0, 1
	case e.lo == e.hi:
		room := max(math.Abs(e.lo)*0.05, 0.5)
		return e.lo - room, e.hi + room
	}
	lo, hi = e.lo-(e.hi-e.lo)*0.06, e.hi+(e.hi-e.lo)*0.06
	if math.IsInf(hi-lo, 0) { // numbers at the very ends
		return e.lo, e.hi
	}
	return lo, hi
}

// number shows a number to a few digits.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }

// duration shows a span of time by its two largest units.
func duration(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return strconv.FormatFloat(d.Seconds(), 'g', 3, 64) + " s"
}
