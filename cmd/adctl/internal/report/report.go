// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report shows a backtest: readings, the band that was expected, alerts, labels, and what each threshold would
// have cost. It takes rows one by one and holds a bounded summary of them, in which every extreme is kept, and makes of
// it one HTML file that needs nothing else, or a picture.
package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// Info says what was tried on what.
type Info struct {
	Input     string // name of the recording
	Detector  string
	Model     string // file of the trained model, "" for none
	Threshold float64
	Settings  []string    // as key=value
	Members   []string    // names of the properties; one where readings are scored alone
	Units     []string    // of the members; "" for none, nil where none has one
	Labelled  bool        // the recording says what is anomalous
	AsWritten bool        // its times are of a clock that nobody says the zone of
	Timezone  string      // of that clock; "" for UTC
	Counts    input.Count // what stands for times that are none
}

// Zone names what times are in, after a word.
func (i *Info) Zone() string {
	switch {
	case i.AsWritten || i.Counts != input.NoCount:
		return ""
	case i.Timezone != "":
		return " (" + i.Timezone + ")"
	}
	return " (UTC)"
}

// Axis is what an axis of times shows.
func (i *Info) Axis() string {
	switch i.Counts {
	case input.Rows:
		return "row"
	case input.Seconds:
		return "s from the start"
	}
	return "time" + i.Zone()
}

// Value is a reading of a member: a number, or a text where Number is NaN. Neither is a reading that was not made.
type Value struct {
	Number float64
	Text   string
}

// Row is what was read at one time, and what became of it.
type Row struct {
	At       time.Time
	Values   []Value // one of each member
	Score    float64 // of the detector; NaN where it did not judge
	Severity driver.Severity
	Kind     driver.Kind
	Blamed   []string // names of members, ranked

	Expected, Lower, Upper float64 // of the one member; NaN where there is no forecast

	Incident driver.Incident // that the row is part of, or ended; the zero value is none
	Why      string          // that incident, in words

	Label bool // the recording says that it is anomalous
}

// Run is a backtest that is under way. It is not safe for concurrent use.
type Run struct {
	info       Info
	rows       int
	judged     int
	anomalous  int
	first      time.Time
	last       time.Time
	bins       *bins
	categories []categories // of each member
	incidents  replay.Incidents
	blamed     []map[string]int  // of each incident
	why        map[uint64]string // of incidents, by their numbers
	tried      []Cost            // by threshold; nil where none were
	long       bool              // only LongThresholds were tried on all of it
	truth      *replay.Truth
	clock      wallClock
}

// New begins a report.
func New(info Info) *Run {
	members := max(len(info.Members), 1)
	return &Run{
		info: info, bins: newBins(members), categories: make([]categories, members),
		truth: new(replay.Truth), clock: wallClock{counts: info.Counts}, why: make(map[uint64]string),
	}
}

// Add takes the next row. It keeps nothing of it.
func (r *Run) Add(row *Row) {
	if r.rows++; r.rows == 1 {
		r.first, r.last = row.At, row.At
	}
	if row.At.Before(r.first) {
		r.first = row.At
	} else if row.At.After(r.last) {
		r.last = row.At
	}
	r.clock.see(row.At)
	anomalous := row.Severity.Anomalous()
	if anomalous {
		r.anomalous++
	}
	if !math.IsNaN(row.Score) {
		r.judged++
	}
	for i := range row.Values {
		if v := &row.Values[i]; math.IsNaN(v.Number) && v.Text != "" {
			v.Number = r.categories[i].index(v.Text)
		}
	}
	bin := r.bins.add(row, row.Label)
	if r.incidents.Add(row.At, row.Incident) {
		r.blamed = append(r.blamed, make(map[string]int))
	}
	if row.Why != "" {
		r.why[row.Incident.ID] = row.Why
	}
	if anomalous {
		for _, name := range row.Blamed {
			if m := slices.Index(r.info.Members, name); m >= 0 {
				r.bins.blamed[m][bin] = true
			}
		}
		if n := len(r.blamed); n > 0 && len(row.Blamed) > 0 && row.Incident.Phase.Open() {
			r.blamed[n-1][row.Blamed[0]]++
		}
	}
	r.truth.Add(row.At, row.Label, row.Incident)
}

// Tried takes what runs of the same rows at other thresholds led to, in a long recording at LongThresholds. That of this
// run is known.
func (r *Run) Tried(costs []Cost, long bool) {
	r.long = long
	r.tried = append(slices.Clone(costs), CostOf(r.info.Threshold, r.truth))
	slices.SortStableFunc(r.tried, func(a, b Cost) int { return cmp.Compare(a.Threshold, b.Threshold) })
}

// unit is that of a member, "" where it is not known.
func (r *Run) unit(member int) string {
	if member < len(r.info.Units) {
		return r.info.Units[member]
	}
	return ""
}

// axisTitle is what the axis of a member's readings shows.
func (r *Run) axisTitle(member int) string {
	name := clip(r.memberName(member), 24)
	if len(r.categories[member].names) > 0 {
		return name + ", state"
	}
	if unit := r.unit(member); unit != "" && !strings.Contains(name, unit) {
		return name + " in " + unit
	}
	return name
}

// byBlame are the numbers of the members, those first that are to blame in the most spans of time.
func (r *Run) byBlame() []int {
	order, blamed := make([]int, len(r.bins.readings)), make([]int, len(r.bins.readings))
	for m := range order {
		order[m] = m
		for _, is := range r.bins.blamed[m] {
			if is {
				blamed[m]++
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(blamed[b], blamed[a]) })
	return order
}

// blame names the member that most readings of an incident blame first, "" where nobody is blamed.
func (r *Run) blame(incident int) string {
	best := ""
	for name, n := range r.blamed[incident] {
		if b := r.blamed[incident][best]; n > b || n == b && name < best {
			best = name
		}
	}
	return best
}

// per is what rates are told of, and how much of it the recording has; at least an hour, so that rates of short ones stay
// readable.
func (r *Run) per() (name string, much float64) {
	if r.info.Counts == input.Rows {
		return "in 1,000 rows", max(float64(r.rows), 100) / 1000
	}
	return "a day", max(r.last.Sub(r.first), time.Hour).Hours() / 24
}

// span is how long the recording is, for people.
func (r *Run) span() string {
	if r.info.Counts == input.Rows {
		return fmt.Sprint(r.rows, " rows")
	}
	return duration(r.last.Sub(r.first))
}

// worst are the numbers of the worst incidents, in the order of time.
func (r *Run) worst(most int) []int {
	order := make([]int, len(r.incidents.Done))
	for i := range order {
		order[i] = i
	}
	if len(order) > most {
		slices.SortStableFunc(order, func(i, j int) int {
			a, b := &r.incidents.Done[i], &r.incidents.Done[j]
			return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Readings, a.Readings), cmp.Compare(b.Score, a.Score))
		})
		order = order[:most]
		slices.Sort(order)
	}
	return order
}

// categories are the texts of a member, in the order in which they appeared.
type categories struct {
	names []string
	known map[string]int
}

// mostCategories is how many texts are told apart; all others are the last one.
const mostCategories = 32

func (c *categories) index(text string) float64 {
	if i, ok := c.known[text]; ok {
		return float64(i)
	}
	if len(c.names) == mostCategories {
		return mostCategories
	}
	if c.known == nil {
		c.known = make(map[string]int)
	}
	c.known[text] = len(c.names)
	c.names = append(c.names, text)
	return float64(len(c.names) - 1)
}
