// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/streams"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// judge is the detector that a benchmark on recordings runs: the one that is named, or what detect would take without
// a name, one for a single column and one for several.
type judge struct {
	detector string
	set      []string
	data     string
	out      output
}

// flags adds what these benchmarks have in common.
func (j *judge) flags(cmd *cobra.Command, data, where string) {
	f := cmd.Flags()
	f.StringVar(&j.data, "data", "", data+"; "+where+" below $"+datasetsEnv+" where empty")
	f.StringVar(&j.detector, "detector", "", "driver that judges; empty takes the defaults, for one column and for several")
	f.StringArrayVar(&j.set, "set", nil, "a setting as key=value; repeatable")
	j.out.reportFlags(cmd)
}

// name is what a report calls it.
func (j *judge) name() string {
	if j.detector == "" {
		return "default"
	}
	return j.detector
}

// run judges the rows of a recording by a detector that has seen nothing before. A detector that is named and takes
// fewer members than there are columns judges each alone, and the row is as unusual as its most unusual reading.
func (j *judge) run(ctx context.Context, columns []string, times []time.Time, rows [][]float64) ([]streams.Verdict, error) {
	name := j.detector
	if name == "" {
		if name = admethod.DefaultConfig().Detector; len(columns) > 1 {
			name = groupDetector
		}
	}
	c, err := config(name, j.set)
	if err != nil {
		return nil, err
	}
	f, err := driver.Default.Lookup(c.Detector)
	if err != nil {
		return nil, usage(err)
	}
	if n := len(columns); n > 1 && f.Info().Members >= n {
		return runGroup(ctx, c, columns, times, rows)
	}
	verdicts := make([]streams.Verdict, len(rows))
	for column := range columns {
		readings := make([]dataset.Reading, len(rows))
		for i, row := range rows {
			readings[i] = dataset.Reading{At: times[i], Value: row[column]}
		}
		err := replay.Run(ctx, replay.Options{Config: c, Meta: admethod.Meta{DataType: "double"}}, readings,
			func(i int, o *replay.Outcome) { worse(&verdicts[i], o) })
		if err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}

// worse adds what a detector says of one column of a row.
func worse(v *streams.Verdict, o *replay.Outcome) {
	v.Lower, v.Upper = o.Lower, o.Upper
	if o.Severity == driver.Unknown {
		return
	}
	v.Judged = true
	v.Anomalous = v.Anomalous || o.Severity.Anomalous()
	if !math.IsNaN(o.Score) && o.Score >= v.Score {
		v.Score, v.Kind = o.Score, o.Kind
	}
}

func runGroup(ctx context.Context, c admethod.ADMethodConfig, columns []string, times []time.Time, rows [][]float64) (verdicts []streams.Verdict, err error) {
	members := make([]replay.Member, len(columns))
	for i, name := range columns {
		members[i].Name = name
	}
	g, err := replay.OpenGroup(ctx, replay.GroupOptions{Config: untimed(c), Members: members})
	if err != nil {
		return nil, usage(err)
	}
	defer func() { err = errors.Join(err, g.Close(context.WithoutCancel(ctx))) }()
	cells := make([]input.Cell, len(columns))
	for i, row := range rows {
		for k, v := range row {
			cells[k] = input.Cell{Value: v, Missing: math.IsNaN(v)}
		}
		g.Observe(times[i], cells)
		last := i == len(rows)-1
		if g.Len() < replay.MaxBatch && !last {
			continue
		}
		outcomes, err := g.Drain(ctx, last)
		if err != nil {
			return nil, err
		}
		for k := range outcomes {
			var v streams.Verdict
			o := &outcomes[k]
			worse(&v, &replay.Outcome{Score: o.Score, Severity: o.Severity, Kind: o.Kind, Lower: math.NaN(), Upper: math.NaN()})
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}
