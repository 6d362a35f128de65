// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package nab scores detectors by the protocol of the Numenta Anomaly Benchmark 1.1: A. Lavin, S. Ahmad, "Evaluating
// Real-time Anomaly Detection Algorithms – the Numenta Anomaly Benchmark", 14th International Conference on Machine
// Learning and Applications, 2015, section III. The arithmetic is that of its reference implementation.
package nab

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Profile weighs detections, misses and false alarms.
type Profile struct {
	Name       string
	TP, FN, FP float64
}

// Profiles are those of the benchmark.
var Profiles = [...]Profile{
	{"standard", 1, 1, 0.11},
	{"reward_low_FP_rate", 1, 1, 0.22},
	{"reward_low_FN_rate", 1, 2, 0.11},
}

// Window is a labelled stretch of a file, both ends in it.
type Window struct{ Begin, End time.Time }

// outside stands for the number of a window where a row lies in none.
const outside = -1

// Part is one file with its windows and a detector's scores.
type Part struct {
	Windows int
	rows    []row
}

type row struct {
	score  float64
	value  float64 // of a detection here, before the weights of a profile
	window int     // number in the file, or outside
}

// NewPart makes a part of a file's times of reading, its windows in order of time, and a detector's scores. Rows of
// the probationary period are left out.
func NewPart(times []time.Time, windows []Window, scores []float64) (Part, error) {
	if len(times) != len(scores) {
		return Part{}, fmt.Errorf("%d rows, but %d scores", len(times), len(scores))
	}
	first := make(map[int64]int, len(times)) // times may repeat, and run backwards
	for i, t := range times {
		if _, ok := first[t.UnixNano()]; !ok {
			first[t.UnixNano()] = i
		}
	}
	// The benchmark exempts 15 % of a file, of 5000 rows at most.
	skip := min(int(math.Floor(0.15*float64(len(times)))), 750)
	p := Part{Windows: len(windows), rows: make([]row, 0, max(len(times)-skip, 0))}
	next := 0
	current := outside
	var begin, end int            // of the current window
	lastEnd, lastWidth := -1, 0.0 // of the window before
	var ends time.Time
	for i, t := range times {
		if math.IsNaN(scores[i]) {
			return Part{}, fmt.Errorf("row %d: the score is not a number", i)
		}
		if next < len(windows) && t.Equal(windows[next].Begin) {
			var ok bool
			if end, ok = first[windows[next].End.UnixNano()]; !ok {
				return Part{}, fmt.Errorf("no row at the end of the window, %v", windows[next].End)
			}
			begin, ends, current = first[t.UnixNano()], windows[next].End, next
			next++
		}
		var value float64
		width := float64(end - begin + 1)
		switch {
		case current != outside:
			value = sigmoid(-float64(end-i+1)/width) / sigmoid(-1)
		case lastEnd < 0:
			value = -1
		default:
			value = sigmoid(math.Abs(float64(lastEnd-i)) / (lastWidth - 1))
		}
		if i >= skip {
			p.rows = append(p.rows, row{scores[i], value, current})
		}
		if current != outside && t.Equal(ends) {
			lastEnd, lastWidth, current = i, width, outside
		}
	}
	if next != len(windows) {
		return Part{}, fmt.Errorf("no row at the beginning of the window, %v", windows[next].Begin)
	}
	return p, nil
}

// sigmoid is the scaled one of the benchmark: near 1 well before the end of a window, 0 there, -1 long after it.
func sigmoid(y float64) float64 {
	if y > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*y)) - 1
}

// neverThreshold is over every score.
const neverThreshold = 1.1

// step is the raw score of all rows with a score of threshold or more.
type step struct{ threshold, raw float64 }

// sweep returns the raw score at every threshold that makes a difference, falling from one that detects nothing.
func sweep(parts []Part, profile Profile) []step {
	n, windows := 0, 0
	for i := range parts {
		n += len(parts[i].rows)
	}
	all := make([]row, 0, n)
	var best []float64 // of each window that has rows outside probation
	for i := range parts {
		numbers := make(map[int]int)
		for _, r := range parts[i].rows {
			if r.window == outside {
				r.value *= profile.FP
			} else {
				r.value *= profile.TP
				if _, ok := numbers[r.window]; !ok {
					numbers[r.window] = windows
					windows++
					best = append(best, -profile.FN)
				}
				r.window = numbers[r.window]
			}
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b row) int { return cmp.Compare(b.score, a.score) })
	total := -profile.FN * float64(windows)
	steps := []step{{neverThreshold, total}}
	for i, r := range all {
		switch {
		case r.window == outside:
			total += r.value
		case r.value > best[r.window]:
			total += r.value - best[r.window]
			best[r.window] = r.value
		}
		if i == len(all)-1 || all[i+1].score != r.score {
			steps = append(steps, step{r.score, total})
		}
	}
	return steps
}

// Optimize returns the threshold at which the parts score best, the highest of several, and the raw score there.
func Optimize(parts []Part, profile Profile) (threshold, raw float64) {
	steps := sweep(parts, profile)
	best := steps[0]
	for _, s := range steps[1:] {
		if s.raw > best.raw {
			best = s
		}
	}
	return best.threshold, best.raw
}

// RawAt is the raw score of the parts at a threshold.
func RawAt(parts []Part, profile Profile, threshold float64) float64 {
	steps := sweep(parts, profile)
	raw := steps[0].raw
	for _, s := range steps[1:] {
		if s.threshold < threshold {
			break
		}
		raw = s.raw
	}
	return raw
}

// Normalize is a raw score on the scale on which detecting nothing is 0 and a perfect detector has 100; NaN where
// there are no windows.
func Normalize(raw float64, parts []Part, profile Profile) float64 {
	windows := 0
	for i := range parts {
		windows += parts[i].Windows
	}
	w := float64(windows)
	if windows == 0 {
		return math.NaN()
	}
	return 100 * (raw + profile.FN*w) / (profile.TP*w + profile.FN*w)
}

// Score is what a detector reaches with one profile.
type Score struct {
	Profile   string  `json:"profile"`
	Threshold float64 `json:"threshold,omitempty"` // 0 where parts have thresholds of their own
	Raw       float64 `json:"raw"`
	Score     float64 `json:"score"`
}

// Best scores the parts at the best threshold of each profile.
func Best(parts []Part) []Score {
	var out []Score
	for _, profile := range Profiles {
		threshold, raw := Optimize(parts, profile)
		out = append(out, Score{profile.Name, threshold, raw, Normalize(raw, parts, profile)})
	}
	return out
}

// LeaveOneOut scores each group of parts at the threshold that is best for all other groups, and pools the raw scores:
// what a threshold is worth on data that it was not chosen on.
func LeaveOneOut(groups [][]Part) ([]Score, error) {
	if len(groups) < 2 {
		return nil, errors.New("leave one out: want at least two groups of files")
	}
	all := slices.Concat(groups...)
	var out []Score
	for _, profile := range Profiles {
		raw := 0.0
		for i, group := range groups {
			rest := slices.Concat(slices.Concat(groups[:i]...), slices.Concat(groups[i+1:]...))
			threshold, _ := Optimize(rest, profile)
			raw += RawAt(group, profile, threshold)
		}
		out = append(out, Score{Profile: profile.Name, Raw: raw, Score: Normalize(raw, all, profile)})
	}
	return out, nil
}
