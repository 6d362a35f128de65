// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/driver"
)

// PropertyMeta describes a property to detection.
type PropertyMeta struct {
	Namespace, Device, Model, Property string

	DataType, Minimum, Maximum, Unit, AccessMode string // of the DeviceModel, as written there

	Cycle time.Duration // time between two readings
}

// Detection watches the readings of properties. [NewDetection] makes one of an [pipeline.Handler]. If it has a method
// Forget(PropertyMeta), that is called for a property that it refused once the property is no longer to be watched. If it
// has a method Generation() uint64, properties are bound anew when what that returns has changed.
type Detection interface {
	// Settings says with which settings a property is to be watched: own are those of the Device, a JSON object, nil
	// where it has none. nil settings mean: not at all.
	Settings(meta PropertyMeta, own json.RawMessage) (json.RawMessage, error)
	// Bind starts watching. It is called again only when meta or the settings have changed.
	Bind(meta PropertyMeta, settings json.RawMessage) (Watcher, error)
}

// Watcher gets the readings of one property.
type Watcher interface {
	ObserveAny(at time.Time, value any) // returns at once and does not keep value
	Close()
}

// Resolver lays the settings of the mapper beneath those of a Device. [config.Store] is one.
type Resolver interface {
	Resolve(t config.Target, own map[string]any) *admethod.Layers
}

// NewDetection makes detection of a started handler. resolver may be nil: then the Devices alone say what is watched.
// A property whose settings are wrong is said to be so by the handler, in its log and to its sinks, and is not watched.
func NewDetection(h *pipeline.Handler, resolver Resolver) Detection {
	return newDetection(h, resolver)
}

func newDetection(h *pipeline.Handler, resolver Resolver) *handlerDetection {
	d := &handlerDetection{resolver: resolver}
	d.use(h)
	return d
}

// use has properties watched by another handler from their next binding on.
func (d *handlerDetection) use(h *pipeline.Handler) {
	d.handler.Store(h)
	d.generation.Add(1)
}

// Generation changes with the handler.
func (d *handlerDetection) Generation() uint64 { return d.generation.Load() }

type handlerDetection struct {
	handler    atomic.Pointer[pipeline.Handler]
	generation atomic.Uint64
	resolver   Resolver
}

// Settings keeps apart who says what: the result is an [admethod.Layers] in JSON.
func (d *handlerDetection) Settings(meta PropertyMeta, own json.RawMessage) (json.RawMessage, error) {
	var device map[string]any
	if own != nil {
		if len(own) > admethod.MaxSettings {
			return nil, d.reject(meta, fmt.Errorf("anomalyDetection: %d bytes of settings: want at most %d", len(own), admethod.MaxSettings))
		}
		if err := decode(own, &device); err != nil {
			return nil, d.reject(meta, fmt.Errorf("anomalyDetection: want a JSON object: %w", err))
		}
		if device == nil {
			device = map[string]any{}
		}
	}
	layers := &admethod.Layers{Device: device}
	if d.resolver != nil {
		layers = d.resolver.Resolve(config.Target{
			Namespace: meta.Namespace, Device: meta.Device, Model: meta.Model, Property: meta.Property,
		}, device)
	} else if own == nil {
		layers = nil
	}
	if layers == nil {
		return nil, nil
	}
	raw, err := json.Marshal(layers) // sorted: equal settings are equal bytes
	if err != nil {
		return nil, d.reject(meta, err)
	}
	return raw, nil
}

func decode(raw json.RawMessage, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(v)
}

func (d *handlerDetection) Bind(meta PropertyMeta, settings json.RawMessage) (Watcher, error) {
	var layers admethod.Layers
	if err := decode(settings, &layers); err != nil {
		return nil, d.reject(meta, fmt.Errorf("anomalyDetection: %w", err))
	}
	cfg, err := layers.Parse()
	if err != nil {
		return nil, d.reject(meta, err)
	}
	binding, err := d.handler.Load().Bind(meta.key(), cfg, admethod.Meta{
		DataType: meta.DataType, Minimum: meta.Minimum, Maximum: meta.Maximum, Unit: meta.Unit,
		AccessMode: meta.AccessMode, Cycle: meta.Cycle, Model: meta.Model,
	})
	if err != nil {
		return nil, err // the handler has told its sinks
	}
	return binding, nil
}

func (d *handlerDetection) reject(meta PropertyMeta, err error) error {
	d.handler.Load().Reject(meta.key(), err)
	return err
}

// Forget is called for a property that was refused and is no more, or no longer to be watched.
func (d *handlerDetection) Forget(meta PropertyMeta) { d.handler.Load().Forget(meta.key()) }

func (m PropertyMeta) key() driver.Key {
	return driver.Key{Namespace: m.Namespace, Device: m.Device, Property: m.Property}
}
