// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// groupDetector is the default for groups.
const groupDetector = "autogroup"

// plan is what detect makes of its arguments and of the header of its input.
type plan struct {
	options  *detectOptions
	named    bool // the detector is, by an argument or the model
	detector string
	model    *model.Trained // nil for none
	group    bool
	members  []string // of the group; nil for all columns
	absent   []string // members that the model knows and the input has no column of
}

// plan reads the model, if there is one, and finds the detector.
func (o *detectOptions) plan(named bool) (*plan, error) {
	p := &plan{
		options: o, named: named, detector: o.detector, members: o.members,
		group: o.model != "" || o.members != nil || o.trainRows != 0 || o.format == "pred",
	}
	if o.model != "" {
		var err error
		if p.model, err = readModel(o.model); err != nil {
			return nil, usage(err)
		}
		if named && o.detector != p.model.Driver {
			return nil, usage(fmt.Errorf("--detector: got %q, want %q, for which %s was trained", o.detector, p.model.Driver, o.model))
		}
		if o.trainRows != 0 {
			return nil, usage(errors.New("--train-rows: want none with --model: the model was trained"))
		}
		p.named, p.detector = true, p.model.Driver
	}
	f, err := driver.Default.Lookup(p.detector)
	if err != nil {
		return nil, usage(err)
	}
	if p.named && f.Info().Members <= 1 && p.group && p.model == nil && len(o.members) != 1 && o.format != "pred" {
		return nil, usage(fmt.Errorf("--detector: %q watches one property; --columns and --train-rows want one for a group, such as %s", p.detector, groupDetector))
	}
	return p, nil
}

// readModel reads a model file.
func readModel(path string) (*model.Trained, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := model.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// look finds out what is in the input.
func (p *plan) look(src io.Reader) (*input.Reader, error) {
	f, err := driver.Default.Lookup(p.detector)
	if err != nil {
		return nil, err
	}
	in := p.options.in
	in.Columns = p.members
	if p.model != nil { // whichever of its members there are
		in.Optional = true
		if in.Columns == nil {
			in.Columns = p.model.Members
		}
	}
	in.Texts = p.group || p.named && f.Info().Members > 1
	r, err := in.open(src)
	if err != nil {
		return nil, err
	}
	columns := columnNames(r)
	if !p.group && len(columns) > 1 {
		hasValue := slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(c, "value") || strings.EqualFold(c, "_value") })
		p.group = p.named && f.Info().Members > 1 || !p.named && hasValue < 0
		switch {
		case p.group:
		case hasValue >= 0:
			r.Only(hasValue)
		default: // a detector of one property that is named
			r.Only(0)
		}
	}
	if p.group && r.Long() {
		return nil, errors.New("a group wants a column for each member, the file has a row for each: export it --format wide, or choose a detector of single properties")
	}
	if p.group && !p.named {
		p.detector = groupDetector
	}
	if p.model != nil {
		return r, p.fit(columns)
	}
	return r, nil
}

// fit chooses the columns that the model knows.
func (p *plan) fit(columns []string) error {
	if p.members == nil {
		p.members = p.model.Members
	}
	var present []string
	for _, name := range p.members {
		if slices.Contains(columns, name) {
			present = append(present, name)
		} else {
			p.absent = append(p.absent, name)
		}
	}
	if present == nil {
		return fmt.Errorf("%s knows %s, none of which is among the columns %s",
			p.options.model, strings.Join(p.members, ", "), strings.Join(columns, ", "))
	}
	p.members = present
	return nil
}

// settings are those that were given, over those that the model was trained with.
func (p *plan) settings(set []string) []string {
	var all []string
	if p.model != nil {
		all = settingsOf(&p.model.Facts)
	}
	if n := p.options.trainRows; n != 0 {
		all = append(all, fmt.Sprintf("detector.trainRows=%d", n))
	}
	return append(all, set...)
}

// takesText reports whether a driver takes members with categories.
func takesText(c *admethod.ADMethodConfig) bool {
	_, err := driver.Default.Open(c.Detector, driver.Settings{
		Members: []driver.Member{{Key: driver.Key{Property: "text"}, DataType: "string", Categories: []string{"no", "yes"}}},
	}, nil)
	return err == nil
}
