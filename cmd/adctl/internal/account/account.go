// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package account makes one account of what several detectors say of one recording: incidents of single columns and of
// the group that overlap in time are one, with all columns that are to blame.
package account

import (
	"cmp"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Said is what one detector says of a row.
type Said struct {
	By      string // what tells it from others: a column, or the group
	Columns []string
	replay.Outcome
}

// Row is what all of them say of a row.
type Row struct {
	Score, Onset float64 // the greatest; NaN where nobody judged
	Severity     driver.Severity
	Kind         driver.Kind // of the worst
	Blamed       []string    // columns, the worst first; of a row that nobody judged, those that it lacks

	Expected, Lower, Upper float64 // of the worst

	Incident driver.Incident // the account that the row is part of, or that it ended; the zero value is none
	Why      string          // that account, in words
}

// Incident is one account.
type Incident struct {
	driver.Incident          // as it was told last
	Series          string   // "" where all rows are of one
	First           int      // number of the first row that was told to be in it, from 0
	Readings        int      // rows in it
	Blamed          []string // columns, the one with the highest score first
	By              []string // whose incidents it is made of, in the order in which they began
	Why             string   // in words: what the one whose kind is told said of its worst reading, of equals the last

	open   map[string]bool    // whose incident lasts
	scores map[string]float64 // of columns
	worst  string             // whose kind is told
	peak   float64            // score of the reading that Why is of
}

// Book gathers the accounts of a recording, in the order in which they began. The zero value is ready for use.
type Book struct {
	Done []Incident

	rows    int
	current map[string]int // number of the one that is open, by series
}

// Merge makes one verdict of what is said of the next row of a series. said is put in another order.
func (b *Book) Merge(series string, at time.Time, said []Said) Row {
	n := b.rows
	b.rows++
	row := Row{}
	nan := replay.Unjudged()
	row.Score, row.Onset, row.Expected, row.Lower, row.Upper = nan.Score, nan.Onset, nan.Expected, nan.Lower, nan.Upper
	if len(said) > 1 {
		slices.SortStableFunc(said, func(x, y Said) int {
			return cmp.Or(cmp.Compare(y.Severity, x.Severity), cmp.Compare(y.Score, x.Score))
		})
	}
	for i := range said {
		s := &said[i]
		row.Score, row.Onset = greater(row.Score, s.Score), greater(row.Onset, s.Onset)
		if i == 0 {
			row.Severity, row.Kind = s.Severity, s.Kind
			row.Expected, row.Lower, row.Upper = s.Expected, s.Lower, s.Upper
		}
		if !s.Severity.Anomalous() && (row.Severity != driver.Unknown || s.Severity != driver.Unknown) {
			continue
		}
		for _, c := range s.Columns {
			if !slices.Contains(row.Blamed, c) {
				row.Blamed = append(row.Blamed, c)
			}
		}
	}
	for i := range said {
		if told := b.take(n, series, at, &said[i]); told != nil && (row.Incident.ID == 0 || told.Phase.Open()) {
			row.Incident = told.Incident
		}
	}
	if k, ok := b.current[series]; ok && row.Incident.ID != 0 { // one row counts once, whoever is in an incident
		a := &b.Done[k]
		a.Readings++
		a.End = at // so far
		row.Incident, row.Why = a.Incident, a.Why
		if a.First == n {
			row.Incident.Phase = driver.Began
		}
	}
	return row
}

// take notes what is said of an incident, or of none. It returns the account that this is news of, nil for none.
func (b *Book) take(n int, series string, at time.Time, s *Said) *Incident {
	of, ok := b.current[series]
	lasts := s.Incident.ID != 0 && s.Incident.Phase.Open()
	switch {
	case !ok && !lasts, s.Incident.ID == 0 && s.Severity == driver.Unknown: // of a reading that was held back nothing is said
		return nil
	case !ok:
		if b.current == nil {
			b.current = make(map[string]int)
		}
		of = len(b.Done)
		b.current[series] = of
		b.Done = append(b.Done, Incident{
			Incident: s.Incident, Series: series, First: n, open: make(map[string]bool), scores: make(map[string]float64),
		})
	case !lasts && !b.Done[of].open[s.By]:
		return nil
	}
	a := &b.Done[of]
	if !lasts { // its end may not have been told, where a worse one was
		if delete(a.open, s.By); len(a.open) > 0 {
			return nil
		}
		delete(b.current, series)
		a.Phase, a.End = driver.Returned, at
		if s.Incident.ID != 0 {
			a.Phase, a.End = s.Incident.Phase, s.Incident.End
		}
		return a
	}
	a.open[s.By] = true
	if !slices.Contains(a.By, s.By) {
		a.By = append(a.By, s.By)
	}
	if s.Incident.Severity > a.Severity || s.Incident.Severity == a.Severity && (s.Incident.Score >= a.Score || a.Kind == driver.KindNone) {
		if a.Kind != s.Incident.Kind || a.worst != s.By {
			a.peak = 0
		}
		a.Severity, a.Kind, a.Cause, a.worst = s.Incident.Severity, s.Incident.Kind, s.Incident.Cause, s.By
	}
	if s.By == a.worst && s.Message != "" && !(s.Score < a.peak) {
		a.Why, a.peak = s.Message, greater(a.peak, s.Score)
		if len(s.Columns) == 1 && s.By == s.Columns[0] { // a group names its members itself
			a.Why = s.By + " " + a.Why
		}
	}
	a.Score = greater(a.Score, s.Incident.Score)
	a.Phase = driver.Lasts
	a.blame(s)
	return a
}

// blame keeps the columns in the order of their scores.
func (a *Incident) blame(s *Said) {
	if !s.Severity.Anomalous() {
		return
	}
	for rank, c := range s.Columns {
		score := s.Score
		if !(score >= 0) {
			score = 0
		}
		if rank > 0 { // a group blames the first one most
			score /= float64(1 + rank)
		}
		if old, ok := a.scores[c]; !ok || score > old {
			a.scores[c] = score
		}
		if !slices.Contains(a.Blamed, c) {
			a.Blamed = append(a.Blamed, c)
		}
	}
	slices.SortStableFunc(a.Blamed, func(x, y string) int { return cmp.Compare(a.scores[y], a.scores[x]) })
}

// greater is the greater of two, whichever is a number.
func greater(a, b float64) float64 {
	if !(b <= a) && b == b {
		return b
	}
	return a
}
