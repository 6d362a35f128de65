// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// parts are the errors that a sentence joins, each with what stands before them.
func parts(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if _, joined := e.(interface{ Unwrap() []error }); !joined {
			continue
		}
		before, ok := strings.CutSuffix(err.Error(), e.Error())
		all := leaves(e)
		if !ok || len(all) < 2 {
			break
		}
		for i := range all {
			all[i] = fmt.Errorf("%s%w", before, all[i])
		}
		return all
	}
	return leaves(err)
}

// below puts a key before an error, which may be one of a key below it.
func below(key string, err error) error {
	if prefixed := params.Prefix(key+".", err); prefixed.Error() != err.Error() {
		return prefixed
	}
	return fmt.Errorf("%s: %w", key, err)
}

// under puts a key before each of the errors that are joined in err, but for those that are among known.
func under(key string, err error, known []error) []error {
	if err == nil {
		return nil
	}
	var all []error
	for _, one := range parts(err) {
		if !slices.ContainsFunc(known, func(o error) bool { return o.Error() == one.Error() }) {
			if _, own := one.(*params.Error); own { //nolint:errorlint // one that is wrapped has another key before its own
				all = append(all, below(key, one))
			} else {
				all = append(all, fmt.Errorf("%s: %w", key, one))
			}
		}
	}
	return all
}

// ofAnother says of keys that a source does not know which source has them.
func ofAnother(kind string, err error) error {
	for _, one := range leaves(err) {
		var e *params.Error
		if !errors.As(one, &e) || !strings.HasPrefix(e.Want, "unknown key") {
			continue
		}
		var others []string
		for _, name := range source.Sources.Names() {
			f, err := source.Sources.Lookup("source", name)
			if err == nil && name != kind && slices.ContainsFunc(f.Params(), func(p params.Param) bool { return p.Key == e.Key }) {
				others = append(others, name)
			}
		}
		if others != nil {
			e.Want = fmt.Sprintf("no such key: it is one of the source %s, not of %s", strings.Join(others, ", "), kind)
		}
	}
	return err
}

// checkSinks finds wrong options of sinks, those that are not in use included. It reaches nothing, and starts none.
func (c *configuration) checkSinks() error {
	d := &c.Detection
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.SinkOptions)) {
		key := "anomalyDetection.sinkOptions." + name
		f, err := admethod.Sinks.Lookup("sink", name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
			continue
		}
		_, err = f.New(admethod.SinkSettings{
			Hooks: new(admethod.Hooks), Options: d.SinkOptions[name], StateDir: d.StateDir, Language: d.Language(),
			Stats: func() admethod.Stats { return admethod.Stats{} }, Report: func(string, string, error) {},
		})
		for _, one := range leaves(err) {
			var wrong *params.Error
			if errors.As(one, &wrong) { // others are of files, which may be there later
				errs = append(errs, params.Prefix(key+".", one))
			}
		}
	}
	for i, name := range d.Sinks {
		if _, err := admethod.Sinks.Lookup("sink", name); err != nil {
			errs = append(errs, fmt.Errorf("anomalyDetection.sinks[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// uncounted are routes that never count: of a client or source that there is not, and those whose keys a later one sets for
// all that they match.
func (c *configuration) uncounted() error {
	var errs []error
	known := c.senders()
	for i := range c.Routes {
		r := &c.Routes[i]
		key := fmt.Sprintf("anomalyDetection.routes[%d]", i)
		if r.Client != "" && !slices.ContainsFunc(known, func(name string) bool { ok, err := path.Match(r.Client, name); return ok && err == nil }) {
			errs = append(errs, &params.Error{Key: key + ".match.client", Value: r.Client, Want: "the name of a client or source: " + strings.Join(known, ", ")})
		}
		for j := i + 1; j < len(c.Routes); j++ {
			if covers(&c.Routes[j], r) {
				errs = append(errs, fmt.Errorf("%s: it never counts: routes[%d] comes later, matches all that it does and sets the same keys; want it behind that one", key, j))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// senders are the names that readings come by.
func (c *configuration) senders() (names []string) {
	for i := range c.Sources {
		names = append(names, c.Sources[i].Name)
	}
	for i := range c.Clients {
		names = append(names, c.Clients[i].Name)
	}
	switch {
	case c.Listen == "" && c.HTTP.Listen == "":
	case c.Insecure:
		names = append(names, "anybody")
	case len(c.Anonymous) > 0:
		names = append(names, "anonymous")
	}
	return names
}

// covers reports whether a route matches all that another one does, and sets all that it sets.
func covers(r, other *detectserver.Route) bool {
	all := func(pattern, of string) bool { return pattern == "" || pattern == "*" || pattern == of }
	if !all(r.Namespace, other.Namespace) || !all(r.Device, other.Device) || !all(r.Property, other.Property) ||
		!all(r.Client, other.Client) || !all(r.Model, other.Model) {
		return false
	}
	for name, pattern := range r.Labels {
		if of, has := other.Labels[name]; !has || pattern != "*" && pattern != of {
			return false
		}
	}
	for key := range other.Settings {
		if _, sets := r.Settings[key]; !sets {
			return false
		}
	}
	return true
}
