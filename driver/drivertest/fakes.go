// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// most is how many members the drivers of this package take.
const most = 64

type noConfig struct{}

// Func is a driver whose detectors call detect. It is what the other drivers of this package are made of.
func Func(name string, detect func(row driver.Row, out *driver.Result)) driver.Factory {
	return perDetector(name, func() func(driver.Row, *driver.Result) { return detect })
}

// perDetector is a driver that makes a function for each detector it opens.
func perDetector(name string, open func() func(driver.Row, *driver.Result)) driver.Factory {
	return driver.NewFactory(driver.Info{
		Name:    name,
		Summary: "a driver for tests",
		Kinds:   []driver.Kind{driver.KindSpike},
		Members: most,
	}, func() noConfig { return noConfig{} }, func(driver.Settings, noConfig) (driver.Detector, error) {
		return detectFunc(open()), nil
	})
}

type detectFunc func(row driver.Row, out *driver.Result)

func (f detectFunc) Detect(row driver.Row, out *driver.Result) { f(row, out) }

// normal is a verdict that has nothing to say.
func normal(out *driver.Result) {
	out.Confidence = 1
	out.Judge(0, driver.KindNone)
}

// Panics is driver "panics": every reading is normal, but each detector panics on its n-th reading (counted from 1) and
// on all after it.
func Panics(n int) driver.Factory {
	return perDetector("panics", func() func(driver.Row, *driver.Result) {
		seen := 0
		return func(_ driver.Row, out *driver.Result) {
			if seen++; seen >= n {
				panic(fmt.Sprintf("drivertest: panic on reading %d, as asked for", seen))
			}
			normal(out)
		}
	})
}

// Hangs is driver "hangs": Detect blocks until release is closed, or takes one value from it for each reading. Every
// reading is then normal.
func Hangs(release <-chan struct{}) driver.Factory {
	return Func("hangs", func(_ driver.Row, out *driver.Result) {
		<-release
		normal(out)
	})
}

// Slow is driver "slow": every reading is normal after a delay. In a synctest bubble the delay is virtual.
func Slow(delay time.Duration) driver.Factory {
	return Func("slow", func(_ driver.Row, out *driver.Result) {
		<-time.After(delay)
		normal(out)
	})
}

// WrongResults is driver "wrong": its verdicts break the contract, each in turn: a NaN score called critical, scores
// beyond 0..1, a kind on a normal reading, a severity that does not exist, another device's key.
func WrongResults() driver.Factory {
	wrong := []func(out *driver.Result){
		func(out *driver.Result) { out.Score, out.Severity = math.NaN(), driver.Critical },
		func(out *driver.Result) { out.Score, out.Severity = 7, driver.Warning },
		func(out *driver.Result) { out.Score, out.Severity = math.Inf(-1), driver.Normal },
		func(out *driver.Result) { out.Score, out.Severity, out.Kind = 0.1, driver.Normal, driver.KindSpike },
		func(out *driver.Result) { out.Score, out.Severity, out.Confidence = 0.5, driver.Severity(99), -1 },
		func(out *driver.Result) {
			out.Key = driver.Key{Namespace: "another", Device: "another"}
			out.Judge(0.99, driver.KindSpike)
		},
	}
	return perDetector("wrong", func() func(driver.Row, *driver.Result) {
		next := 0
		return func(_ driver.Row, out *driver.Result) {
			wrong[next](out)
			next = (next + 1) % len(wrong)
		}
	})
}

// Recorder keeps copies of all rows that the detectors of its driver were given. It is safe for concurrent use.
type Recorder struct {
	mu   sync.Mutex
	rows []driver.Row
}

// Factory is driver "recorder": every reading is normal.
func (r *Recorder) Factory() driver.Factory {
	return Func("recorder", func(row driver.Row, out *driver.Result) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.rows = append(r.rows, slices.Clone(row))
		normal(out)
	})
}

// Rows returns what was recorded so far, in order of arrival.
func (r *Recorder) Rows() []driver.Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.rows)
}

// Values returns the value of the first sample of each row recorded so far; NaN for an empty row.
func (r *Recorder) Values() []float64 {
	rows := r.Rows()
	out := make([]float64, len(rows))
	for i, row := range rows {
		out[i] = math.NaN()
		if len(row) > 0 {
			out[i] = row[0].Value
		}
	}
	return out
}
