// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"time"
	"unsafe"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Stepped is t, which has a monotonic reading, as time.Now had returned it if the wall clock had been set on by then: the
// monotonic reading stays. by is whole seconds. Package time has no way to make one.
func Stepped(t time.Time, by time.Duration) time.Time {
	const second = 1 << 30 // of the wall clock, in a time with a monotonic reading
	u := (*struct {
		wall uint64
		_    int64
		_    *time.Location
	})(unsafe.Pointer(&t))
	u.wall += uint64(by/time.Second) * second
	return t
}

// ignoresSteps judges the same readings, as a mapper stamps them, with a wall clock that is set twice and with one that
// is not.
func (s *suite) ignoresSteps() error {
	a, b, err := s.openTwo()
	if err != nil {
		return err
	}
	rows := s.usual(verdictRows, 3)
	began := time.Now()
	for _, row := range rows {
		for i := range row {
			row[i].At = began.Add(row[i].At.Sub(epoch))
		}
	}
	set := cloneRows(rows)
	for k, by := range map[int]time.Duration{1: 2 * time.Hour, 2: -3 * time.Hour} {
		for _, row := range set[k*len(set)/3 : (k+1)*len(set)/3] {
			for i := range row {
				row[i].At = Stepped(row[i].At, by)
			}
		}
	}
	steady, stepped := run(a, rows), run(b, set)
	for _, results := range [][]driver.Result{steady, stepped} {
		for i := range results {
			results[i].At = time.Time{}
		}
	}
	return same("with a steady wall clock", steady, "with one that is set", stepped)
}
