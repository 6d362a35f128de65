// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/account"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/report"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// backtest gathers what a run of detect is reported with. A nil backtest gathers nothing.
type backtest struct {
	html, png string // files; "" for none
	run       *report.Run
}

// backtest returns nil where no report is wanted.
func (o *detectOptions) backtest(p *plan, threshold float64, src *input.Reader, columns []input.Column) *backtest {
	if o.report == "" && o.png == "" {
		return nil
	}
	b := &backtest{html: o.report, png: o.png}
	info := report.Info{
		Input: filepath.Base(o.files[0]), Detector: p.judges(), Threshold: threshold, Settings: p.settings(o.set),
		Labelled: src.LabelColumn(), AsWritten: src.AsWritten(), Timezone: o.in.timezone, Counts: src.Counts(),
	}
	for _, c := range columns {
		info.Members, info.Units = append(info.Members, c.Name), append(info.Units, c.Unit)
	}
	if o.files[0] == "-" {
		info.Input = "standard input"
	}
	if o.model != "" {
		info.Model = filepath.Base(o.model)
	}
	b.run = report.New(info)
	return b
}

// row adds a row.
func (b *backtest) row(w *waitingRow, o *account.Row) {
	if b == nil {
		return
	}
	b.run.Add(&report.Row{
		At: w.at, Values: w.values, Score: o.Score, Severity: o.Severity, Kind: o.Kind, Blamed: o.Blamed,
		Expected: o.Expected, Lower: o.Lower, Upper: o.Upper, Label: w.label, Incident: o.Incident, Why: o.Why,
	})
}

// write writes the files with what other thresholds lead to, each whole or not at all.
func (b *backtest) write(tried []report.Cost, long bool) error {
	if tried != nil {
		b.run.Tried(tried, long)
	}
	var errs []error
	for name, draw := range map[string]func(io.Writer) error{b.html: b.run.HTML, b.png: b.run.PNG} {
		if name == "" {
			continue
		}
		if err := writeFile(name, draw); err != nil {
			errs = append(errs, fmt.Errorf("report %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
