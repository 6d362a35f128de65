// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package incidents_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
)

var key = driver.Key{Namespace: "default", Device: "light-1", Property: "power"}

// verdicts reads a story: a verdict a word, each a minute after the one before. 1+ begins incident 1, 1 is of it, 1! makes
// it worse, 1~ refines its kind, 1- is its return, 1= its acceptance; n is normal, u unknown, w a warning of no incident.
func verdicts(story string) (out []driver.Result) {
	began := make(map[uint64]time.Time)
	for i, word := range strings.Fields(story) {
		r := driver.Result{Key: key, At: time.Unix(int64(60*i), 0), Severity: driver.Warning, Kind: driver.KindLevel, Score: 0.97}
		number, suffix := word[:1], word[1:]
		switch number {
		case "n":
			r.Severity, r.Kind = driver.Normal, driver.KindNone
		case "u":
			r.Severity, r.Kind = driver.Unknown, driver.KindFailed
		case "w":
		default:
			id, _ := strconv.ParseUint(number, 10, 64)
			if began[id].IsZero() {
				began[id] = r.At
			}
			r.Incident = driver.Incident{ID: id, Phase: driver.Lasts, Start: began[id], Severity: driver.Warning, Kind: driver.KindLevel, Score: 0.97}
		}
		switch suffix {
		case "+":
			r.Incident.Phase = driver.Began
		case "!":
			r.Severity, r.Incident.Severity = driver.Critical, driver.Critical
		case "~":
			r.Kind, r.Incident.Kind = driver.KindDrift, driver.KindDrift
		case "-", "=":
			r.Severity, r.Kind = driver.Normal, driver.KindNone
			r.Incident.Phase, r.Incident.End = driver.Returned, r.At
			if suffix == "=" {
				r.Incident.Phase = driver.NewNormal
			}
		}
		out = append(out, r)
	}
	return out
}

// tell writes what the book makes of a story: +N began, ~N changed, -N:outcome ended.
func tell(b *incidents.Book, story string) string {
	var out []string
	for _, r := range verdicts(story) {
		n := b.Take(&r)
		if n.Ended.ID != 0 {
			out = append(out, "-"+strconv.FormatUint(n.Ended.ID, 10)+":"+n.Ended.Phase.String())
			if n.Ended.End.Before(n.Ended.Start) {
				out = append(out, "ends before it starts")
			}
		}
		switch id := strconv.FormatUint(n.Now.ID, 10); {
		case n.Began:
			out = append(out, "+"+id)
		case n.Changed:
			out = append(out, "~"+id)
		}
	}
	return strings.Join(out, " ")
}

func TestBook(t *testing.T) {
	for _, c := range []struct{ name, story, want string }{
		{"one that returns", "n 1+ 1 1 1- n n", "+1 -1:returned"},
		{"one that is accepted", "n 1+ 1 1= n", "+1 -1:newNormal"},
		{"it gets worse once", "1+ 1! 1! 1-", "+1 ~1 -1:returned"},
		{"its kind is refined", "1+ 1~ 1~ 1-", "+1 ~1 -1:returned"},
		{"its beginning was not heard", "1 1 1-", "+1 -1:returned"},
		{"its end was not heard", "1+ 1 n n", "+1 -1:returned"},
		{"nothing but its end was heard", "n 1- n", "-1:returned"},
		{"its end is heard twice", "1+ 1- 1- n", "+1 -1:returned"},
		{"the next one follows at once", "1+ 1 2+ 2-", "+1 -1:abandoned +2 -2:returned"},
		{"it and all of the next but its end were not heard", "1+ 2- n", "+1 -1:abandoned"},
		{"its detector is away meanwhile", "1+ u u 1 1-", "+1 -1:returned"},
		{"verdicts that are of none", "n w w n w", ""},
		{"nothing ever", "n u n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tell(incidents.NewBook(10), c.story); got != c.want {
				t.Errorf("%s: got %q, want %q", c.story, got, c.want)
			}
		})
	}
}

func TestBookOfAnEarlierProcess(t *testing.T) {
	b := incidents.NewBook(10)
	b.Restore(key, driver.Incident{
		ID: 1, Phase: driver.Lasts, Start: time.Unix(-3600, 0), Severity: driver.Warning, Kind: driver.KindLevel,
	})
	if got := tell(b, "u 1 1-"); got != "-1:returned" {
		t.Errorf("the incident goes on: %q", got)
	}
	b = incidents.NewBook(10)
	b.Restore(key, driver.Incident{ID: 1, Phase: driver.Lasts})
	if got := tell(b, "u n"); got != "-1:returned" {
		t.Errorf("it ended meanwhile: %q", got)
	}
}

func TestForget(t *testing.T) {
	b := incidents.NewBook(10)
	tell(b, "1+ 1")
	open := 0
	b.Open(func(k driver.Key, i driver.Incident) {
		if open++; k != key || i.ID != 1 {
			t.Errorf("open: %v %+v", k, i)
		}
	})
	at := time.Unix(999, 0)
	if i := b.Forget(key, at); open != 1 || i.ID != 1 || i.Phase != driver.Abandoned || !i.End.Equal(at) {
		t.Errorf("%d open, forgotten: %+v", open, i)
	}
	if i := b.Forget(key, at); i.ID != 0 {
		t.Errorf("forgotten twice: %+v", i)
	}
}

// Memory is bounded by the number of properties, whatever happens to them.
func TestBookIsBounded(t *testing.T) {
	b := incidents.NewBook(3)
	for i := range 100 {
		r := driver.Result{Key: driver.Key{Device: strconv.Itoa(i)}, Severity: driver.Warning}
		r.Incident = driver.Incident{ID: uint64(i + 1), Phase: driver.Began}
		if n := b.Take(&r); !n.Began {
			t.Fatalf("incident %d was not told", i)
		}
	}
	n := 0
	b.Open(func(driver.Key, driver.Incident) { n++ })
	if n != 3 {
		t.Errorf("%d are kept, want 3", n)
	}
}
