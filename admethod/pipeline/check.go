// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Check finds what Bind would find wrong with the configuration of a property, without a handler, a file or a network:
// names of detectors, adapters and sinks that are not linked, keys that they do not know, values that they do not take.
// members is the number of properties in its group, 1 without one. All errors are joined.
func (o Options) Check(key driver.Key, config admethod.ADMethodConfig, meta admethod.Meta, members int) error {
	o.link()
	errs := []error{checkNames(key, &meta), o.checkDevice(key, &config), checkModel(config.Model), o.checkPrefixes(&config)}
	if _, err := stage.NewConverter(meta.DataType, config.Categories); err != nil {
		errs = append(errs, err)
	}
	if _, err := stage.NewPolicy(&config.Policy); err != nil {
		errs = append(errs, err)
	}
	for _, name := range config.Sinks {
		if _, err := o.Sinks.Lookup("sink", name); err != nil {
			errs = append(errs, fmt.Errorf("sinks: %w", err))
		}
	}
	if f, err := o.Adapters.Lookup("adapter", config.ADMethodName); err != nil {
		errs = append(errs, fmt.Errorf("adMethodName: %w", err))
	} else if f.Check != nil {
		if err := f.Check(config.Options[config.ADMethodName]); err != nil {
			errs = append(errs, params.Prefix(config.ADMethodName+".", err))
		}
	}
	member, err := newMember(key, &config, meta)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	s := admethod.StreamSettings{Config: config, Members: make([]driver.Member, max(members, 1))}
	for i := range s.Members {
		s.Members[i] = member
		if i > 0 {
			s.Members[i].Key.Property += fmt.Sprint("#", i)
		}
	}
	if config.Group != "" {
		s.Group = key.Namespace + "/" + config.Group
	}
	if err := o.checkDetector(&s); err != nil {
		errs = append(errs, err)
	}
	if f, err := o.Adapters.Lookup("adapter", config.ADMethodName); err == nil && f.CheckStream != nil {
		errs = append(errs, f.CheckStream(o.Drivers, &s))
	}
	if c, err := o.cost(&s); err == nil { // what is wrong with the configuration is said by now
		errs = append(errs, o.Budget.room(key.Namespace, c, 0))
	}
	return errors.Join(errs...)
}

// checkDetector opens the detector once; what it would need from a model file is not looked at.
func (o *Options) checkDetector(s *admethod.StreamSettings) error {
	c := &s.Config
	f, err := o.Drivers.Lookup(c.Detector)
	if err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	if c.Group != "" && f.Info().Members < 2 {
		return fmt.Errorf("detector %q judges one property alone: want one for groups, or no group", c.Detector)
	}
	_, err = f.Open(c.DriverSettings(s.Members), c.Options["detector"])
	var wrong *params.Error
	if err != nil && c.Model != "" && !errors.As(err, &wrong) {
		return nil
	}
	return err
}

// link fills in the registries that are linked where none are given.
func (o *Options) link() {
	if o.Drivers == nil {
		o.Drivers = driver.Default
	}
	if o.Adapters == nil {
		o.Adapters = admethod.Adapters
	}
	if o.Sinks == nil {
		o.Sinks = admethod.Sinks
	}
}

// checkPrefixes refuses keys whose first segment belongs to nothing that is linked.
func (o *Options) checkPrefixes(c *admethod.ADMethodConfig) error {
	known := slices.Concat([]string{"detector"}, admethod.Sections(), o.Adapters.Names())
	var errs []error
	for prefix, keys := range c.Options {
		if prefix == "detector" {
			continue // the driver checks them
		}
		if _, err := o.Adapters.Lookup("adapter", prefix); err == nil {
			continue // the adapter checks them
		}
		for key := range keys {
			if near := params.Nearest(prefix, known); near != "" {
				errs = append(errs, &params.Error{Key: prefix + "." + key, Want: fmt.Sprintf("unknown key; did you mean %q?", near+"."+key)})
			} else {
				errs = append(errs, params.Unknown(prefix+"."+key, nil))
			}
		}
	}
	return errors.Join(errs...)
}
