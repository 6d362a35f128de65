// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package incidents is what sinks share that tell of incidents. A sink sees some of the verdicts: not those that a later
// one replaced while it was slow, nor those before it started. A [Book] keeps the incident that is open of each property,
// so that a sink tells of the beginning and the end of each once, whichever verdicts reached it.
package incidents

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Book holds the open incident of each property, as the last verdict told it. Its memory is bounded by the number of
// properties. It is not safe for concurrent use.
type Book struct {
	most  int
	known map[driver.Key]driver.Incident // open, or the last one that ended
}

// NewBook makes a book for incidents of at most so many properties. Those of more are told as they come: each verdict
// begins one.
func NewBook(most int) *Book { return &Book{most: most, known: make(map[driver.Key]driver.Incident)} }

// News is what a verdict adds to what was known of its property.
type News struct {
	Began   bool            // Now was not known
	Changed bool            // its kind or cause is another, or it got worse
	Now     driver.Incident // that is open after the verdict; the zero value is none
	Ended   driver.Incident // that is over since the verdict; the zero value is none
}

// News says what a verdict adds, without taking it over. An incident of which the end was not heard ended with the verdict:
// as returned where that is normal, as abandoned where it is of another incident. A verdict that is unknown ends nothing.
func (b *Book) News(r *driver.Result) News {
	n, _ := b.news(r)
	return n
}

// Take takes a verdict over, and says what it adds.
func (b *Book) Take(r *driver.Result) News {
	n, is := b.news(r)
	if is.ID != 0 {
		if _, known := b.known[r.Key]; known || len(b.known) < b.most {
			b.known[r.Key] = is
		}
	}
	return n
}

// news returns beside the news what is to be known; the zero value is what was.
func (b *Book) news(r *driver.Result) (n News, is driver.Incident) {
	was := b.known[r.Key]
	switch is = r.Incident; {
	case is.Phase.Open():
		n.Now, n.Began = is, was.ID != is.ID || !was.Phase.Open()
		n.Changed = !n.Began && (is.Severity > was.Severity || is.Kind != was.Kind || is.Cause != was.Cause)
		if was.Phase.Open() && was.ID != is.ID {
			n.Ended = end(was, driver.Abandoned, is.Start)
		}
	case is.ID != 0:
		switch {
		case was.Phase.Open() && was.ID != is.ID: // one was told as open, the other never
			n.Ended = end(was, driver.Abandoned, is.Start)
		case was.Phase.Open() || was.ID != is.ID:
			n.Ended = is
		}
	case was.Phase.Open() && r.Severity == driver.Normal:
		is = end(was, driver.Returned, r.At)
		n.Ended = is
	case was.Phase.Open():
		n.Now = was
	}
	return n, is
}

// Standing is how bad a property is, and of which kind: as its incident says while that lasts, whatever is known of the
// reading of this verdict alone.
func Standing(r *driver.Result) (driver.Severity, driver.Kind) {
	if i := &r.Incident; i.Phase.Open() {
		return max(r.Severity, i.Severity), i.Kind
	}
	return r.Severity, r.Kind
}

// Forget drops a property that is no longer watched, and returns its open incident, ended as abandoned; the zero value
// where there is none.
func (b *Book) Forget(key driver.Key, at time.Time) (ended driver.Incident) {
	if was := b.Of(key); was.ID != 0 {
		ended = end(was, driver.Abandoned, at)
	}
	delete(b.known, key)
	return ended
}

// Of is the open incident of a property; the zero value where there is none.
func (b *Book) Of(key driver.Key) driver.Incident {
	if i := b.known[key]; i.Phase.Open() {
		return i
	}
	return driver.Incident{}
}

// Restore makes an incident known that was open when an earlier process ended.
func (b *Book) Restore(key driver.Key, i driver.Incident) {
	if i.Phase.Open() && len(b.known) < b.most {
		b.known[key] = i
	}
}

// Open calls f with every open incident.
func (b *Book) Open(f func(driver.Key, driver.Incident)) {
	for key, i := range b.known {
		if i.Phase.Open() {
			f(key, i)
		}
	}
}

func end(i driver.Incident, as driver.Phase, at time.Time) driver.Incident {
	if at.Before(i.Start) { // a clock was set back
		at = i.Start
	}
	i.Phase, i.End = as, at
	return i
}
