// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// taps listen to what passes between a handler and its adapters: the stages before an adapter keep some readings back,
// so verdicts alone do not tell whose they are.
type taps struct {
	submitted func() // a row is handed to the adapter
	// verdict, if not nil, is called with the adapter's verdict on a row and what delivers it.
	verdict func(r *driver.Result, deliver func(*driver.Result))
}

// tapped is a registry of all linked adapters, with taps.
func tapped(to taps) *admethod.AdapterRegistry {
	registry := new(admethod.AdapterRegistry)
	for _, f := range admethod.Adapters.Items() {
		open := f.New
		f.New = func(settings admethod.AdapterSettings) (admethod.Adapter, error) {
			a, err := open(settings)
			if err != nil {
				return nil, err
			}
			return tap{a, to}, nil
		}
		registry.Register(f.Name, f)
	}
	return registry
}

type tap struct {
	admethod.Adapter
	to taps
}

// Open implements admethod.Adapter.
func (t tap) Open(settings admethod.StreamSettings) (admethod.Stream, error) {
	if t.to.verdict != nil {
		deliver := settings.Deliver
		settings.Deliver = func(r *driver.Result, row driver.Row) {
			t.to.verdict(r, func(r *driver.Result) { deliver(r, row) })
		}
	}
	inner, err := t.Adapter.Open(settings)
	if err != nil {
		return nil, err
	}
	return tappedStream{inner, t.to}, nil
}

type tappedStream struct {
	admethod.Stream
	to taps
}

// TrySubmit implements admethod.Stream.
func (t tappedStream) TrySubmit(row driver.Row) bool {
	t.to.submitted()
	return t.Stream.TrySubmit(row)
}
