// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"context"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/registry"
)

// Sink takes verdicts to where people look. The handler coalesces verdicts, queues them for each sink apart, and calls
// a sink from one goroutine.
//
// Incidents arrive as verdicts: [driver.Result.Incident] of each that concerns one says which and where it stands. The
// first is Began, when it begins or, if it began in a mute window, when that ends; then Lasts, whenever its severity, kind
// or cause changes and once a heartbeat, with the severity held at the worst so far, or Unknown while the detector does
// not know; the last is Returned, NewNormal or Abandoned, once. A verdict may end one incident while it says that the
// stream is normal, or unknown. There is one incident of a property at a time. Over a restart of the mapper an incident
// goes on under its ID where the adapter keeps state; where nothing is kept it is Abandoned with Shutdown. A sink that was
// slow may miss verdicts between, the first and even the last of an incident among them: the last verdict on each property
// always gets through, and says how things stand.
type Sink interface {
	// Start is quick and waits for no network; ctx covers the start only. After an error, unless it is permanent or of
	// the configuration, another sink is made and started a while later: this one is not used again, and has left nothing
	// behind.
	Start(ctx context.Context) error
	// Write takes a batch of verdicts in the order in which they came. It must not keep the slice. A returned error
	// is tried again with backoff unless it is permanent, see [Permanent] and [ThrottledError].
	Write(ctx context.Context, batch []driver.Result) error
	// Shutdown flushes and joins within ctx. It is idempotent.
	Shutdown(ctx context.Context) error
}

// Forgetter is a sink that wants to know when a property is no longer watched. Forget is called from the goroutine that
// calls Write, in order with it, and must not block.
type Forgetter interface{ Forget(key driver.Key) }

// Observer is a sink that watches the handler itself. Its hooks are called besides the user's own, under the same terms.
type Observer interface{ Hooks() *Hooks }

// Measurer is a sink with counts of its own, by name, such as "written_readings"; they are in [Stats]. Measure must not
// block.
type Measurer interface{ Measure() map[string]float64 }

// WaitingVerdicts is the name, among the counts of a [Measurer], of how many verdicts the sink holds that its peer does
// not have yet.
const WaitingVerdicts = "waiting_verdicts"

// SinkSettings is what a sink is made with.
type SinkSettings struct {
	Hooks    *Hooks          // never nil
	Options  map[string]any  // the mapper's settings for this sink, flat; nil where there are none
	StateDir string          // directory for what must outlive the process; "" keeps nothing
	Stats    func() Stats    // what the handler counted so far; never nil
	Language driver.Language // of what the sink says in its own words; "" is English
	// About tells what is known of a property, from before the first verdict on it until the handler lets it go; nil where
	// there is no handler, as of those that follow.
	About func(driver.Key) About
	// Accept tells the detector that watches a property that what happened in the span was normal, and waits until it has
	// learned that; for sinks that people answer.
	Accept func(context.Context, driver.Key, driver.Span) error
	// Mute mutes until a time; Mutes lists what is muted; Watched says how a property is watched, false where it is not.
	Mute    func(Mute) error
	Mutes   func() []Mute
	Watched func(driver.Key) (Watched, bool)
	// Describe is that of the handler; nil where there is no handler.
	Describe func(context.Context, driver.Key, driver.Language) (string, error)
	Report   Report   // tells what fails beside detection; nil tells nobody
	_        struct{} // keyed literals only: fields may be added
}

// SinkFactory makes sinks of one kind.
type SinkFactory struct {
	Name    string // as listed under the key sinks
	Summary string // one sentence
	// New makes a sink. An error is one of the configuration, unless it comes of a file that cannot be read, or is marked
	// by [Unavailable]: then it is made again later.
	New    func(SinkSettings) (Sink, error)
	Params func() []params.Param // the mapper's settings for it
	// Alerts says that it calls people or acts: of what is muted it hears nothing, see [Mute].
	Alerts bool
}

// SinkRegistry holds sinks by name. The zero value is empty and ready for use.
type SinkRegistry struct {
	registry.Registry[SinkFactory]
}

// RegisterSink adds a sink to [Sinks]. It panics on a duplicate name.
func RegisterSink(f SinkFactory) { Sinks.Register(f.Name, f) }
