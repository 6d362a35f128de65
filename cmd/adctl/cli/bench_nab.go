// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/nab"
)

type nabOptions struct {
	data, detector          string
	set                     []string
	categories, leaveOneOut bool
	out                     output
}

func newBenchNAB() *cobra.Command {
	var o nabOptions
	cmd := &cobra.Command{
		Use:   "nab --data DIR",
		Short: "Score a detector on the Numenta Anomaly Benchmark",
		Long: `nab runs each file of the Numenta Anomaly Benchmark through a detector that has
seen nothing before, as detect does, and scores the outcome by the benchmark's
protocol 1.1: with the threshold on the detector's scores that is best for all
files, one for each of the three profiles.

DIR is a checkout of the benchmark, or a selection: categories of files, and
windows.json with their labels, and files.txt with the files that count.

--leave-one-out scores each category of files at the threshold that is best for
all other categories, and pools the outcomes.`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "directory with the benchmark; nab below $"+datasetsEnv+" where empty")
	f.StringVar(&o.detector, "detector", admethod.DefaultConfig().Detector, "driver that judges the readings")
	f.StringArrayVar(&o.set, "set", nil, "a setting as key=value; repeatable")
	f.BoolVar(&o.categories, "categories", false, "score each category too, at the thresholds of all files")
	f.BoolVar(&o.leaveOneOut, "leave-one-out", false, "score with thresholds chosen on the other categories")
	o.out.reportFlags(cmd)
	return cmd
}

// nabReport is what bench nab found.
type nabReport struct {
	Detector    string        `json:"detector"`
	Files       int           `json:"files"`
	Windows     int           `json:"windows"`
	Rows        int           `json:"rows"`
	Scores      []nab.Score   `json:"scores"`
	Categories  []nabCategory `json:"categories,omitempty"`
	LeaveOneOut []nab.Score   `json:"leaveOneCategoryOut,omitempty"`
}

type nabCategory struct {
	Name    string      `json:"name"`
	Files   int         `json:"files"`
	Windows int         `json:"windows"`
	Scores  []nab.Score `json:"scores"` // at the thresholds of all files
}

func (o *nabOptions) run(cmd *cobra.Command) error {
	if err := o.out.check(cmd); err != nil {
		return err
	}
	r, err := o.measure(cmd.Context())
	if err != nil {
		return err
	}
	return o.out.report(cmd, r, r.table)
}

func (o *nabOptions) measure(ctx context.Context) (*nabReport, error) {
	c, err := config(o.detector, o.set)
	if err != nil {
		return nil, err
	}
	dir, err := dataDir(o.data, "nab")
	if err != nil {
		return nil, err
	}
	corpus, err := nab.OpenCorpus(dir)
	if err != nil {
		return nil, usage(err)
	}
	report := &nabReport{Detector: c.Detector, Files: len(corpus.Names)}
	var all []nab.Part
	var groups [][]nab.Part // by category; the names are sorted
	for _, name := range corpus.Names {
		file, err := corpus.Load(name)
		if err != nil {
			return nil, usage(err)
		}
		part, err := scoreNAB(ctx, c, file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, part)
		report.Rows += len(file.Readings)
		report.Windows += part.Windows
		if n := len(report.Categories); n == 0 || report.Categories[n-1].Name != file.Category() {
			report.Categories = append(report.Categories, nabCategory{Name: file.Category()})
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], part)
		report.Categories[last].Files++
		report.Categories[last].Windows += part.Windows
	}
	if report.Windows == 0 {
		return nil, usage(fmt.Errorf("%s: no window is labelled in any file", dir))
	}
	report.Scores = nab.Best(all)
	if o.leaveOneOut {
		if report.LeaveOneOut, err = nab.LeaveOneOut(groups); err != nil {
			return nil, usage(err)
		}
	}
	if o.categories {
		for i := range report.Categories {
			report.Categories[i].score(groups[i], report.Scores)
		}
	} else {
		report.Categories = nil
	}
	return report, nil
}

// scoreNAB scores a file by a fresh detector.
func scoreNAB(ctx context.Context, c admethod.ADMethodConfig, file *nab.File) (nab.Part, error) {
	scores := make([]float64, len(file.Readings))
	err := replay.Run(ctx, replay.Options{Config: c, Meta: admethod.Meta{DataType: "double"}}, file.Readings,
		func(i int, o *replay.Outcome) {
			if !math.IsNaN(o.Onset) { // an alert is news, however long what it tells of lasts
				scores[i] = o.Onset
			}
		})
	if err != nil {
		return nab.Part{}, err
	}
	return nab.NewPart(file.Times(), file.Windows, scores)
}

// score scores the parts of a category at the thresholds of all files. A category without windows has raw scores only.
func (c *nabCategory) score(parts []nab.Part, all []nab.Score) {
	for i, profile := range nab.Profiles {
		raw := nab.RawAt(parts, profile, all[i].Threshold)
		s := nab.Score{Profile: profile.Name, Threshold: all[i].Threshold, Raw: raw}
		if c.Windows > 0 {
			s.Score = nab.Normalize(raw, parts, profile)
		}
		c.Scores = append(c.Scores, s)
	}
}

func (r *nabReport) table(w io.Writer) error {
	fmt.Fprintf(w, "NAB, detector %s: %d files, %d windows, %d rows\n", r.Detector, r.Files, r.Windows, r.Rows)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tstandard\tlow FP\tlow FN")
	line := func(name, format string, scores []nab.Score, of func(nab.Score) float64) {
		fmt.Fprint(t, name)
		for _, s := range scores {
			fmt.Fprintf(t, "\t"+format, of(s))
		}
		fmt.Fprintln(t)
	}
	score := func(s nab.Score) float64 { return s.Score }
	line("score", "%.2f", r.Scores, score)
	line("threshold", "%.6g", r.Scores, func(s nab.Score) float64 { return s.Threshold })
	if r.LeaveOneOut != nil {
		line("leave one category out", "%.2f", r.LeaveOneOut, score)
	}
	for _, c := range r.Categories {
		name := fmt.Sprintf("%s (%d windows)", c.Name, c.Windows)
		if c.Windows == 0 {
			line(name+", raw", "%.2f", c.Scores, func(s nab.Score) float64 { return s.Raw })
			continue
		}
		line(name, "%.2f", c.Scores, score)
	}
	return t.Flush()
}
