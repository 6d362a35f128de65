// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/kept"
)

const saveEvery = 10 * time.Second

// newKept is the file that says how far a query came.
func newKept(dir string, q *Query) *kept.File {
	id := sha256.Sum256([]byte(q.Metric + "\x00" + q.Query))
	return kept.New(dir, hex.EncodeToString(id[:8])+".json", saveEvery)
}

// progress is its content, in Unix milliseconds.
type progress struct {
	Metric string           `json:"metric"`
	Query  string           `json:"query"`
	End    int64            `json:"end"`
	Clean  bool             `json:"clean"` // the process ended: what it learned is kept as well
	Series map[string]int64 `json:"series"`
}

// load goes on where the program ended. A file that is not there, or says nothing that makes sense, is as the first start.
func (q *query) load() error {
	var p progress
	if found, err := q.kept.Load(&p); err != nil || !found {
		return err
	}
	if p.Query != q.Query.Query || p.Metric != q.Metric || p.End <= 0 {
		return fmt.Errorf("what is kept of %s is of another query", q.Metric)
	}
	again := q.behind
	if p.Clean {
		again = 0
	}
	q.end = time.UnixMilli(p.End).Add(-again).UTC()
	if !q.plain {
		q.end = q.end.Truncate(q.Step) // the step may be another
	}
	for labels, last := range p.Series {
		q.table.Know(labels, time.UnixMilli(last).Add(-again).UTC())
	}
	return nil
}

// save keeps how far the query came, now and then and at the end.
func (q *query) save(now bool) {
	if !q.kept.Due(now) {
		return
	}
	p := progress{Metric: q.Metric, Query: q.Query.Query, End: q.end.UnixMilli(), Clean: now, Series: make(map[string]int64)}
	for labels, s := range q.table.All() {
		if !s.Last.IsZero() {
			p.Series[labels] = s.Last.UnixMilli()
		}
	}
	q.report(q.part+": state", riskKept, q.kept.Save(p, now))
}
