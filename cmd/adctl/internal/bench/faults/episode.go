// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

const (
	training = 3 * day // readings that a detector may learn from; what it says of them does not count
	// After the end of a fault a verdict still counts as one on it for this many readings: silence, for one, is seen
	// by the reading that ends it.
	grace = 5
)

// episode is the story of one stream: training, a normal stretch of one to two days, a fault.
type episode struct {
	readings []dataset.Reading
	begin    int // first reading that shows the fault
	end      int // first reading that does not
}

// newEpisode makes the n-th episode of a fault on a signal; equal arguments make equal episodes.
func newEpisode(s *Signal, f *Fault, seed uint64, n int) episode {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%d", f.Name, s.Name, n)
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))

	next := s.make(rng)
	begin := training + day + rng.IntN(day)
	lasts := f.lasts(s.Name)
	sign := float64(2*rng.IntN(2) - 1)
	start := time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)
	all := make([]dataset.Reading, begin+lasts+grace)
	for i := range all {
		e := noEffect
		if k := i - begin; f.effect != nil && k >= 0 && k < lasts {
			e = f.effect(k, lasts, sign)
		}
		// A reading is taken up to a second early or late.
		jitter := time.Duration((2*rng.Float64() - 1) * float64(time.Second))
		all[i] = dataset.Reading{At: start.Add(time.Duration(i)*cycle + jitter), Value: next(e)}
		if f.hold && i >= begin && i < begin+lasts {
			all[i].Value = all[begin-1].Value
		}
	}
	if f.deliver == nil {
		return episode{all, begin, begin + lasts}
	}
	spoiled, first := f.deliver(slices.Clone(all[begin:begin+lasts]), rng)
	after := all[begin+lasts:]
	if n := len(spoiled); n > 0 {
		if late := spoiled[n-1].At.Sub(all[begin+lasts-1].At); late > 0 { // the clock of the rest goes on from there
			for i := range after {
				after[i].At = after[i].At.Add(late)
			}
		}
	}
	return episode{slices.Concat(all[:begin], spoiled, after), begin + first, begin + len(spoiled)}
}
