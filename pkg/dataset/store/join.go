// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"math"
	"slices"
)

// item is what waits in the queue.
type item struct {
	Entry
	what what
}

type what uint8

const (
	whole    what = iota // an entry that has all
	waiting              // a reading whose verdict is to follow
	reading              // one that waits for no verdict, or has it
	remark               // something that was wrong with a reading, beside its verdict
	judgment             // the verdict on a reading
)

func (e *Entry) series() seriesKey { return seriesKey{e.Namespace, e.Device, e.Property} }

// pending is an entry on its way to the log.
type pending struct {
	item
	before int32 // the one before of the same series, -1 for none
	old    bool  // it has waited once already
}

// joiner brings readings and their verdicts together. A reading waits for its verdict from one flush to the next, and
// with it all that came later, so that the log keeps the order.
type joiner struct {
	work   []pending
	latest map[seriesKey]int32 // index in work
	ready  []Entry
}

// furthest bounds the search for the reading of a verdict.
const furthest = 1024

// join takes a batch of the queue and returns what is to be written; it is valid until the next call. The last time, all
// is.
func (j *joiner) join(batch []item, last bool) []Entry {
	if j.latest == nil {
		j.latest = make(map[seriesKey]int32)
	}
	clear(j.latest)
	for i := range j.work {
		j.link(i)
		j.work[i].old = true
	}
	for i := range batch {
		if w := batch[i].what; w == remark || w == judgment {
			j.judge(&batch[i].Entry, w)
			continue
		}
		j.work = append(j.work, pending{item: batch[i]})
		j.link(len(j.work) - 1)
	}
	n := 0
	clear(j.ready) // lets go of the strings
	j.ready = j.ready[:0]
	for ; n < len(j.work); n++ {
		p := &j.work[n]
		if p.what == waiting && !p.old && !last {
			break
		}
		if p.what != whole && p.Text != "" {
			p.Value = math.NaN() // it was the number of a category
		}
		j.ready = append(j.ready, p.Entry)
	}
	kept := copy(j.work, j.work[n:])
	clear(j.work[kept:])
	j.work = j.work[:kept]
	return j.ready
}

func (j *joiner) link(i int) {
	p := &j.work[i]
	p.before = -1
	if p.what == whole {
		return
	}
	key := p.series()
	if before, ok := j.latest[key]; ok {
		p.before = before
	}
	j.latest[key] = int32(i)
}

// judge gives a verdict or a remark to its reading: the one of the same time, or of a group, whose members are read one
// after the other, the last one of the same value that waits.
func (j *joiner) judge(v *Entry, w what) {
	at, ok := j.latest[v.series()]
	if !ok {
		return
	}
	var found *pending
	for i, n := at, 0; i >= 0 && n < furthest; i, n = j.work[i].before, n+1 {
		p := &j.work[i]
		if p.At.Equal(v.At) && (w == remark || p.what == waiting) {
			found = p
			break
		}
		if found == nil && w == judgment && p.what == waiting && p.Value == v.Value {
			found = p
		}
	}
	if found == nil {
		return
	}
	if w == judgment {
		found.what, found.Band = reading, v.Band
	}
	if r := rank(found.Severity); r < firstAnomalous || rank(v.Severity) > r {
		found.Severity, found.Kind, found.Score = v.Severity, v.Kind, v.Score
	}
}

// firstAnomalous is the place of the first severity of an anomaly among verdicts.
const firstAnomalous = 3

// rank is how bad a severity is.
func rank(severity string) int {
	if severity == "" {
		return 0
	}
	return slices.Index(verdicts[:], severity)
}
