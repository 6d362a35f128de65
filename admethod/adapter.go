// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"context"
	"encoding"
	"fmt"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/registry"
)

// Adapter carries samples to detectors and brings verdicts back.
//
// The handler calls Start once before anything else; ctx covers the start only, which is quick and waits for no
// network. Shutdown takes no new samples, works off what is queued, saves state and joins every goroutine, all within
// ctx; calling it twice, or without Start, is harmless.
type Adapter interface {
	Start(ctx context.Context) error
	// Open begins a stream. It fails on a configuration that is wrong, not on a detector that is out of reach.
	Open(s StreamSettings) (Stream, error)
	// Flush waits until every sample submitted before has its verdict delivered, or was dropped.
	Flush(ctx context.Context) error
	Shutdown(ctx context.Context) error
}

// Stream takes the rows of one property, or of one group. It is not called concurrently.
type Stream interface {
	// TrySubmit queues a copy of the row. It never blocks, allocates in steady state or logs. A full queue drops its
	// oldest row, which is counted, at once or a moment later, against the stream that it belonged to, and reports false.
	TrySubmit(row driver.Row) bool
	// Close ends the stream without waiting for what is queued, and keeps what its detector learned where the adapter
	// keeps state. It is idempotent.
	Close()
}

// StreamSettings describes a stream to its adapter. An adapter whose detector is gone for good, so that nobody will say how
// an incident goes on, says so with a verdict whose Incident.Phase is [driver.Abandoned].
type StreamSettings struct {
	Group   string                                 // stable name of the group, with its namespace; "" for a single property
	Members []driver.Member                        // one per sample of a row, in order
	Config  ADMethodConfig                         // of the property, or of the group's first member
	Deliver func(r *driver.Result, row driver.Row) // a verdict and the row it judges, nil where that is not at hand; keeps neither
	Dropped func(n int)                            // counts rows lost from the queue; must not block
	// Answer, if set, is called instead of Deliver and Dropped for each row of a [NumberedStream], from any goroutine,
	// and must not block. r is nil for a row that was lost, row is nil where the detector failed on it.
	Answer    func(number uint64, r *driver.Result, row driver.Row)
	Tenant    string      // streams of different tenants do not wait for one another's detectors: a namespace, or a client
	Aux       Snapshotter // state of the stages before the detector, to be kept with the detector's own; may be nil
	ModelFile string      // path of the configured model; "" where none is
	ModelDir  string      // directory that ModelFile is below, and must not lead out of
	_         struct{}    // keyed literals only: fields may be added
}

// NumberedStream is a stream that tells for each row what became of it: [StreamSettings.Answer] is called with the
// number that it was submitted under. A detector that returns after it was given up may answer a second time.
type NumberedStream interface {
	Stream
	// TrySubmitNumbered is TrySubmit. Answer may be called before it returns.
	TrySubmitNumbered(row driver.Row, number uint64) bool
}

// Learner is a stream whose detector can be told that what it took for an anomaly was normal.
type Learner interface {
	Stream
	// Accept waits until the detector has taken what happened in the span for normal, see [driver.Learner].
	Accept(ctx context.Context, span driver.Span) error
}

// Describer is a stream whose detector can say what it has found, see [driver.Describer].
type Describer interface {
	Stream
	Describe(ctx context.Context, in driver.Language) (string, error)
}

// ID is the stable name of the stream: its group's, or the key of its property.
func (s *StreamSettings) ID() string {
	if s.Group == "" && len(s.Members) > 0 {
		return s.Members[0].Key.String()
	}
	return s.Group
}

// Snapshotter has learned state that outlives the process.
type Snapshotter interface {
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// AdapterSettings is what an adapter is made with.
type AdapterSettings struct {
	Drivers  *driver.Registry // detectors to choose from; never nil
	StateDir string           // directory for learned state; "" keeps none
	Hooks    *Hooks           // never nil
	Options  map[string]any   // the mapper's own settings for this adapter, flat; nil where there are none
	Mapper   string           // name of the mapper, "" where it has none
	Node     string           // name of the node that it runs on, "" where not known
	Report   Report           // tells what fails beside detection; nil tells nobody
	_        struct{}         // keyed literals only: fields may be added
}

// AdapterFactory makes adapters of one kind.
type AdapterFactory struct {
	Name    string // the adMethodName
	Summary string // one sentence
	// New makes an adapter; Options are decoded strictly.
	New func(AdapterSettings) (Adapter, error)
	// Params describes its keys, under the prefix of its name; their scope says which of them a Device may set.
	Params func() []params.Param
	// CheckDevice finds what the Device of a configuration says, and must not, beside keys that are the operator's by
	// their scope. options are the mapper's own settings for the adapter, nil where they are not known; nil where there
	// is nothing to find.
	CheckDevice func(options map[string]any, namespace string, c *ADMethodConfig) error
	// Check finds what is wrong with such keys, given without the prefix; nil where Open alone can tell.
	Check func(settings map[string]any) error
	// Cost bounds the memory of a stream in this process; nil means that it is next to nothing. The parameter in it is a
	// whole key. An error is one of the configuration, which Open would find as well.
	Cost func(drivers *driver.Registry, s *StreamSettings) (driver.Cost, error)
	// CheckStream finds what Open would find wrong with the stream that s describes beside that, where detectors of the
	// registry are asked for; nil where there is nothing. It opens nothing that lives on.
	CheckStream func(drivers *driver.Registry, s *StreamSettings) error
}

// AdapterRegistry holds adapters by name. The zero value is empty and ready for use.
type AdapterRegistry struct {
	registry.Registry[AdapterFactory]
}

// RegisterAdapter adds an adapter to [Adapters]. It panics on a duplicate name.
func RegisterAdapter(f AdapterFactory) { Adapters.Register(f.Name, f) }

// DetectorCost is the cost of a detector that judges in this process, for the factories of adapters: that of the driver,
// with the parameter that costs most as a key below prefix.
func DetectorCost(drivers *driver.Registry, name, prefix string, s *StreamSettings, parameters map[string]any) (driver.Cost, error) {
	f, err := drivers.Lookup(name)
	if err != nil {
		return driver.Cost{}, fmt.Errorf("%s: %w", strings.TrimSuffix(prefix, "."), err)
	}
	c, err := f.Cost(driver.Settings{Members: s.Members, Threshold: s.Config.Threshold}, parameters)
	if c.By != "" {
		c.By = prefix + c.By
	}
	return c, err
}
