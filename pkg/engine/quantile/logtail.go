// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package quantile

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	logBins   = 128
	logPer    = 4    // bins to an octave
	logLowest = -40  // octaves·4 of the lowest bin: values below 2^-10 are one
	logShare  = 0.01 // of the values that make the tail
	logIndex  = 0.25 // of the tail before any is known
	logPrior  = 8    // values by which that counts
	logYoung  = 4000 // values by which half of what lies beyond them is believed
	logMost   = 30   // largest evidence: beyond it nothing is known
)

// LogTail estimates how rare values above 0 are in the upper tail of a stream, in half a KiB: a histogram of their
// logarithm, beyond its largest hundredth a power law (B. M. Hill, A Simple General Approach to Inference About the Tail
// of a Distribution, Annals of Statistics 3(5), 1975, its index drawn to a quarter). Where values lie within about 10
// octaves of 1 it is what a [Tail] is, for a tenth of its memory and time. The zero value is empty.
type LogTail struct {
	Memory uint32 // values after which what was before counts half; 0 is 16,384

	counts [logBins]uint32
	n      uint32  // sum of counts
	next   uint32  // n at which the tail is fitted again
	from   float64 // octaves at which the tail begins
	share  float64 // of the values in it
	index  float64 // of its power law, per octave
	seen   uint64  // values ever added
}

// octaves is where x lies on the scale of the bins.
func octaves(x float64) float64 {
	if !(x > 0) {
		return logLowest / logPer
	}
	return min(max(math.Log2(x), logLowest/logPer), (logBins+logLowest-1)/logPer)
}

func logBin(o float64) int { return int(math.Floor(o*logPer)) - logLowest }

// Count is the number of values added.
func (t *LogTail) Count() uint64 { return t.seen }

// Add learns x. NaN is ignored.
func (t *LogTail) Add(x float64) {
	if math.IsNaN(x) {
		return
	}
	memory := t.Memory
	if memory == 0 {
		memory = 1 << 14
	}
	if t.n >= memory {
		t.n = 0
		for i, c := range t.counts {
			t.counts[i] = (c + 1) / 2
			t.n += t.counts[i]
		}
		t.next = t.n
	}
	t.counts[logBin(octaves(x))]++
	t.n++
	t.seen++
	if t.n >= t.next {
		t.fit()
	}
}

// fit finds where the tail begins and how fast it falls.
func (t *LogTail) fit() {
	t.next = t.n + t.n/16 + 1
	want := max(logShare*float64(t.n), 4)
	above, sum := 0.0, 0.0
	i := logBins
	for i > 0 && above < want {
		i--
		c := float64(t.counts[i])
		sum += above + c/2 // of the distances above the lower end of bin i, in bins
		above += c
	}
	t.from = float64(i+logLowest) / logPer
	t.share = above / float64(t.n+1)
	t.index = (sum/logPer*math.Ln2 + logPrior*logIndex) / (above + logPrior)
}

// Evidence is −log10 of the estimated probability of a value of at least x; 0 while fewer than 32 values are known.
func (t *LogTail) Evidence(x float64) float64 {
	if t.n < 32 || math.IsNaN(x) {
		return 0
	}
	o := octaves(x)
	if o >= t.from {
		beyond := o
		if x > 1 { // also past the last bin
			beyond = math.Log2(x)
		}
		// What few values say of their tail is believed in part.
		trust := float64(t.seen) / float64(t.seen+logYoung)
		return min(-math.Log10(t.share)+trust*(beyond-t.from)*math.Ln2*math.Log10E/t.index, logMost)
	}
	b := logBin(o)
	part := float64(b+1) - (o*logPer - logLowest) // of the bin that lies above
	above := part * float64(t.counts[b])
	for _, c := range t.counts[b+1:] {
		above += float64(c)
	}
	return max(-math.Log10((above+1)/float64(t.n+1)), 0)
}

// EncodeState implements state.Part.
func (t *LogTail) EncodeState(w *state.Writer) {
	for _, c := range t.counts {
		w.Uint(uint64(c))
	}
	w.Uint(uint64(t.next))
	w.Uint(t.seen)
	w.Float(t.from)
	w.Float(t.share)
	w.Float(t.index)
}

// DecodeState implements state.Part.
func (t *LogTail) DecodeState(r *state.Reader) {
	t.n = 0
	for i := range t.counts {
		t.counts[i] = uint32(r.Count("count of a bin", math.MaxInt32/logBins))
		t.n += t.counts[i]
	}
	t.next = uint32(r.Count("values at the next fit", math.MaxInt32))
	t.seen = r.Readings()
	t.from, t.share, t.index = r.Finite("begin of the tail"), r.Min("share of the tail", 0), r.Min("index of the tail", 0)
	if r.Err() == nil && t.n > 0 && (t.share <= 0 || t.index <= 0) {
		r.Fail("a tail of share %v and index %v, want more than 0", t.share, t.index)
	}
}
