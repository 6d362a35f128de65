// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"

	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/registry"
)

// Info describes a driver. It is what `adctl` and the reference documentation print.
type Info struct {
	Name    string // as written in a Device: lower-case letters and digits
	Summary string // one sentence: what it finds
	Source  string // of the method: paper and section
	Kinds   []Kind // the kinds it can report
	Members int    // most members of a row; 0 means 1
}

// Factory opens detectors of one kind. It is made by [NewFactory]; the zero value is invalid.
type Factory struct {
	info     Info
	describe func() []params.Param
	open     func(Settings, map[string]any) (Detector, error)
	cost     func(Settings, map[string]any) (Cost, error)
}

// Validator is implemented by configurations with rules that bounds of single keys cannot express. It is called on the
// decoded configuration and joins all it finds.
type Validator interface{ Validate() error }

// NewFactory makes a driver's factory from its description, a function that returns the configuration's defaults (a
// struct with `param` tags, see package params), and a function that opens a detector. open is called with settings
// that are complete and a configuration that is valid.
func NewFactory[C any](info Info, defaults func() C, open func(Settings, C) (Detector, error)) Factory {
	info.Members = max(info.Members, 1)
	return Factory{
		info: info,
		describe: func() []params.Param {
			described := params.Describe(defaults())
			for i := range described {
				if described[i].Scope == "" { // a detector does no I/O: its parameters reach nothing but itself
					described[i].Scope = params.Device
				}
			}
			return described
		},
		open: func(s Settings, raw map[string]any) (Detector, error) {
			c, err := decode(defaults, raw)
			if err != nil {
				return nil, err
			}
			return open(s, c)
		},
		cost: func(s Settings, raw map[string]any) (Cost, error) {
			c, err := decode(defaults, raw)
			if err != nil {
				return Cost{}, err
			}
			return costOf(&c, s), nil
		},
	}
}

// decode reads a configuration over its defaults.
func decode[C any](defaults func() C, raw map[string]any) (C, error) {
	c := defaults()
	err := params.Decode(&c, raw)
	if v, ok := any(&c).(Validator); ok && err == nil {
		err = v.Validate()
	}
	return c, err
}

// Info describes the driver.
func (f Factory) Info() Info { return f.info }

// Params describes the keys of the driver's configuration, with their defaults. A Device may set them all but those with
// the tag `scope:"operator"`.
func (f Factory) Params() []params.Param { return f.describe() }

// Open opens a detector. raw holds the driver's own keys (without the prefix "detector."); it is decoded strictly
// over the defaults and validated, all errors joined.
func (f Factory) Open(s Settings, raw map[string]any) (Detector, error) {
	if len(s.Members) == 0 || len(s.Members) > f.info.Members {
		return nil, fmt.Errorf("detector %q takes 1 to %d members, got %d", f.info.Name, f.info.Members, len(s.Members))
	}
	if s.Threshold == 0 {
		s.Threshold = DefaultThreshold
	}
	if !(s.Threshold > 0 && s.Threshold < 1) {
		return nil, fmt.Errorf("detector %q: threshold: got %v, want more than 0 and less than 1", f.info.Name, s.Threshold)
	}
	d, err := f.open(s, raw)
	if err != nil {
		return nil, fmt.Errorf("detector %q: %w", f.info.Name, params.Prefix("detector.", err))
	}
	return d, nil
}

// Heard is the same factory; hear is called with each detector that it opens.
func (f Factory) Heard(hear func(Detector)) Factory {
	open := f.open
	f.open = func(s Settings, raw map[string]any) (Detector, error) {
		d, err := open(s, raw)
		if err == nil {
			hear(d)
		}
		return d, err
	}
	return f
}

// Registry holds factories by name. The zero value is empty and ready for use; it is safe for concurrent use.
type Registry struct{ factories registry.Registry[Factory] }

// NewRegistry returns a registry of the given factories, for tests and for programs that allow only some drivers.
func NewRegistry(factories ...Factory) *Registry {
	r := new(Registry)
	for _, f := range factories {
		r.Register(f)
	}
	return r
}

// Default is the registry that drivers register themselves in when they are imported.
var Default = new(Registry)

// Register adds a driver to the [Default] registry.
func Register(f Factory) { Default.Register(f) }

// Open opens a detector of the [Default] registry.
func Open(name string, s Settings, raw map[string]any) (Detector, error) {
	return Default.Open(name, s, raw)
}

// Register adds a driver. It panics if the factory was not made by [NewFactory] or its name is taken: both are
// mistakes of the program.
func (r *Registry) Register(f Factory) {
	if f.open == nil {
		panic("driver: Register of a factory that was not made by NewFactory")
	}
	r.factories.Register(f.info.Name, f)
}

// Retire notes that there was a driver of that name, and what to use in its place: the error of [Registry.Lookup] says so.
func (r *Registry) Retire(name, instead string) { r.factories.Retire(name, instead) }

// Lookup finds a factory by name. The error for an unknown name lists what is registered.
func (r *Registry) Lookup(name string) (Factory, error) { return r.factories.Lookup("detector", name) }

// Open opens a detector by the name of its driver.
func (r *Registry) Open(name string, s Settings, raw map[string]any) (Detector, error) {
	f, err := r.Lookup(name)
	if err != nil {
		return nil, err
	}
	return f.Open(s, raw)
}

// Factories lists what is registered, sorted by name.
func (r *Registry) Factories() []Factory { return r.factories.Items() }
