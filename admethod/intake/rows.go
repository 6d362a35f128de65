// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// rows puts the readings of a group together for clients that do not number rows. A row is complete when each member
// has a new reading; the reading that completes it carries its verdict. A member that comes round before the others
// did makes a row with their last readings (flag Held), as long as those are not too old (then the verdict is unknown
// and names the member).
type rows struct {
	maxAge time.Duration // 0: every age counts

	mu   sync.Mutex
	keys []driver.Key
	row  driver.Row
	// fresh members have a reading since the last complete row; judged ones have been in a row with that reading.
	fresh, judged []bool
	late          bool // the first reading is of a round that has begun: rows begin with the next one
}

func newRows(members []driver.Member, c *admethod.RowsConfig) *rows {
	r := &rows{
		maxAge: c.MaxAge, keys: make([]driver.Key, len(members)), row: make(driver.Row, len(members)),
		fresh: make([]bool, len(members)), judged: make([]bool, len(members)),
	}
	var slowest time.Duration
	for i := range members {
		r.keys[i] = members[i].Key
		slowest = max(slowest, members[i].Cycle)
	}
	if r.maxAge == 0 {
		r.maxAge = 4 * slowest
	}
	return r
}

// take appends to room the row that a reading makes; it returns nil where that makes none yet.
func (r *rows) take(key driver.Key, sample driver.Sample, room driver.Row) (driver.Row, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.keys, key)
	if i < 0 {
		return nil, fmt.Errorf("%s: want one of the members of the group, or the group described anew", key)
	}
	if r.late {
		r.late = false
		return nil, nil //nolint:nilnil // the row is not complete
	}
	early := r.fresh[i]
	r.row[i], r.fresh[i], r.judged[i] = sample, true, false
	complete := !slices.Contains(r.fresh, false)
	if !early && !complete {
		return nil, nil //nolint:nilnil // the row is not complete
	}
	for j := range r.row {
		if age := sample.At.Sub(r.row[j].At); r.row[j].At.IsZero() || r.maxAge > 0 && age > r.maxAge {
			return nil, fmt.Errorf("no recent reading of %s, a member of the group", r.keys[j])
		}
	}
	row := append(room, r.row...)
	for j := range row {
		if !r.fresh[j] || r.judged[j] {
			row[j].Flags |= driver.Held
		}
		r.judged[j] = true
	}
	if complete {
		clear(r.fresh)
	}
	return row, nil
}
