// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// BindingStats counts what happened to the readings of one property.
type BindingStats struct {
	Readings   uint64 // observed
	Dropped    uint64 // lost for want of room in the adapter's queue
	Duplicate  uint64
	OutOfOrder uint64
	Late       uint64
	Gap        uint64
	Invalid    uint64 // not a number, or not parsable
	StuckClock uint64
}

// Trouble is something beside detection that fails at present: a sink that cannot start, a disk that is full. Detection
// goes on. It is in [Stats] while it lasts, and in the log once a minute.
type Trouble struct {
	Part  string    // what fails: "sink metrics", "learned state"
	Risk  string    // what is lost, or may be, while it lasts, and what to do
	Error string    // the last failure
	Since time.Time // when it began
	Times uint64    // how often it failed since
}

// Report tells that a part fails, and by nil that it works again. It may be called from any goroutine, as often as the
// part fails: the log hears of it once a minute.
type Report func(part, risk string, err error)

// Stats counts what the handler did since it started.
type Stats struct {
	Troubles []Trouble // what fails at present, beside detection
	Bindings map[driver.Key]BindingStats
	Sinks    map[string]SinkStats
}

// SinkStats counts what a sink was given.
type SinkStats struct {
	Started  bool   // false while it cannot start, see [Stats.Troubles]
	Waiting  int    // verdicts in the queue
	Replaced uint64 // verdicts that a later one of the same stream replaced while the queue was full
	Refused  uint64 // verdicts that the sink refused for good

	Own map[string]float64 // counts of a [Measurer]; nil for other sinks
}
