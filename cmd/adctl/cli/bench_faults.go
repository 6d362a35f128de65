// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/faults"
	"github.com/kubeedge/edge-anomaly/driver"
)

type faultsOptions struct {
	faults.Options
	detector string
	set      []string
	cells    bool
	out      output
}

func newBenchFaults() *cobra.Command {
	var o faultsOptions
	cmd := &cobra.Command{
		Use:   "faults",
		Short: "Measure which faults a detector finds in synthetic signals",
		Long:  faultsHelp(),
		Args:  wrongArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.detector, "detector", admethod.DefaultConfig().Detector, "driver that judges the readings")
	f.StringArrayVar(&o.set, "set", nil, "a setting as key=value; repeatable")
	f.Uint64Var(&o.Seed, "seed", 1, "of the random numbers; equal seeds give equal episodes")
	f.IntVar(&o.Episodes, "episodes", 20, "of each fault on each signal")
	f.StringSliceVar(&o.Faults, "fault", nil, "only these faults")
	f.StringSliceVar(&o.Signals, "signal", nil, "only these signals")
	f.BoolVar(&o.cells, "cells", false, "list each fault on each signal too, with the kinds that were told")
	o.out.reportFlags(cmd)
	return cmd
}

// faultsHelp describes the suite from the suite itself.
func faultsHelp() string {
	var b strings.Builder
	b.WriteString(`faults runs a seeded suite of synthetic episodes through a detector, each a
stream of its own with one reading a minute: 3 days to learn from, 1 to 2 days
on which every alarm is false, and a fault at a random time of day. Sizes are in
units of the signal's own noise.

recall       share of episodes with an anomalous reading while the fault lasts,
             or on the 5 readings after it
held         share of an episode's faulty readings that are anomalous, in the mean
delay        median number of readings from the first faulty one to that one
kind right   share of the detected episodes in which the kind that most of the
             anomalous readings have names the fault
alarms/10k   alerts on the normal days, in 10,000 readings; readings/10k counts
             the readings in them

Signals:
`)
	for _, s := range faults.Signals {
		fmt.Fprintf(&b, "  %-15s %s\n", s.Name, s.Doc)
	}
	b.WriteString("\nFaults, the kinds that name them, and the signals that they make sense for:\n")
	for _, f := range faults.Faults {
		kinds := make([]string, 0, len(f.Kinds))
		for _, k := range f.Kinds {
			kinds = append(kinds, string(k))
		}
		for _, signal := range slices.Sorted(maps.Keys(f.Also)) {
			for _, k := range f.Also[signal] {
				kinds = append(kinds, fmt.Sprintf("%s for %s", k, signal))
			}
		}
		fmt.Fprintf(&b, "  %-15s %s\n  %-15s (%s; on %s)\n", f.Name, f.Doc, "", strings.Join(kinds, ", "), strings.Join(f.Signals, ", "))
	}
	return strings.TrimRight(b.String(), "\n")
}

// faultsReport is what bench faults found.
type faultsReport struct {
	Detector string       `json:"detector"`
	Seed     uint64       `json:"seed"`
	Episodes int          `json:"episodesPerCell"`
	Total    faultsLine   `json:"total"`
	Faults   []faultsLine `json:"faults"`
	Signals  []faultsLine `json:"signals"`
	Cells    []faultsLine `json:"cells"`
}

type faultsLine struct {
	Fault       string              `json:"fault,omitempty"`
	Signal      string              `json:"signal,omitempty"`
	Episodes    int                 `json:"episodes"`
	Recall      float64             `json:"recall"`
	Held        float64             `json:"held"`
	MedianDelay *int                `json:"medianDelay"` // readings; null where nothing was detected
	KindRight   *float64            `json:"kindRight"`   // null where nothing was detected
	Alarms      float64             `json:"falseAlarmsPer10000"`
	Readings    float64             `json:"falseReadingsPer10000"`
	Kinds       map[driver.Kind]int `json:"kinds"`
}

func lineOf(fault, signal string, t *faults.Tally) faultsLine {
	l := faultsLine{
		Fault: fault, Signal: signal, Episodes: t.Episodes, Recall: t.Recall(), Held: t.HeldShare(),
		Alarms: t.AlarmRate(), Readings: t.ReadingRate(), Kinds: t.Kinds,
	}
	if t.Detected > 0 {
		delay, share := t.MedianDelay(), t.KindShare()
		l.MedianDelay, l.KindRight = &delay, &share
	}
	return l
}

func (o *faultsOptions) run(cmd *cobra.Command) error {
	if err := o.out.check(cmd); err != nil {
		return err
	}
	r, err := o.measure(cmd.Context())
	if err != nil {
		return err
	}
	return o.out.report(cmd, r, func(w io.Writer) error { return r.table(w, o.cells) })
}

func (o *faultsOptions) measure(ctx context.Context) (*faultsReport, error) {
	var err error
	if o.Config, err = config(o.detector, o.set); err != nil {
		return nil, err
	}
	if err := o.Check(); err != nil {
		return nil, usage(err)
	}
	cells, err := faults.Run(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	r := &faultsReport{Detector: o.Config.Detector, Seed: o.Seed, Episodes: o.Episodes}
	var total faults.Tally
	for i := range cells {
		total.Add(&cells[i].Tally)
		r.Cells = append(r.Cells, lineOf(cells[i].Fault, cells[i].Signal, &cells[i].Tally))
	}
	r.Total = lineOf("", "", &total)
	r.Faults = grouped(cells, func(c *faults.Cell) (string, string) { return c.Fault, "" })
	r.Signals = grouped(cells, func(c *faults.Cell) (string, string) { return "", c.Signal })
	slices.SortStableFunc(r.Signals, func(a, b faultsLine) int { return cmp.Compare(signalIndex(a.Signal), signalIndex(b.Signal)) })
	return r, nil
}

func signalIndex(name string) int {
	return slices.IndexFunc(faults.Signals, func(s faults.Signal) bool { return s.Name == name })
}

// grouped adds up the cells that have the same names, in the order in which these appear.
func grouped(cells []faults.Cell, names func(*faults.Cell) (fault, signal string)) []faultsLine {
	type group struct{ fault, signal string }
	var order []group
	tallies := make(map[group]*faults.Tally)
	for i := range cells {
		var g group
		g.fault, g.signal = names(&cells[i])
		if tallies[g] == nil {
			tallies[g] = new(faults.Tally)
			order = append(order, g)
		}
		tallies[g].Add(&cells[i].Tally)
	}
	lines := make([]faultsLine, 0, len(order))
	for _, g := range order {
		lines = append(lines, lineOf(g.fault, g.signal, tallies[g]))
	}
	return lines
}

func (r *faultsReport) table(w io.Writer, cells bool) error {
	fmt.Fprintf(w, "faults, detector %s, seed %d: %d episodes of each fault on each signal\n\n", r.Detector, r.Seed, r.Episodes)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	const columns = "recall\theld\tdelay\tkind right\talarms/10k\treadings/10k\t"
	fmt.Fprintf(t, "fault\t%s\n", columns)
	for i := range r.Faults {
		r.Faults[i].row(t, r.Faults[i].Fault)
	}
	r.Total.row(t, "all")
	fmt.Fprintf(t, "\t\t\t\t\t\t\t\nsignal\t%s\n", columns)
	for i := range r.Signals {
		r.Signals[i].row(t, r.Signals[i].Signal)
	}
	if cells {
		fmt.Fprintf(t, "\t\t\t\t\t\t\t\nfault, signal\t%s\n", columns)
		for i := range r.Cells {
			c := &r.Cells[i]
			c.row(t, c.Fault+", "+c.Signal)
		}
	}
	if err := t.Flush(); err != nil || !cells {
		return err
	}
	fmt.Fprintln(w, "\nkinds told")
	for i := range r.Cells {
		if c := &r.Cells[i]; len(c.Kinds) > 0 {
			fmt.Fprintf(w, "  %s, %s: %s\n", c.Fault, c.Signal, kindCounts(c.Kinds))
		}
	}
	return nil
}

func (l *faultsLine) row(w io.Writer, name string) {
	delay, share := "-", math.NaN()
	if l.MedianDelay != nil {
		delay, share = fmt.Sprint(*l.MedianDelay), *l.KindRight
	}
	right := "-"
	if !math.IsNaN(share) {
		right = fmt.Sprintf("%.2f", share)
	}
	fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%s\t%s\t%.2f\t%.2f\t\n", name, l.Recall, l.Held, delay, right, l.Alarms, l.Readings)
}

// kindCounts lists kinds, the most frequent first.
func kindCounts(kinds map[driver.Kind]int) string {
	names := slices.SortedFunc(maps.Keys(kinds), func(a, b driver.Kind) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), cmp.Compare(a, b))
	})
	texts := make([]string, 0, len(names))
	for _, k := range names {
		texts = append(texts, fmt.Sprintf("%s %d", k, kinds[k]))
	}
	return strings.Join(texts, ", ")
}
