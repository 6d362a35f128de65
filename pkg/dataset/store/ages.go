// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
)

// ages are for how long stores that had the directory open saw its files, by number. They are kept in a file: what is
// lost of it, as on a full disk or with the process, makes files younger, and they are kept longer.
type ages struct {
	path  string
	at    time.Time // of the last advance, on the monotonic clock
	saved time.Time
	seen  map[uint64]time.Duration
}

const (
	agesName  = "ages"
	saveEvery = time.Minute
)

func (a *ages) load(dir string) {
	a.path, a.at = filepath.Join(dir, agesName), time.Now()
	a.saved = a.at
	if data, err := os.ReadFile(a.path); err == nil {
		_ = json.Unmarshal(data, &a.seen) // what is damaged is young
	}
	if a.seen == nil {
		a.seen = make(map[uint64]time.Duration)
	}
}

// advance lets the files of the directory grow older, and forgets those that are gone.
func (a *ages) advance(now time.Time, files []file) map[uint64]time.Duration {
	passed := max(now.Sub(a.at), 0)
	a.at = now
	seen := make(map[uint64]time.Duration, len(files))
	for _, f := range files {
		age, known := a.seen[f.seq]
		if known {
			age += passed
		}
		seen[f.seq] = max(age, 0)
	}
	a.seen = seen
	if now.Sub(a.saved) >= saveEvery {
		a.saved = now
		a.save()
	}
	return seen
}

// end lets the files grow older for the last time, and keeps the ages.
func (a *ages) end(now time.Time) {
	passed := max(now.Sub(a.at), 0)
	for seq := range a.seen {
		a.seen[seq] += passed
	}
	a.save()
}

func (a *ages) save() {
	if data, err := json.Marshal(a.seen); err == nil {
		_ = atomicfile.WriteBytes(a.path, 0o640, data)
	}
}
