// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/report"
)

// backtest gathers what a run of detect is reported with. A nil backtest gathers nothing.
type backtest struct {
	html, png string // files; "" for none
	info      report.Info
	run       *report.Run // nil before begin
}

// backtest returns nil where no report is wanted.
func (o *detectOptions) backtest(c *admethod.ADMethodConfig, p *plan) *backtest {
	if o.report == "" && o.png == "" {
		return nil
	}
	b := &backtest{html: o.report, png: o.png, info: report.Info{
		Input: filepath.Base(o.input), Detector: c.Detector, Threshold: c.Threshold, Settings: p.settings(o.set),
	}}
	if o.input == "-" {
		b.info.Input = "standard input"
	}
	if o.model != "" {
		b.info.Model = filepath.Base(o.model)
	}
	return b
}

// begin names the members, and tells whether the input has labels.
func (b *backtest) begin(members []string, labelled bool) {
	if b != nil && b.run == nil {
		b.info.Members, b.info.Labelled = members, labelled
		b.run = report.New(b.info)
	}
}

// reading adds the reading of one property.
func (b *backtest) reading(r *record, o *replay.Outcome) {
	if b == nil {
		return
	}
	b.run.Add(&report.Row{
		At: r.At, Values: []report.Value{{Number: r.Value, Text: r.Text}}, Score: o.Score, Severity: o.Severity, Kind: o.Kind,
		Expected: o.Expected, Lower: o.Lower, Upper: o.Upper, Label: r.label, Incident: o.Incident,
	})
}

// row adds the row of a group.
func (b *backtest) row(at time.Time, values []report.Value, label bool, o *replay.RowOutcome) {
	if b == nil {
		return
	}
	b.run.Add(&report.Row{
		At: at, Values: values, Score: o.Score, Severity: o.Severity, Kind: o.Kind, Blamed: o.Blamed,
		Expected: o.Expected, Lower: o.Lower, Upper: o.Upper, Label: label, Incident: o.Incident,
	})
}

// write writes the files, each whole or not at all.
func (b *backtest) write() error {
	if b == nil {
		return nil
	}
	b.begin(nil, false) // for an input without a row
	var errs []error
	for name, draw := range map[string]func(io.Writer) error{b.html: b.run.HTML, b.png: b.run.PNG} {
		if name == "" {
			continue
		}
		var page bytes.Buffer
		err := draw(&page)
		if err == nil {
			err = writeFile(name, page.Bytes(), 0o644)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("report %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
