// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"fmt"
	"runtime"

	"github.com/kubeedge/edge-anomaly/driver"
)

// declaresCost compares the cost that the driver declares with the memory that its detectors keep: opened, on their way,
// and warm. Detectors are measured together, as the heap is the whole program's.
func (s *suite) declaresCost() error {
	if raceEnabled {
		return nil
	}
	settings := s.settings()
	declared, err := s.factory.Cost(settings, s.config)
	if err != nil {
		return fmt.Errorf("cost: %w", err)
	}
	const measured, steps, room = 4, 8, 512 // bytes of room for what is not the detector's
	rows := s.usual(s.warmUp, 11)
	var out driver.Result
	before := liveHeap()
	detectors := make([]driver.Detector, measured)
	for i := range detectors {
		if detectors[i], err = s.open(); err != nil {
			return err
		}
	}
	for step := range steps + 1 {
		if kept := (liveHeap() - before) / measured; kept > declared.Bytes+room {
			return fmt.Errorf("declares %d bytes and keeps %d after %d readings", declared.Bytes, kept, step*len(rows)/steps)
		}
		if step == steps {
			break
		}
		for _, row := range rows[step*len(rows)/steps : (step+1)*len(rows)/steps] {
			for _, d := range detectors {
				detect(d, row, &out)
			}
		}
	}
	runtime.KeepAlive(detectors)
	runtime.KeepAlive(rows)
	return nil
}

// liveHeap is what is in use of the heap.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers gave up
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// VerifyCost is the clause on cost alone, for further parameters than those of [Check].
func VerifyCost(f driver.Factory, opts ...Option) error { return newSuite(f, opts).declaresCost() }
