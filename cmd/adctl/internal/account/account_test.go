// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/account"
	"github.com/kubeedge/edge-anomaly/driver"
)

var start = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// told is what a column says in a row: . nothing, a letter that it is in an incident, in capitals a critical one,
// _ that the reading was held back.
func told(by string, number uint64, c byte) account.Said {
	nan := math.NaN()
	s := account.Said{By: by, Outcome: replay.Outcome{Score: 0.1, Onset: nan, Severity: driver.Normal, Expected: nan, Lower: nan, Upper: nan}}
	switch {
	case c == '_':
		s.Score, s.Severity, s.Kind = nan, driver.Unknown, driver.KindDuplicate
	case c != '.':
		s.Columns = []string{by}
		s.Score, s.Severity, s.Kind = 0.96, driver.Warning, driver.KindSpike
		if c < 'a' {
			s.Score, s.Severity, s.Kind = 0.99, driver.Critical, driver.KindLevel
		}
		s.Incident = driver.Incident{ID: number, Phase: driver.Lasts, Start: start, Severity: s.Severity, Kind: s.Kind, Score: s.Score}
	}
	return s
}

// Incidents of columns that overlap are one account, which ends with the last of them and names the worst column first.
func TestIncidentsThatOverlapAreOne(t *testing.T) {
	for name, c := range map[string]struct{ a, b, want string }{
		"nothing":         {"......", "......", ""},
		"one":             {"..xx..", "......", "2+2 spike a"},
		"both at once":    {"..xx..", "..xX..", "2+2 level b,a"},
		"one after other": {".xx...", "....x.", "1+2 spike a; 4+1 spike b"},
		"a chain":         {".xxx..", "...xx.", "1+4 spike a,b"},
		"held back":       {".x_x..", "......", "1+2 spike a"},
		"to the end":      {"....xx", "......", "4+2 spike a"},
	} {
		var book account.Book
		for i := range len(c.a) {
			row := book.Merge("", start.Add(time.Duration(i)*time.Minute), []account.Said{told("a", 1, c.a[i]), told("b", 2, c.b[i])})
			if open := row.Incident.Phase.Open() && row.Incident.ID != 0; open != row.Severity.Anomalous() {
				t.Errorf("%s: row %d is %v, in an incident %v", name, i, row.Severity, open)
			}
		}
		var got []string
		for _, a := range book.Done {
			got = append(got, fmt.Sprintf("%d+%d %s %s", a.First, a.Readings, a.Kind, strings.Join(a.Blamed, ",")))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

// Series do not know of each other.
func TestSeriesAreApart(t *testing.T) {
	var book account.Book
	for i := range 3 {
		at := start.Add(time.Duration(i) * time.Minute)
		book.Merge("x", at, []account.Said{told("a", 1, 'x')})
		book.Merge("y", at, []account.Said{told("a", 2, "x.."[i])})
	}
	if len(book.Done) != 2 || book.Done[0].Series != "x" || book.Done[0].Readings != 3 || book.Done[1].Readings != 1 || book.Done[1].Phase != driver.Returned {
		t.Errorf("%+v", book.Done)
	}
}
