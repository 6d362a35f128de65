// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// origin is a source. What it may use is bounded as a client of an endpoint is.
type origin struct {
	Name       string   `param:"name" maxlen:"63" doc:"of the source, for routes (match.client), the log and its state; its type, where it is not given"`
	Type       string   `param:"type" maxlen:"63" doc:"kind of source, which has options of its own below sources[].options"`
	Namespaces []string `param:"namespaces" max:"65536" doc:"that it may bring readings for; \"*\" is every one"`
	Limits     struct {
		Series int     `param:"series" min:"1" max:"1000000" doc:"properties that are judged at one time; as clientLimits has it, where it is not given"`
		Rate   float64 `param:"rate" min:"0.001" max:"1e9" doc:"readings a second; it waits beyond; likewise"`
		Memory int     `param:"memory" min:"-1" max:"1048576" doc:"MiB that its detectors may take, by what they declare; -1 is no bound; likewise"`
	} `param:"limits"`

	options map[string]any // nested, as the file has them
	source  source.Source
	tells   *teller
}

// newOrigin is a source that nothing is said of.
func newOrigin(l *clientLimits) (o origin) {
	o.Namespaces = []string{"*"}
	o.Limits.Series, o.Limits.Rate, o.Limits.Memory = l.Series, l.Rate, l.Memory
	return o
}

// teller passes on what a source tells, once there is somebody to tell it to.
type teller struct{ to admethod.Report }

func (t *teller) report(part, risk string, err error) {
	if t.to != nil {
		t.to(part, risk, err)
	}
}

var sourceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$`)

// parseSources reads the section sources.
func (c *configuration) parseSources(list any) error {
	const section = "sources"
	items, ok := list.([]any)
	if !ok && list != nil {
		return &params.Error{Key: section, Value: list, Want: "a list"}
	}
	var errs []error
	for i, item := range items {
		key := fmt.Sprintf("%s[%d]", section, i)
		given, ok := item.(map[string]any)
		if !ok {
			errs = append(errs, &params.Error{Key: key, Value: item, Want: "a mapping with type and options"})
			continue
		}
		one := newOrigin(&c.ClientLimits)
		given = maps.Clone(given)
		var wrong []error
		if options, has := given["options"]; has {
			if one.options, ok = options.(map[string]any); !ok && options != nil {
				wrong = append(wrong, &params.Error{Key: "options", Value: options, Want: "a mapping"})
			}
			delete(given, "options")
		}
		flat, err := params.Flatten(given)
		if err == nil {
			err = params.Decode(&one, flat)
		}
		wrong = append(wrong, err)
		if one.Name == "" {
			one.Name = one.Type
		}
		switch {
		case one.Type == "":
			wrong = append(wrong, &params.Error{Key: "type", Want: "required: " + strings.Join(source.Sources.Names(), ", ")})
		case !sourceName.MatchString(one.Name):
			wrong = append(wrong, &params.Error{Key: "name", Value: one.Name, Want: "small letters, digits, - . and _"})
		case slices.ContainsFunc(c.Sources, func(o origin) bool { return o.Name == one.Name }),
			slices.ContainsFunc(c.Clients, func(o client) bool { return o.Name == one.Name }):
			wrong = append(wrong, &params.Error{Key: "name", Value: one.Name, Want: "another one for each source and client"})
		}
		errs = append(errs, params.Prefix(key+".", errors.Join(wrong...)))
		c.Sources = append(c.Sources, one)
	}
	return errors.Join(errs...)
}

// openSources makes the sources, which reaches nothing but the files that they name.
func (c *configuration) openSources() error {
	var errs []error
	for i := range c.Sources {
		o := &c.Sources[i]
		key := fmt.Sprintf("sources[%d]", i)
		if o.Type == "" {
			continue // is told
		}
		f, err := source.Sources.Lookup("source", o.Type)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.type: %w", key, err))
			continue
		}
		o.tells = new(teller)
		settings := source.Settings{Name: o.Name, Options: o.options, Behind: c.Limits.Snapshot, Report: o.tells.report}
		if dir := c.Detection.StateDir; dir != "" {
			settings.StateDir = filepath.Join(dir, "sources", o.Name)
		}
		if o.source, err = f.New(settings); err != nil {
			err = ofAnother(o.Type, err)
			for _, one := range leaves(err) {
				errs = append(errs, below(key+".options", one))
			}
		}
	}
	return errors.Join(errs...)
}

// parts are the sources as parts of the intake.
func (c *configuration) parts(in *intake.Intake) (parts []part) {
	for i := range c.Sources {
		o := &c.Sources[i]
		o.tells.to = in.Report
		known := in.Client(o.Name, o.Namespaces, intake.Limits{
			Streams: 1, Series: o.Limits.Series, Rate: o.Limits.Rate, Memory: o.Limits.Memory,
		})
		parts = append(parts, in.Source(known, o.source))
	}
	return parts
}
