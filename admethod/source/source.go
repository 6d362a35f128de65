// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package source is the contract of what brings readings of devices whose mapper knows nothing of this project: from a
// message broker, a monitoring system, a file, or the state of the devices in a cluster. A source only brings them; where
// they go is told by routes, and what may come is bounded, by the [Intake] that it is given.
//
// A source is one [Factory], which a package registers from an init function; a program links what it uses by a blank
// import. It is opened from a typed configuration:
//
//	type config struct {
//		Server string `param:"server" doc:"URL of the broker"`
//	}
//
//	func open(s source.Settings) (source.Source, error) {
//		c := config{Server: "mqtt://127.0.0.1:1883"}
//		if err := source.Decode(&c, s.Options); err != nil {
//			return nil, err
//		}
//		return &broker{config: c, report: s.Report}, nil
//	}
//
// Lists of mappings, such as the queries of a monitoring system, are taken out of the options with [params.Each] before
// the rest is decoded.
//
// Package sourcetest proves what a source promises, with an origin that the source's own tests bring.
package source

import (
	"context"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/registry"
)

// Source brings readings from one origin.
type Source interface {
	// Run feeds the intake until ctx ends, and then returns nil or why ctx ended, soon. It is called once, in a goroutine
	// of its own, and joins every goroutine that it starts before it returns.
	//
	// An origin that is out of reach, or goes away, is tried again with backoff for as long as it takes, and told to
	// [Settings].Report. Any other error than that of ctx is one that trying again cannot mend; it ends the program, so
	// what a single reading can cause must not be one.
	//
	// Readings of one series are handed over in the order in which they were taken, so they do not pass through
	// goroutines that run beside each other. What is handed over is done with: a source acknowledges it to its origin when
	// Take has returned, and not before. Where the origin cannot wait, the source keeps what it must within a bound and
	// counts what it drops.
	Run(ctx context.Context, in Intake) error
}

// Intake takes the readings of a source.
type Intake interface {
	// Take hands readings over. It waits while detectors are behind or the source is over its rate, so that it need not
	// drop any. It keeps nothing of the slice, but what the readings point to: their Property, which must not change, and
	// their Answer. It may be called from several goroutines.
	//
	// Readings that can not be judged are refused one by one: the error is a [*RefusedError] then, and all others of the
	// slice were taken. Any other error is that ctx or the intake has ended: what comes after the readings that were
	// taken before is lost, and Run is to return. A reading that was refused is refused again: it must be acknowledged
	// as the others are.
	Take(ctx context.Context, readings []Reading) error
}

// Settings is what a source is made with.
type Settings struct {
	Name     string         // of this source, for logs and files: several may be of one factory
	Options  map[string]any // its settings, nested as in the configuration; nil where there are none
	StateDir string         // directory of this source for what must outlive the process, such as how far it came; "" keeps nothing. It may not be there yet
	// Behind is how much older than the last reading what was learned may be after a crash. An origin that can tells that
	// much again, then: what detectors know of it is passed over.
	Behind time.Duration
	Report admethod.Report // tells what fails and works again; never nil

	_ struct{} // keyed literals only: fields may be added
}

// Factory makes sources of one kind.
type Factory struct {
	Name    string // the type of a source, as configurations have it
	Summary string // one sentence
	// New makes a source. It reads the options strictly, and the files that they name, and reaches nothing else: errors
	// are those of the configuration, all joined, each with its key, the value and what was expected.
	New func(Settings) (Source, error)
	// Params describes the options, but for lists of mappings.
	Params func() []params.Param
}

// Registry holds sources by the name of their factory. The zero value is empty and ready for use.
type Registry struct {
	registry.Registry[Factory]
}

const folder = "github.com/kubeedge/edge-anomaly/admethod/source/"

// Sources is the registry that sources register themselves in when they are imported.
var Sources = &Registry{registry.Registry[Factory]{Packages: map[string]string{
	"file":        folder + "file",
	"kubernetes":  folder + "kubernetes",
	"mqtt":        folder + "mqtt",
	"otlp":        folder + "otlp",
	"prometheus":  folder + "prometheus",
	"remotewrite": folder + "remotewrite",
	"sql":         folder + "sql",
}}}

// Register adds a source to [Sources]. It panics on a duplicate name.
func Register(f Factory) { Sources.Register(f.Name, f) }

// Decode reads options, flat or nested, into the struct that dst points to, over the defaults that are there, as
// [params.Decode] does.
func Decode(dst any, options map[string]any) error {
	flat, err := params.Flatten(options)
	if err != nil {
		return err
	}
	return params.Decode(dst, flat)
}
