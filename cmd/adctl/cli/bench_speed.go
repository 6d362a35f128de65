// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/speed"
	"github.com/kubeedge/edge-anomaly/driver"
)

func newBenchSpeed() *cobra.Command {
	var o speed.Options
	var out output
	cmd := &cobra.Command{
		Use:   "speed",
		Short: "Measure what detectors cost",
		Long: `speed measures each detector that is linked, on ten days of a daily rhythm with
noise and one reading a minute, after three days of warm-up:

ns, allocs         of a call of the detector alone
p99 ns             that 99 of 100 single calls do not exceed, by the clock
bytes              of the detector's memory
observe ns, allocs of a reading on its whole way: binding, queue, detector,
                   verdict; both sides of the queue together
×floor             the same over the floor: a bare exponentially weighted
                   z-score, measured in the same run

Times but for p99 are of the processor, so that a busy machine adds little. A
detector that takes several properties together is measured with 8 of them too,
or as many as it takes, but not on the whole way.`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			for _, name := range o.Names {
				if _, err := driver.Default.Lookup(name); err != nil {
					return usage(err)
				}
			}
			r, err := speed.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			return out.report(cmd, r, func(w io.Writer) error { return printSpeed(w, r) })
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Names, "detector", nil, "only these drivers")
	f.DurationVar(&o.Time, "time", 500*time.Millisecond, "of each measurement")
	out.reportFlags(cmd)
	return cmd
}

func printSpeed(w io.Writer, r *speed.Report) error {
	fmt.Fprintf(w, "floor %.2f ns a reading, clock %.0f ns, a bound stream %.0f bytes beside its detector\n", r.Floor, r.Clock, r.BindingBytes)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "detector\tns\tallocs\t×floor\tp99 ns\tbytes\tobserve ns\tallocs\t×floor\t")
	for i := range r.Results {
		s := &r.Results[i]
		name := s.Driver
		if s.Members > 1 {
			name = fmt.Sprintf("%s (%d)", s.Driver, s.Members)
		}
		if s.Detect == 0 {
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t-\t-\t-\t-\t\n", name)
			continue
		}
		fmt.Fprintf(t, "%s\t%.1f\t%g\t%.1f\t%.0f\t%.0f\t", name, s.Detect, s.DetectAllocs, s.DetectFloor, s.P99, s.Bytes)
		if s.Observe == 0 {
			fmt.Fprint(t, "-\t-\t-\t\n")
		} else {
			fmt.Fprintf(t, "%.1f\t%g\t%.1f\t\n", s.Observe, s.ObserveAllocs, s.ObserveFloor)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range r.Results {
		if s := &r.Results[i]; s.Error != "" {
			fmt.Fprintf(w, "%s with %d: %s\n", s.Driver, s.Members, s.Error)
		}
	}
	return nil
}
