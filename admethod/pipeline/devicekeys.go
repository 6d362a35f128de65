// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const longestName = 253 // bytes of a namespace, device or property, as Kubernetes has it

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
		{Key: "config", Note: "holds other keys of this table as one JSON text"},
	}
	for _, p := range params.Describe(admethod.DefaultConfig()) {
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

// checkDevice refuses what a Device sets that is the operator's, and says what to write instead.
func (o *Options) checkDevice(key driver.Key, c *admethod.ADMethodConfig) error {
	if len(c.DeviceSets()) == 0 {
		return nil
	}
	var errs []error
	core := params.Describe(admethod.DefaultConfig())
	for _, name := range c.DeviceSets() {
		prefix, rest, dotted := strings.Cut(name, ".")
		switch adapter, err := o.Adapters.Lookup("adapter", prefix); {
		case prefix == "detector" && dotted:
			errs = append(errs, o.checkParameter(c.Detector, name, rest))
		case dotted && err == nil:
			errs = append(errs, checkAdapterKey(adapter, rest))
		default: // what nothing that is linked knows is refused elsewhere
			if i := slices.IndexFunc(core, func(p params.Param) bool { return p.Key == name }); i >= 0 && core[i].Scope != params.Device {
				errs = append(errs, admethod.NotDevice(name, "it belongs in the mapper's configuration, under anomalyDetection.defaults"))
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
			return admethod.NotDevice(key, "it belongs in the mapper's configuration, under anomalyDetection.defaults")
		}
	}
	return nil
}

func checkAdapterKey(f admethod.AdapterFactory, key string) error {
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
		return admethod.NotDevice(f.Name+"."+key, fmt.Sprintf(
			"write %s.target: NAME, a target that the mapper's configuration has as adapterOptions.%[1]s.targets.NAME (%s there)", f.Name, key))
	}
	return admethod.NotDevice(f.Name+"."+key, "it belongs in the mapper's configuration, under adapterOptions."+f.Name)
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
			return admethod.NotDevice("sinks", fmt.Sprintf(
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
func checkNames(key driver.Key, meta *admethod.Meta) error {
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
