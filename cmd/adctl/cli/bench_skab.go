// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/skab"
)

type skabOptions struct {
	data, detector string
	set            []string
	cut, trainRows int
	files          bool
	out            output
}

func newBenchSKAB() *cobra.Command {
	var o skabOptions
	cmd := &cobra.Command{
		Use:   "skab --data DIR",
		Short: "Score a detector of groups on the Skoltech Anomaly Benchmark",
		Long: `skab runs each file of the Skoltech Anomaly Benchmark through a detector that
learns from the first 400 rows, as detect --train-rows 400 does, and scores all
other rows by the benchmark's outlier protocol: the counts of all files are
added up, F1 is TP/(TP+(FP+FN)/2), FAR the share of the normal rows that are
found anomalous, and MAR the share of the anomalous rows that are not.

DIR is a checkout of the benchmark's data, with valve1, valve2 and other, or a
selection with the names of its files in files.txt.

--cut removes the first rows of each file. A detector that goes by what it reads,
not by the number of the row, scores much the same with --cut 150 and --cut 100.`,
		Example: `  adctl bench skab --data SKAB/data
  adctl bench skab --data SKAB/data --detector pca --files`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "directory with the benchmark; skab below $"+datasetsEnv+" where empty")
	f.StringVar(&o.detector, "detector", groupDetector, "driver that judges the rows")
	f.StringArrayVar(&o.set, "set", nil, "a setting as key=value; repeatable")
	f.IntVar(&o.cut, "cut", 0, "rows that are removed at the beginning of each file")
	f.IntVar(&o.trainRows, "train-rows", skab.TrainRows, "rows of what is left that are learned from, and not scored")
	f.BoolVar(&o.files, "files", false, "score each file too")
	o.out.reportFlags(cmd)
	return cmd
}

// skabReport is what bench skab found.
type skabReport struct {
	Detector  string     `json:"detector"`
	Cut       int        `json:"cut"`
	TrainRows int        `json:"trainRows"`
	Total     skabLine   `json:"total"`
	Files     []skabLine `json:"files,omitempty"`

	count int // of all files
}

type skabLine struct {
	Name string  `json:"name,omitempty"`
	F1   float64 `json:"f1"`
	FAR  float64 `json:"farPercent"`
	MAR  float64 `json:"marPercent"`
	skab.Count
}

func skabLineOf(name string, c skab.Count) skabLine {
	return skabLine{Name: name, F1: c.F1(), FAR: c.FAR(), MAR: c.MAR(), Count: c}
}

func (o *skabOptions) run(cmd *cobra.Command) error {
	if err := o.out.check(cmd); err != nil {
		return err
	}
	r, err := o.measure(cmd.Context())
	if err != nil {
		return err
	}
	return o.out.report(cmd, r, r.table)
}

func (o *skabOptions) measure(ctx context.Context) (*skabReport, error) {
	if o.cut < 0 || o.trainRows < 1 {
		return nil, usage(fmt.Errorf("--cut and --train-rows: got %d and %d, want at least 0 and 1", o.cut, o.trainRows))
	}
	c, err := config(o.detector, append([]string{fmt.Sprintf("detector.trainRows=%d", o.trainRows)}, o.set...))
	if err != nil {
		return nil, err
	}
	dir, err := dataDir(o.data, "skab")
	if err != nil {
		return nil, err
	}
	corpus, err := skab.OpenCorpus(dir)
	if err != nil {
		return nil, usage(err)
	}
	r := &skabReport{Detector: c.Detector, Cut: o.cut, TrainRows: o.trainRows}
	var total skab.Count
	for _, name := range corpus.Names {
		file, err := corpus.Load(name)
		if err != nil {
			return nil, usage(err)
		}
		count, err := o.score(ctx, untimed(c), file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		total.Add(count)
		if o.files {
			r.Files = append(r.Files, skabLineOf(name, count))
		}
	}
	r.Total = skabLineOf("", total)
	r.count = len(corpus.Names)
	return r, nil
}

// score scores a file by a fresh detector.
func (o *skabOptions) score(ctx context.Context, c admethod.ADMethodConfig, f *skab.File) (count skab.Count, err error) {
	rows, truth := f.Rows[min(o.cut, len(f.Rows)):], f.Truth[min(o.cut, len(f.Rows)):]
	if len(rows) <= o.trainRows {
		return count, usage(fmt.Errorf("%d rows, want more than %d to train on", len(rows), o.trainRows))
	}
	members := make([]replay.Member, len(f.Columns))
	for i, name := range f.Columns {
		members[i].Name = name
	}
	g, err := replay.OpenGroup(ctx, replay.GroupOptions{Config: c, Members: members})
	if err != nil {
		return count, usage(err)
	}
	defer func() { err = errors.Join(err, g.Close(context.WithoutCancel(ctx))) }()
	var predictions []skab.Prediction
	for i := range rows {
		g.Observe(rows[i].At, rows[i].Cells)
		last := i == len(rows)-1
		if g.Len() < replay.MaxBatch && !last {
			continue
		}
		outcomes, err := g.Drain(ctx, last)
		if err != nil {
			return count, err
		}
		for k := range outcomes {
			p := skab.Normal
			if outcomes[k].Severity.Anomalous() {
				p = skab.Anomalous
			}
			predictions = append(predictions, p)
		}
	}
	return skab.Score(truth[o.trainRows:], predictions[o.trainRows:])
}

func (r *skabReport) table(w io.Writer) error {
	fmt.Fprintf(w, "SKAB, detector %s: %d files, rows %d to %d of each trained on\n\n", r.Detector, r.count, r.Cut, r.Cut+r.TrainRows-1)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "file\tF1\tFAR %\tMAR %\tTP\tTN\tFP\tFN\t")
	for _, l := range append(r.Files, r.Total) {
		if l.Name == "" {
			l.Name = "all"
		}
		fmt.Fprintf(t, "%s\t%.4f\t%.2f\t%.2f\t%d\t%d\t%d\t%d\t\n", l.Name, l.F1, l.FAR, l.MAR, l.TP, l.TN, l.FP, l.FN)
	}
	return t.Flush()
}
