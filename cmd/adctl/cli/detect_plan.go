// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

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
	each     bool     // each column is judged alone
	members  []string // of the group; nil for all columns
	absent   []string // members that the model knows and the input has no column of
}

// plan reads the model, if there is one, and finds the detector.
func (o *detectOptions) plan(named bool) (*plan, error) {
	p := &plan{
		options: o, named: named, detector: o.detector, members: o.members,
		group: o.model != "" || o.trainRows != 0 || o.format == "pred",
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
	if p.named && f.Info().Members <= 1 && o.trainRows != 0 {
		return nil, usage(fmt.Errorf("--detector: %q watches one property; --train-rows wants one for a group, such as %s", p.detector, groupDetector))
	}
	if known := []string{"", "int", "float", "double", "boolean", "string"}; !slices.Contains(known, o.dataType) {
		return nil, usage(fmt.Errorf("--type: got %q, want one of %s", o.dataType, strings.Join(known[1:], ", ")))
	}
	if o.alarms != "" {
		o.set = append(slices.Clip(o.set), "alarms="+o.alarms)
	}
	return p, nil
}

// readModel reads a model file.
func readModel(path string) (*model.Trained, error) {
	f, err := openModelFile(path)
	if err != nil {
		return nil, err
	}
	return f.model, nil
}

// look finds out what is in the input.
func (p *plan) look(src io.Reader, log io.Writer) (*input.Reader, error) {
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
	hasValue := slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(c, "value") || strings.EqualFold(c, "_value") })
	if len(columns) > 1 && hasValue >= 0 && p.members == nil && !p.group && (!p.named || f.Info().Members <= 1) {
		r.Only(hasValue)
		others := slices.Delete(slices.Clone(columns), hasValue, hasValue+1)
		fmt.Fprintf(log, "column %q is judged, and not %s: --columns chooses\n", columns[hasValue], strings.Join(others, ", "))
		columns = columnNames(r)
	}
	several := len(columns) > 1
	if most := groupMembers(); !p.named && p.model == nil && p.members == nil && !p.group && !r.Long() && len(columns) > most {
		fmt.Fprintf(log, "%d columns are more than the %d that %s takes together: each is judged alone\n", len(columns), most, groupDetector)
		p.each = true
		return r, nil
	}
	switch {
	case p.model != nil:
	case p.named && f.Info().Members > 1: // of one column too, as a property alone
		p.group = p.group || several
		p.each = !p.group
	case p.named:
		p.each = true
	case p.group:
		p.detector = groupDetector
	default: // each alone, and several together
		p.each = true
		p.group = several && !r.Long()
	}
	if p.group && r.Long() {
		return nil, errors.New("a group wants a column for each member, the file has a row for each: export it --format wide, or choose a detector of single properties")
	}
	if p.model != nil {
		return r, p.fit(columns)
	}
	return r, nil
}

// groupMembers is the most members that the default for groups takes.
func groupMembers() int {
	f, err := driver.Default.Lookup(groupDetector)
	if err != nil {
		return 0 // this program was built without it
	}
	return f.Info().Members
}

// judging is what the columns are judged by.
func (p *plan) judging(r *input.Reader, log io.Writer) (j judging, err error) {
	set := p.settings(p.options.set)
	if p.each && p.group && ofDetector(set) { // a key of one of the two detectors says which is meant
		c, err := config(p.detector, set)
		if err != nil {
			return j, err
		}
		p.each = opens(&c)
		p.group = !p.each
	}
	if p.options.alarms != "" && r.Cadence() == 0 {
		return j, errors.New("--alarms: no time between readings is known")
	}
	both := p.each && p.group
	if p.each {
		c, err := config(p.detector, set)
		if err != nil {
			return j, err
		}
		j.alone = paced(&c, r.Cadence())
	}
	if p.group {
		name := p.detector
		if both || !p.each && !p.named {
			name = groupDetector
		}
		c, err := config(name, set)
		if err != nil {
			return j, err
		}
		p.detector = name
		c = untimed(c)
		if c.Settings()["rows.maxAge"] == nil && r.Cadence() > 0 { // that of four rows, as a mapper has it from the cycles
			c.Rows.MaxAge = 4 * r.Cadence()
		}
		j.together = paced(&c, r.Cadence())
	}
	if j.alone != nil && len(r.Columns()) > 1 {
		c := untimed(*j.alone)
		j.alone = &c
	}
	j.model, j.dataType = p.options.model, p.options.dataType
	alone, grouped := j.alone != nil && takesText(j.alone), j.together != nil && takesText(j.together)
	var left []string // by those that take numbers only
	taker := j.alone
	if j.together != nil {
		taker = j.together
	}
	for i, c := range r.Columns() {
		group := j.together != nil && (grouped || !c.Text)
		if c.Text && !group {
			left = append(left, c.Name)
		}
		if c.Text && !group && !alone && (j.alone == nil || len(r.Columns()) > 1) { // the one column there is may be of states
			continue
		}
		if group {
			j.members = append(j.members, len(j.columns))
		}
		j.columns, j.index = append(j.columns, c), append(j.index, i)
	}
	switch {
	case j.alone != nil && len(j.members) == 1: // nobody to compare it with
		j.together, j.members, p.group = nil, nil, false
	case left != nil && taker == j.together && j.alone != nil:
		fmt.Fprintf(log, "detector %s takes numbers, not the texts of %s: they are judged alone\n", taker.Detector, strings.Join(left, ", "))
	case left != nil && len(j.columns) < len(r.Columns()):
		fmt.Fprintf(log, "detector %s takes numbers, not the texts of %s: left out\n", taker.Detector, strings.Join(left, ", "))
	}
	if len(p.absent) > 0 {
		fmt.Fprintf(log, "no column for %s: counts as missing\n", strings.Join(p.absent, ", "))
	}
	if len(j.columns) == 0 {
		return j, fmt.Errorf("detector %s takes numbers, and no column has any", taker.Detector)
	}
	return j, nil
}

// ofDetector reports whether a setting is of the detector.
func ofDetector(set []string) bool {
	return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), "detector.") })
}

// opens reports whether the detector of single properties takes the settings.
func opens(c *admethod.ADMethodConfig) bool {
	member := driver.Member{Key: driver.Key{Property: "value"}, DataType: "double"}
	_, err := driver.Default.Open(c.Detector, driver.Settings{Members: []driver.Member{member}}, c.Options["detector"])
	return err == nil
}

// paced sets the threshold by the time between readings, where the configuration has a number of false alarms in a time.
func paced(c *admethod.ADMethodConfig, cadence time.Duration) *admethod.ADMethodConfig {
	if _, own := c.Settings()["threshold"]; own || c.Policy.Alarms.Count == 0 {
		return c
	}
	if c.Quality.Cycle > 0 {
		cadence = c.Quality.Cycle
	}
	if t := c.Policy.Alarms.Threshold(cadence); t > 0 {
		c.Threshold = t
	}
	return c
}

// untimed turns the checks of the time between readings off, unless they are configured: all members of a row have its
// time, so a gap tells of the recording, not of a member.
func untimed(c admethod.ADMethodConfig) admethod.ADMethodConfig {
	settings := c.Settings()
	if settings["quality.missing"] == nil {
		c.Quality.Missing = 0
	}
	if settings["quality.late"] == nil {
		c.Quality.Late = 0
	}
	return c
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
