// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// PolicyConfig tells which anomalies are of interest, whatever detector finds them.
type PolicyConfig struct {
	Sensitivity  string   `param:"sensitivity" enum:"low,medium,high" doc:"sets the threshold to 0.98, 0.95 or 0.90: a false alarm in 125,000, 8,000 or 1,000 readings; a threshold of its own wins"`
	Alarms       Alarms   `param:"alarms" doc:"false alarms of the property in a time, such as 1/week, 3/day or 1/month, instead of sensitivity: sets the threshold by the cadence of readings (quality.cycle, the report cycle or, then no lower than sensitivity has it, as it is seen); a threshold of its own wins"`
	Direction    string   `param:"direction" enum:"up,down,both" doc:"only readings over (up) or under (down) what was expected are anomalous; what stands still or has a wrong state is in any case"`
	MinDeviation float64  `param:"minDeviation" min:"0" max:"1e30" doc:"readings that deviate from what was expected by less than this, in units of the property, are not anomalous; what stands still or has a wrong state is in any case"`
	Mute         []string `param:"mute" doc:"maintenance windows for incidents, such as \"22:00-06:00\", \"Sat-Sun\" or \"Mon-Fri 12:00-12:30\": none begins to be told in them; what still lasts when they end is told then"`
	Timezone     string   `param:"timezone" doc:"time zone of the maintenance windows, an IANA name"`
	Clear        int      `param:"clear" min:"1" max:"100000" doc:"normal readings in a row after which an incident is over, for detectors that do not tell themselves when a stream is back"`
}

// DefaultPolicy returns the built-in defaults.
func DefaultPolicy() PolicyConfig { return PolicyConfig{Direction: "both", Timezone: "UTC", Clear: 3} }

// Threshold is the threshold that the sensitivity stands for, 0 where it is not set.
func (c *PolicyConfig) Threshold() float64 { return thresholds[c.Sensitivity] }

var thresholds = map[string]float64{"low": 0.98, "medium": driver.DefaultThreshold, "high": 0.90}

// Policy is a PolicyConfig made ready for use. It is immutable.
type Policy struct {
	up, down     bool
	minDeviation float64
	clear        int
	windows      []window
	location     *time.Location
}

// NewPolicy checks c. All errors are joined, each a [params.Error] with its key.
func NewPolicy(c *PolicyConfig) (*Policy, error) {
	p := &Policy{up: c.Direction != "down", down: c.Direction != "up", minDeviation: c.MinDeviation, clear: c.Clear}
	var errs []error
	var err error
	if p.location, err = time.LoadLocation(c.Timezone); err != nil {
		want := "an IANA time zone, such as UTC or Europe/Berlin"
		if _, err := time.LoadLocation("Europe/Berlin"); err != nil {
			want = "UTC, as this system has no time zones: install tzdata, or have the program import time/tzdata"
		}
		errs = append(errs, &params.Error{Key: "timezone", Value: c.Timezone, Want: want})
	}
	for _, text := range c.Mute {
		w, err := parseWindow(text)
		if err != nil {
			errs = append(errs, &params.Error{Key: "mute", Value: text, Want: err.Error()})
		}
		p.windows = append(p.windows, w)
	}
	return p, errors.Join(errs...)
}

// Apply makes an anomaly that is of no interest normal, for those who take verdicts one by one. The score stays as it is.
func (p *Policy) Apply(r *driver.Result) {
	if r.Severity.Anomalous() && (!p.begins(r) || p.muted(r.At)) {
		r.Severity, r.Kind = driver.Normal, driver.KindNone
	}
}

// begins reports whether an anomaly is of interest, so that an incident may begin with it.
func (p *Policy) begins(r *driver.Result) bool {
	deviation, known := deviationOf(r)
	switch {
	case !known || shapeless(r.Kind):
		return true
	case deviation > 0 && !p.up || deviation < 0 && !p.down:
		return false
	}
	return math.Abs(deviation) >= p.minDeviation
}

// holds reports whether an anomaly holds an incident open. Where it is not about how high a single reading is, a reading
// that lies well is no sign that it is over.
func (p *Policy) holds(r *driver.Result) bool {
	switch r.Kind {
	case driver.KindNoise, driver.KindPattern, driver.KindCorrelation, driver.KindCausal:
		return true
	}
	return p.begins(r)
}

// muted reports whether nothing begins at a time.
func (p *Policy) muted(at time.Time) bool {
	if len(p.windows) == 0 {
		return false
	}
	at = at.In(p.location)
	return slices.ContainsFunc(p.windows, func(w window) bool { return w.contains(at) })
}

// shapeless anomalies are not about how far a reading is from what was expected: it is just that which stands still where
// it should not, or comes when it should not.
func shapeless(k driver.Kind) bool {
	switch k {
	case driver.KindFreeze, driver.KindState, driver.KindMissing, driver.KindLate, driver.KindDuplicate, driver.KindOutOfOrder,
		driver.KindInvalid, driver.KindStuckClock, driver.KindDesired, driver.KindFailed:
		return true
	}
	return false
}

// deviationOf is how far a reading is from what was expected. It is not known for verdicts that are not about how high
// a reading is.
func deviationOf(r *driver.Result) (deviation float64, known bool) {
	switch {
	case r.Key.Property == "" || math.IsNaN(r.Value):
		return 0, false
	case !math.IsNaN(r.Expected):
		return r.Value - r.Expected, true
	case r.Value > r.Upper:
		return r.Value - r.Upper, true
	case r.Value < r.Lower:
		return r.Value - r.Lower, true
	}
	return 0, false
}

// window is a part of the day on some days of the week. It belongs to the day on which it begins, also where it ends on
// the next.
type window struct {
	days     [7]bool // Sunday first, as in package time
	from, to int     // minutes since midnight; to is greater than from, and over 24 h where the window ends the next day
}

const day = 24 * 60

func (w window) contains(t time.Time) bool {
	minute := t.Hour()*60 + t.Minute()
	today := t.Weekday()
	yesterday := (today + 6) % 7
	return w.days[today] && minute >= w.from && minute < w.to ||
		w.days[yesterday] && minute+day >= w.from && minute+day < w.to
}

var errWindow = errors.New(`a window such as "22:00-06:00", "Sat-Sun" or "Mon-Fri 12:00-12:30"`)

// parseWindow reads `[DAY[-DAY]] [HH:MM-HH:MM]`; one of the two parts may be left out.
func parseWindow(text string) (window, error) {
	w := window{to: day}
	for i := range w.days {
		w.days[i] = true
	}
	days, hours, both := strings.Cut(strings.TrimSpace(text), " ")
	if !both && strings.Contains(days, ":") {
		days, hours = "", days
	}
	if days == "" && hours == "" {
		return w, errWindow
	}
	if days != "" {
		first, last, isRange := strings.Cut(days, "-")
		a, err := parseDay(first)
		if err != nil {
			return w, err
		}
		b := a
		if isRange {
			if b, err = parseDay(last); err != nil {
				return w, err
			}
		}
		w.days = [7]bool{}
		for d := a; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == b {
				break
			}
		}
	}
	if hours = strings.TrimSpace(hours); hours != "" {
		from, to, ok := strings.Cut(hours, "-")
		if !ok {
			return w, errWindow
		}
		var err error
		if w.from, err = parseMinute(from); err != nil {
			return w, err
		}
		if w.to, err = parseMinute(to); err != nil {
			return w, err
		}
		if w.to <= w.from {
			w.to += day
		}
	}
	return w, nil
}

func parseDay(text string) (int, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if len(text) >= 3 && strings.HasPrefix(strings.ToLower(d.String()), strings.ToLower(text)) {
			return int(d), nil
		}
	}
	return 0, fmt.Errorf("%q to be a day of the week, such as Mon", text)
}

func parseMinute(text string) (int, error) {
	if text == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q to be a time of day, such as 22:00", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}
