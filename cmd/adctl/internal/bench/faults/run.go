// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Options say what is measured.
type Options struct {
	Config   admethod.ADMethodConfig
	Drivers  *driver.Registry // nil means driver.Default
	Seed     uint64
	Episodes int      // of each fault on each signal
	Faults   []string // names; empty means all
	Signals  []string // names; empty means all
}

// Cell is what a detector did with one fault on one signal.
type Cell struct {
	Fault  string `json:"fault"`
	Signal string `json:"signal"`
	Tally
}

// Tally counts what happened in episodes.
type Tally struct {
	Episodes  int                 `json:"episodes"`
	Detected  int                 `json:"detected"`  // a reading with the fault was anomalous
	RightKind int                 `json:"rightKind"` // and the kind that most such readings had names the fault
	Delays    []int               `json:"delays"`    // of detection, in readings; 0 is at once
	Kinds     map[driver.Kind]int `json:"kinds"`     // of the detected, by the kind that most readings had

	Held float64 `json:"held"` // sum over the episodes of the share of the faulty readings that were anomalous

	Normal       int `json:"normalReadings"` // on the normal stretches
	FalseAlarms  int `json:"falseAlarms"`    // alerts on the normal stretches
	FalseReading int `json:"falseReadings"`  // anomalous readings on the normal stretches
}

// Run measures a detector. Cells are in the order of Faults and Signals.
func Run(ctx context.Context, o Options) ([]Cell, error) {
	type job struct{ cell, n int }
	var cells []Cell
	var faults []*Fault
	var signals []*Signal
	var jobs []job
	if err := o.Check(); err != nil {
		return nil, err
	}
	for i := range Faults {
		for j := range Signals {
			f, s := &Faults[i], &Signals[j]
			if !slices.Contains(f.Signals, s.Name) || !chosen(o.Faults, f.Name) || !chosen(o.Signals, s.Name) {
				continue
			}
			for n := range o.Episodes {
				jobs = append(jobs, job{len(cells), n})
			}
			cells = append(cells, Cell{Fault: f.Name, Signal: s.Name})
			faults, signals = append(faults, f), append(signals, s)
		}
	}
	tallies := make([]Tally, len(jobs)) // merged in order, whatever order they were made in
	var next atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) || ctx.Err() != nil {
					return
				}
				f, s := faults[jobs[i].cell], signals[jobs[i].cell]
				t, err := o.play(ctx, f, s, jobs[i].n)
				if err != nil {
					cancel(fmt.Errorf("%s on %s: %w", f.Name, s.Name, err))
					return
				}
				tallies[i] = t
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, j := range jobs {
		cells[j.cell].Add(&tallies[i])
	}
	return cells, nil
}

// Check joins all that is wrong with the options.
func (o *Options) Check() error {
	var errs []error
	for _, name := range o.Faults {
		if !slices.ContainsFunc(Faults, func(f Fault) bool { return f.Name == name }) {
			errs = append(errs, fmt.Errorf("unknown fault %q", name))
		}
	}
	for _, name := range o.Signals {
		if !slices.ContainsFunc(Signals, func(s Signal) bool { return s.Name == name }) {
			errs = append(errs, fmt.Errorf("unknown signal %q", name))
		}
	}
	if o.Episodes < 1 {
		errs = append(errs, fmt.Errorf("episodes: got %d, want at least 1", o.Episodes))
	}
	return errors.Join(errs...)
}

func chosen(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }

// play runs one episode.
func (o *Options) play(ctx context.Context, f *Fault, s *Signal, n int) (Tally, error) {
	ep := newEpisode(s, f, o.Seed, n)
	t := Tally{Episodes: 1}
	first, faulty, held := -1, 0, 0
	kinds := make(map[driver.Kind]int)
	var kind driver.Kind
	meta := admethod.Meta{DataType: "double", Cycle: cycle}
	err := replay.Run(ctx, replay.Options{Config: o.Config, Drivers: o.Drivers, Meta: meta}, ep.readings, func(i int, out *replay.Outcome) {
		switch anomalous := out.Severity.Anomalous(); {
		case i < training:
		case i < ep.begin:
			t.Normal++
			if out.Incident.Phase == driver.Began {
				t.FalseAlarms++
			}
			if anomalous {
				t.FalseReading++
			}
		case i < ep.end+grace:
			if i < ep.end {
				faulty++
			}
			if !anomalous {
				return
			}
			if i < ep.end {
				held++
			}
			if first < 0 {
				first = i
			}
			if kinds[out.Kind]++; kinds[out.Kind] > kinds[kind] {
				kind = out.Kind
			}
		}
	})
	if err != nil {
		return t, err
	}
	if faulty > 0 {
		t.Held = float64(held) / float64(faulty)
	}
	if first >= 0 {
		t.Detected = 1
		t.Delays = []int{first - ep.begin}
		t.Kinds = map[driver.Kind]int{kind: 1}
		if f.names(kind, s.Name) {
			t.RightKind = 1
		}
	}
	return t, nil
}

// Add adds another tally.
func (t *Tally) Add(u *Tally) {
	t.Episodes += u.Episodes
	t.Detected += u.Detected
	t.RightKind += u.RightKind
	t.Delays = append(t.Delays, u.Delays...)
	t.Held += u.Held
	t.Normal += u.Normal
	t.FalseAlarms += u.FalseAlarms
	t.FalseReading += u.FalseReading
	for kind, n := range u.Kinds {
		if t.Kinds == nil {
			t.Kinds = make(map[driver.Kind]int)
		}
		t.Kinds[kind] += n
	}
}

// Recall is the share of episodes that were detected.
func (t *Tally) Recall() float64 { return float64(t.Detected) / float64(t.Episodes) }

// HeldShare is the share of an episode's faulty readings that were anomalous, in the mean.
func (t *Tally) HeldShare() float64 { return t.Held / float64(t.Episodes) }

// KindShare is the share of the detected episodes that have the right kind; NaN where none was detected.
func (t *Tally) KindShare() float64 { return float64(t.RightKind) / float64(t.Detected) }

// MedianDelay is the median of the delays of detection, the lower of two; -1 where nothing was detected.
func (t *Tally) MedianDelay() int {
	if len(t.Delays) == 0 {
		return -1
	}
	sorted := slices.Sorted(slices.Values(t.Delays))
	return sorted[(len(sorted)-1)/2]
}

// AlarmRate is the number of false alarms in 10,000 normal readings.
func (t *Tally) AlarmRate() float64 { return 1e4 * float64(t.FalseAlarms) / float64(t.Normal) }

// ReadingRate is the number of readings wrongly found anomalous in 10,000 normal ones.
func (t *Tally) ReadingRate() float64 { return 1e4 * float64(t.FalseReading) / float64(t.Normal) }
