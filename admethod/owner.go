// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Layers are the settings of a property by who says them. What the operator of the mapper says is trusted. A Device is
// written by people of one namespace: it may set the keys of [Options.DeviceKeys] and no other, and wins where both say
// something.
type Layers struct {
	Operator map[string]any `json:"operator,omitempty"` // defaults and routes of the mapper
	Device   map[string]any `json:"device,omitempty"`   // pushMethod.anomalyDetection
}

// MaxSettings is how many bytes of settings, keys and values, a Device may have for a property.
const MaxSettings = 64 << 10

const (
	mostKeys    = 256
	longestKey  = 128 // bytes
	longestName = 253 // bytes of a namespace, device or property, as Kubernetes has it
)

// Parse reads the settings over [DefaultConfig]. That a Device sets nothing that it may not is found by Bind and Check,
// which know what is linked.
func (l Layers) Parse() (ADMethodConfig, error) {
	operator, err := flatten(l.Operator)
	if err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: of the mapper: %w", err)
	}
	if err := bounded(l.Device); err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %w", err)
	}
	device, err := flatten(l.Device)
	if err == nil {
		err = bounded(device)
	}
	if err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %w", err)
	}
	merged := make(map[string]any, len(operator)+len(device))
	maps.Copy(merged, operator)
	maps.Copy(merged, device)
	c, err := parseFlat(merged)
	if err != nil {
		return ADMethodConfig{}, err
	}
	c.device = slices.Sorted(maps.Keys(device))
	return c, nil
}

// bounded refuses settings that would cost more to look at than they can be worth.
func bounded(settings map[string]any) error {
	if len(settings) > mostKeys {
		return fmt.Errorf("%d keys: want at most %d", len(settings), mostKeys)
	}
	size := 0
	for key, value := range settings {
		if len(key) > longestKey {
			return &params.Error{Key: key, Want: fmt.Sprintf("a key has at most %d bytes, not %d", longestKey, len(key))}
		}
		size += len(key) + sizeOf(value)
	}
	if size > MaxSettings {
		return fmt.Errorf("%d bytes of settings: want at most %d", size, MaxSettings)
	}
	return nil
}

func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		size := 0
		for _, item := range v {
			size += 1 + sizeOf(item)
		}
		return size
	case map[string]any:
		size := 0
		for key, item := range v {
			size += len(key) + sizeOf(item)
		}
		return size
	}
	return 8
}

// FromDevice reports whether the Device set the key, as opposed to the mapper's operator. Adapters ask: what is shown to
// a peer that the operator chose must not travel to one that a Device chose.
func (c *ADMethodConfig) FromDevice(key string) bool {
	_, found := slices.BinarySearch(c.device, key)
	return found
}

// DeviceKey is a key that a Device may set.
type DeviceKey struct {
	Key  string // a trailing ".*" stands for what is below it
	Note string // under what condition; "" where there is none
}

// DeviceKeys lists what a Device may set; it is what [Handler.Bind], `adctl lint`, the admission policy and the reference
// go by. Everything else is the operator's.
func (o Options) DeviceKeys() []DeviceKey {
	o.link()
	keys := []DeviceKey{
		{Key: "enabled", Note: "false switches detection off, in mappers on package device"},
		{Key: richKey, Note: "holds other keys of this table as one JSON text"},
	}
	for _, p := range params.Describe(DefaultConfig()) {
		switch {
		case p.Scope != params.Device:
		case p.Key == "sinks":
			keys = append(keys, DeviceKey{Key: p.Key, Note: "of those that the mapper's configuration lists for Devices (deviceSinks)"})
		default:
			keys = append(keys, DeviceKey{Key: p.Key})
		}
	}
	keys = append(keys, DeviceKey{Key: "detector.*", Note: "the parameters of the detector"})
	for _, f := range o.Adapters.Items() {
		for _, p := range described(f.Params) {
			key := f.Name + "." + p.Key
			switch p.Scope {
			case params.Device:
				keys = append(keys, DeviceKey{Key: key})
				if p.Key == "fallback" {
					keys = append(keys, DeviceKey{Key: key + ".*", Note: "the parameters of the fallback"})
				}
			case params.Allowed:
				if !allowsAny(o.AdapterOptions[f.Name]) {
					continue
				}
				keys = append(keys, DeviceKey{Key: key, Note: "where the mapper's configuration allows it to the namespace (adapterOptions." + f.Name + ".allow)"})
			}
		}
	}
	return keys
}

// allowsAny says whether the operator of a mapper allows addresses to any namespace.
func allowsAny(options map[string]any) bool {
	for key := range options {
		if strings.HasPrefix(key, "allow.") {
			return true
		}
	}
	return false
}

// notDevice begins the error for a key that is the operator's.
const notDevice = "a Device must not set it: "

// NotDevice is the error for a key that is the operator's; instead says what to write.
func NotDevice(key, instead string) *params.Error {
	return &params.Error{Key: key, Want: notDevice + instead}
}

// IsOperators reports whether err says that a Device sets a key that is the operator's.
func IsOperators(err error) bool {
	switch e := err.(type) { //nolint:errorlint // each of those that are joined is looked at
	case *params.Error:
		return strings.HasPrefix(e.Want, notDevice)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), IsOperators)
	case interface{ Unwrap() error }:
		return IsOperators(e.Unwrap())
	}
	return false
}

// checkDevice refuses what a Device sets that is the operator's, and says what to write instead.
func (o *Options) checkDevice(key driver.Key, c *ADMethodConfig) error {
	if len(c.device) == 0 {
		return nil
	}
	var errs []error
	core := params.Describe(DefaultConfig())
	for _, name := range c.device {
		prefix, rest, dotted := strings.Cut(name, ".")
		switch adapter, err := o.Adapters.Lookup("adapter", prefix); {
		case prefix == "detector" && dotted:
			errs = append(errs, o.checkParameter(c.Detector, name, rest))
		case dotted && err == nil:
			errs = append(errs, checkAdapterKey(adapter, rest))
		default: // what nothing that is linked knows is refused elsewhere
			if i := slices.IndexFunc(core, func(p params.Param) bool { return p.Key == name }); i >= 0 && core[i].Scope != params.Device {
				errs = append(errs, NotDevice(name, "it belongs in the mapper's configuration, under anomalyDetection.defaults"))
			}
		}
	}
	if c.FromDevice("sinks") {
		errs = append(errs, o.checkDeviceSinks(c.Sinks))
	}
	if f, err := o.Adapters.Lookup("adapter", c.ADMethodName); err == nil && f.CheckDevice != nil {
		errs = append(errs, params.Prefix(f.Name+".", f.CheckDevice(o.AdapterOptions[f.Name], key.Namespace, c)))
	}
	return errors.Join(errs...)
}

// checkParameter refuses a parameter that a driver keeps for the operator. A driver does no I/O, so that most have none.
func (o *Options) checkParameter(detector, key, parameter string) error {
	f, err := o.Drivers.Lookup(detector)
	if err != nil {
		return nil //nolint:nilerr // said elsewhere
	}
	for _, p := range f.Params() {
		if p.Key == parameter && p.Scope != params.Device {
			return NotDevice(key, "it belongs in the mapper's configuration, under anomalyDetection.defaults")
		}
	}
	return nil
}

func checkAdapterKey(f AdapterFactory, key string) error {
	all := described(f.Params)
	target := slices.ContainsFunc(all, func(p params.Param) bool { return p.Key == "target" && p.Scope == params.Device })
	for _, p := range all {
		switch below := strings.HasPrefix(key, p.Key+"."); {
		case p.Key != key && !below:
		case p.Scope == params.Device, p.Scope == params.Allowed && f.CheckDevice != nil && !below:
			return nil
		}
	}
	if !slices.ContainsFunc(all, func(p params.Param) bool { return p.Key == key }) &&
		!strings.HasPrefix(key, "targets.") && !strings.HasPrefix(key, "allow.") {
		return nil // not a key at all, which the adapter says better
	}
	if target {
		return NotDevice(f.Name+"."+key, fmt.Sprintf(
			"write %s.target: NAME, a target that the mapper's configuration has as adapterOptions.%[1]s.targets.NAME (%s there)", f.Name, key))
	}
	return NotDevice(f.Name+"."+key, "it belongs in the mapper's configuration, under adapterOptions."+f.Name)
}

// checkDeviceSinks refuses sinks that the operator has not listed for Devices. Where nobody has said what they are, as
// in a check without the mapper's configuration, there is nothing to go by.
func (o *Options) checkDeviceSinks(names []string) error {
	allowed := o.DeviceSinks
	if allowed == nil {
		if allowed = o.DefaultSinks; allowed == nil {
			return nil
		}
	}
	for _, name := range names {
		if !slices.Contains(allowed, name) {
			return NotDevice("sinks", fmt.Sprintf(
				"%q is not among the sinks for Devices (%s); the operator adds it to anomalyDetection.deviceSinks", name, strings.Join(allowed, ", ")))
		}
	}
	return nil
}

func described(f func() []params.Param) []params.Param {
	if f == nil {
		return nil
	}
	return f()
}

// checkNames bounds what the Device and its model say that is not a setting.
func checkNames(key driver.Key, meta *Meta) error {
	for _, n := range [...]struct{ what, text string }{
		{"namespace", key.Namespace}, {"device", key.Device}, {"property", key.Property}, {"unit", meta.Unit},
		{"data type", meta.DataType}, {"minimum", meta.Minimum}, {"maximum", meta.Maximum}, {"model", meta.Model}, {"access mode", meta.AccessMode},
	} {
		if len(n.text) > longestName {
			return fmt.Errorf("%s: want at most %d bytes, got %d", n.what, longestName, len(n.text))
		}
	}
	return nil
}
