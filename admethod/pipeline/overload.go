// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
)

// overload tells that the mapper itself cannot keep up, once for all its properties: that is no fault of a device. It
// has had no processor, or detectors take longer for readings than there is between them.
type overload struct {
	stalled atomic.Int64  // longest pause since it was last looked at, ns
	lost    atomic.Uint64 // rows that found no room since then

	since time.Time // it was well
	told  bool
}

const (
	overloadPart = "the mapper's own time"
	overloadOver = 10 * time.Second // without a sign of overload, after which it is over
	overloadRisk = "the mapper is overloaded: readings are taken late, or are judged by no detector; silence meanwhile is not told of devices; give it more processor, or cheaper detectors"
)

// look is called every second.
func (o *overload) look(now time.Time, report admethod.Report) {
	stalled, lost := time.Duration(o.stalled.Swap(0)), o.lost.Swap(0)
	switch {
	case stalled > 0:
		report(overloadPart, overloadRisk, fmt.Errorf("the process stood still, or had no processor, for %v", stalled.Round(100*time.Millisecond)))
	case lost > 0:
		report(overloadPart, overloadRisk, fmt.Errorf("%d readings in a second found no room in the queues of detectors", lost))
	case o.told && now.Sub(o.since) >= overloadOver:
		o.told = false
		report(overloadPart, "", nil)
		return
	default:
		return
	}
	o.told, o.since = true, now
}
