// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// groupMembers bounds the groups that the drivers for several members take.
const groupMembers = 256

// Members that hold their last value count in a row; these do not.
const (
	noValue = driver.OutOfOrder | driver.NotANumber | driver.Unparsable | driver.Stale
	notNew  = driver.Held | driver.Duplicate
)

// numbers writes the row's numbers to dst, a column each, NaN for a member that is missing. It reports whether there is
// anything to judge: the row has the group's width and a member has a number that is new.
func (c *columns) numbers(dst []float64, row driver.Row) bool {
	if len(row) != c.width {
		return false
	}
	fresh := false
	for j, i := range c.slot {
		dst[j] = math.NaN()
		if i < 0 {
			continue
		}
		s := &row[i]
		if s.Flags&noValue != 0 || s.Text != "" || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			continue
		}
		dst[j] = moments.Clamp(s.Value)
		fresh = fresh || s.Flags&notNew == 0
	}
	return fresh
}

// timeOf is the time of a row's newest sample.
func timeOf(row driver.Row) (newest time.Time) {
	for i := range row {
		if s := &row[i]; s.Flags&noValue == 0 && s.At.After(newest) {
			newest = s.At
		}
	}
	return newest
}

// held writes which of the row's numbers are not new.
func (c *columns) held(dst []bool, row driver.Row) {
	for j, i := range c.slot {
		dst[j] = i >= 0 && row[i].Flags&notNew != 0
	}
}

// numeric refuses members that are configured to have categories, whose numbers say nothing.
func numeric(members []driver.Member) error {
	for _, m := range members {
		if len(m.Categories) > 0 {
			return fmt.Errorf("member %v has categories, want numbers: detector %q takes both", m.Key, bayesnetName)
		}
	}
	return nil
}

// blameShare is the share of the largest contribution from which a member is to blame as well.
const blameShare = 0.5

// maxCauses bounds the causes of a verdict.
const maxCauses = 8

// blame makes causes of the members with a substantial share of what the shares, of sum 1 at most, say.
func (c *columns) blame(out *driver.Result, shares []float64) {
	least := blameShare * slices.Max(shares)
	for j, share := range shares {
		if share > 0 && share >= least && c.slot[j] >= 0 {
			addCause(out, c.keys[j], share)
		}
	}
}

// addCause keeps the causes ranked, and as many as there may be.
func addCause(out *driver.Result, key driver.Key, weight float64) {
	at := len(out.Causes)
	for at > 0 && weight > out.Causes[at-1].Weight {
		at--
	}
	if at == maxCauses {
		return
	}
	if len(out.Causes) < maxCauses {
		out.Causes = append(out.Causes, driver.Cause{})
	}
	copy(out.Causes[at+1:], out.Causes[at:])
	out.Causes[at] = driver.Cause{Key: key, Weight: weight}
}

// defaultOdds is the distance of the default threshold from certainty.
const defaultOdds = 1 - driver.DefaultThreshold

// levelScore is the score of evidence in units of what the default threshold takes, its tail taken to be exponential:
// 1 scores the default threshold, and each further unit is as much rarer.
func levelScore(level float64) float64 { return 1 - math.Pow(defaultOdds, max(level, 0)) }

// thresholdLevel is the evidence that scores the threshold, the inverse of levelScore.
func thresholdLevel(threshold float64) float64 { return math.Log(1-threshold) / math.Log(defaultOdds) }

// decided makes a score agree with a decision that was made otherwise.
func decided(score, threshold float64, anomalous bool) float64 {
	if anomalous {
		return max(score, threshold)
	}
	return min(score, math.Nextafter(threshold, 0))
}

// unseal opens the frame of a snapshot, or of the payload of a model file.
func unseal(name string, data []byte) (*state.Reader, error) {
	payload, err := model.Unseal("detector/"+name, snapshotVersion, data)
	if err != nil {
		return nil, fmt.Errorf("detector %q: restore snapshot: %w", name, err)
	}
	return state.NewReader(payload), nil
}
