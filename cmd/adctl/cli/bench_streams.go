// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/streams"
)

func newBenchStreams() *cobra.Command {
	var j judge
	cmd := &cobra.Command{
		Use:   "streams --data DIR",
		Short: "Score a detector on labelled recordings of real sensors and machines",
		Long: `streams runs recordings through a detector that has seen nothing before, as
detect does, and scores each set of them:

hit        share of the events with an anomalous row in them or on the 10 after
right      share of the alerts that are near an event; anomalous rows with no
           more than 10 others between them are one alert
false/10k  the other alerts, in 10,000 normal rows
held       share of the labelled rows that are anomalous
flagged    share of the normal rows that are, near no event
unjudged   share of the rows without a verdict; they rank last
delay      median number of rows from the beginning of an event that is hit
AP, ROC    average precision and area under the ROC curve of the scores
kind       share of the events hit whose kind, that of most of their anomalous
           rows, names the fault; of recordings whose name ends in bias, drift,
           polydrift, malfunction or random
inside     share of the readings of healthy recordings within the band
width      of the band, over that of the narrowest constant one in hindsight
           with as many inside and the hours of the day taken off; the median

DIR has index.tsv, a line for each recording (set, name, kind, rows, first row
that is scored), and <set>/<name>.csv.gz with the columns timestamp (Unix
seconds), the readings, and label (0 or 1).`,
		Example: `  adctl bench streams --data streams
  adctl bench streams --data streams --detector ewma`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := j.out.check(cmd); err != nil {
				return err
			}
			figures, err := benchStreams(cmd.Context(), &j)
			if err != nil {
				return err
			}
			return j.out.report(cmd, map[string]any{"detector": j.name(), "sets": figures},
				func(w io.Writer) error { return streamsTable(w, j.name(), figures) })
		},
	}
	j.flags(cmd, "directory with the recordings", "streams")
	return cmd
}

// benchStreams gives the figures of each set, in the order of the index.
func benchStreams(ctx context.Context, j *judge) ([]streams.Figures, error) {
	dir, err := dataDir(j.data, "streams")
	if err != nil {
		return nil, err
	}
	entries, err := streams.Index(dir)
	if err != nil {
		return nil, usage(err)
	}
	tallies := make(map[string]*streams.Tally)
	var order []string
	for _, e := range entries {
		s, err := e.Load(dir)
		if err != nil {
			return nil, usage(err)
		}
		verdicts, err := j.run(ctx, s.Columns, s.Times, s.Rows)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", e.Set, e.Name, err)
		}
		t := tallies[e.Set]
		if t == nil {
			t = new(streams.Tally)
			tallies[e.Set], order = t, append(order, e.Set)
		}
		if err := t.Add(s.Truth[e.From:], verdicts[e.From:]); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", e.Set, e.Name, err)
		}
		if kinds := streams.KindsOf(e.Name); kinds != nil {
			t.AddKinds(kinds, s.Truth[e.From:], verdicts[e.From:])
		}
		if len(s.Columns) == 1 && !slices.Contains(s.Truth, true) {
			values := make([]float64, 0, len(s.Rows))
			for _, row := range s.Rows {
				values = append(values, row[0])
			}
			t.AddBand(s.Times[e.From:], values[e.From:], verdicts[e.From:])
		}
	}
	var all []streams.Figures
	for _, set := range order {
		all = append(all, tallies[set].Figures(set))
	}
	return all, nil
}

func streamsTable(w io.Writer, detector string, sets []streams.Figures) error {
	fmt.Fprintf(w, "Recordings, detector %s\n\n", detector)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "set\tseries\tevents\thit\tright\tfalse/10k\theld\tflagged %\tunjudged %\tdelay\tAP\tROC\tkind\tinside %\twidth\t")
	for _, f := range sets {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%.2f\t%s\t%.2f\t%.2f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", f.Set, f.Series, f.Events,
			known("%.3f", f.Hit), known("%.3f", f.Right), f.FalseAlerts, known("%.3f", f.Held), 100*f.Flagged,
			100*f.Unjudged, known("%.0f", f.Delay), known("%.3f", f.Precision), known("%.3f", f.ROC),
			known("%.2f", f.KindRight), known("%.2f", 100*f.Inside), known("%.2f", f.Width))
	}
	return t.Flush()
}

// known formats a figure, a dash where there is none.
func known(format string, v float64) string {
	if v != v {
		return "–"
	}
	return fmt.Sprintf(format, v)
}
