// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

const (
	saveEvery = 10 * time.Second
	mostKept  = 1 << 28 // bytes of a file
)

// kept is the file that says how far a query came.
type kept struct {
	path  string // "" keeps nothing
	saved time.Time
}

// progress is its content, in Unix milliseconds.
type progress struct {
	Metric string           `json:"metric"`
	Query  string           `json:"query"`
	End    int64            `json:"end"`
	Clean  bool             `json:"clean"` // the process ended: what it learned is kept as well
	Series map[string]int64 `json:"series"`
}

func newKept(dir string, q *Query) *kept {
	if dir == "" {
		return &kept{}
	}
	id := sha256.Sum256([]byte(q.Metric + "\x00" + q.Query))
	return &kept{path: filepath.Join(dir, hex.EncodeToString(id[:8])+".json")}
}

// load goes on where the program ended. A file that is not there, or says nothing that makes sense, is as the first start.
func (k *kept) load(q *query) error {
	if k.path == "" {
		return nil
	}
	text, err := regular.Read(k.path, mostKept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var p progress
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err == nil && (p.Query != q.Query.Query || p.Metric != q.Metric || p.End <= 0) {
		err = errors.New("it is of another query")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", k.path, err)
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
	k := q.kept
	if k.path == "" || !now && time.Since(k.saved) < saveEvery {
		return
	}
	k.saved = time.Now()
	p := progress{Metric: q.Metric, Query: q.Query.Query, End: q.end.UnixMilli(), Clean: now, Series: make(map[string]int64)}
	for labels, s := range q.table.All() {
		if !s.Last.IsZero() {
			p.Series[labels] = s.Last.UnixMilli()
		}
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(k.path), 0o700)
	}
	if err == nil {
		err = atomicfile.WriteBytes(k.path, 0o600, text)
	}
	q.report(q.part+": state", riskKept, err)
}
