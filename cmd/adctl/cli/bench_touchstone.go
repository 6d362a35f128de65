// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/touchstone"
)

func newBenchTouchstone() *cobra.Command {
	var j judge
	cmd := &cobra.Command{
		Use:   "touchstone --data DIR",
		Short: "Score a detector by the protocol of the Touchstone leaderboard",
		Long: `touchstone runs data sets of the Touchstone leaderboard of streaming detectors
through a detector that has seen nothing before, and scores the outcome as the
board does: area under the ROC curve, average precision, and the volumes under
the range-based PR curve and under the ROC curve. Rows that are not judged are
left out.

DIR has the board's data sets as *.parquet. If it has recorded.csv, the board's
own figures (dataset, detector, ROC-AUC, AvgPrec, RangePR-VUS, RangeROC-VUS), the
means of its detectors over the same data sets are listed too.`,
		Example: "  adctl bench touchstone --data touchstone",
		Args:    wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := j.out.check(cmd); err != nil {
				return err
			}
			r, err := benchTouchstone(cmd.Context(), &j)
			if err != nil {
				return err
			}
			return j.out.report(cmd, r, r.table)
		},
	}
	j.flags(cmd, "directory with the data sets", "touchstone")
	return cmd
}

// touchstoneReport is what bench touchstone found.
type touchstoneReport struct {
	Detector string                        `json:"detector"`
	Mean     touchstone.Figures            `json:"mean"`
	Sets     []touchstoneLine              `json:"sets"`
	Board    map[string]touchstone.Figures `json:"board,omitempty"` // means over the same sets
}

type touchstoneLine struct {
	Name string `json:"name"`
	touchstone.Figures
}

func benchTouchstone(ctx context.Context, j *judge) (*touchstoneReport, error) {
	dir, err := dataDir(j.data, "touchstone")
	if err != nil {
		return nil, err
	}
	files, err := touchstone.List(dir)
	if err != nil {
		return nil, usage(err)
	}
	r := &touchstoneReport{Detector: j.name()}
	var all []touchstone.Figures
	for _, path := range files {
		set, err := touchstone.Load(path)
		if err != nil {
			return nil, usage(err)
		}
		f, err := scoreTouchstone(ctx, j, set)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.Name, err)
		}
		r.Sets, all = append(r.Sets, touchstoneLine{set.Name, f}), append(all, f)
	}
	r.Mean = touchstone.Mean(all)
	recorded, err := touchstone.Recorded(filepath.Join(dir, "recorded.csv"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, usage(err)
	}
	for detector, figures := range recorded {
		var same []touchstone.Figures
		for _, set := range r.Sets {
			if f, ok := figures[set.Name]; ok {
				same = append(same, f)
			}
		}
		if len(same) == len(r.Sets) {
			if r.Board == nil {
				r.Board = make(map[string]touchstone.Figures)
			}
			r.Board[detector] = touchstone.Mean(same)
		}
	}
	return r, nil
}

// scoreTouchstone scores a data set, whose rows are a second apart, as the board has no clock.
func scoreTouchstone(ctx context.Context, j *judge, set *touchstone.Set) (touchstone.Figures, error) {
	times, rows := make([]time.Time, len(set.Rows)), make([][]float64, len(set.Rows))
	begin := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	for i, row := range set.Rows {
		times[i] = begin.Add(time.Duration(i) * time.Second)
		for _, v := range row {
			rows[i] = append(rows[i], float64(v))
		}
	}
	verdicts, err := j.run(ctx, set.Columns, times, rows)
	if err != nil {
		return touchstone.Figures{}, err
	}
	scores := make([]float32, len(verdicts))
	for i, v := range verdicts {
		if scores[i] = float32(v.Score); !v.Judged {
			scores[i] = float32(math.NaN())
		}
	}
	return touchstone.Score(set.Truth, scores), nil
}

func (r *touchstoneReport) table(w io.Writer) error {
	fmt.Fprintf(w, "Touchstone, detector %s: %d data sets\n\n", r.Detector, len(r.Sets))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "data set\tROC-AUC\taverage precision\tVUS-PR\tVUS-ROC\t")
	line := func(name string, f touchstone.Figures) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", name, known("%.3f", f.ROC), known("%.3f", f.Precision), known("%.3f", f.PRVolume), known("%.3f", f.ROCVolume))
	}
	for _, s := range r.Sets {
		line(s.Name, s.Figures)
	}
	line("mean", r.Mean)
	for _, name := range slices.Sorted(maps.Keys(r.Board)) {
		line("mean of the board's "+name, r.Board[name])
	}
	return t.Flush()
}
