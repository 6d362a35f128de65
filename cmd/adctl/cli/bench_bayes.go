// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/networks"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/training"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

type bayesOptions struct {
	networks      []string
	time          time.Duration
	rows, columns int
	out           output
}

func newBenchBayes() *cobra.Command {
	var o bayesOptions
	cmd := &cobra.Command{
		Use:   "bayes",
		Short: "Measure what Bayesian networks cost",
		Long: `bayes measures what a row costs in a Bayesian network of 3 nodes, two lights and a
brightness, and in one of 37 nodes with two to four states, or in networks read
from BIF files:

likelihood   the probability of a row with a reading of each node
judge        how improbable it is, and whose wrong report would explain it
posterior    of all nodes, with every other reading missing

in nanoseconds of the processor; and the time, by the clock, in which bayesnet
learns structure and tables from rows of discrete columns.`,
		Example: `  adctl bench bayes
  adctl bench bayes --network alarm.bif --rows 0`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.networks, "network", nil, "BIF files of networks to measure instead")
	f.DurationVar(&o.time, "time", 500*time.Millisecond, "of each measurement")
	f.IntVar(&o.rows, "rows", 1_000_000, "rows to learn from; 0 for none")
	f.IntVar(&o.columns, "columns", 10, "columns of these rows")
	o.out.reportFlags(cmd)
	return cmd
}

// bayesReport is what bench bayes found.
type bayesReport struct {
	Queries  []networks.Query   `json:"queries"`
	Training *networks.Training `json:"training,omitempty"`
}

func (o *bayesOptions) run(cmd *cobra.Command) error {
	if err := o.out.check(cmd); err != nil {
		return err
	}
	if o.rows < 0 || o.columns < 1 || o.columns > bayes.MaxNodes {
		return usage(fmt.Errorf("--rows and --columns: got %d and %d, want at least 0, and 1 to %d", o.rows, o.columns, bayes.MaxNodes))
	}
	measured := []*bayes.Network{networks.Room(), networks.Random(37)}
	if o.networks != nil {
		measured = nil
	}
	for _, path := range o.networks {
		n, err := readBIF(path)
		if err != nil {
			return usage(err)
		}
		measured = append(measured, n)
	}
	var r bayesReport
	for _, n := range measured {
		q, err := networks.MeasureQuery(n, o.time)
		if err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
		r.Queries = append(r.Queries, q)
	}
	if o.rows > 0 {
		t, err := networks.MeasureTraining(cmd.Context(), training.NetworkDriver, o.rows, o.columns)
		if err != nil {
			return err
		}
		r.Training = &t
	}
	return o.out.report(cmd, r, r.table)
}

// readBIF reads a network, which has the name of its file.
func readBIF(path string) (*bayes.Network, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := bayes.ReadBIF(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return n, nil
}

func (r *bayesReport) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "network\tnodes\tarcs\tlikelihood ns\tjudge ns\tposterior ns\tallocs\t")
	for _, q := range r.Queries {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%g\t\n", q.Network, q.Nodes, q.Arcs, q.Likelihood, q.Judge, q.Posterior, q.Allocs)
	}
	if err := t.Flush(); err != nil || r.Training == nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s learned %d rows of %d columns in %.2f s\n", r.Training.Detector, r.Training.Rows, r.Training.Columns, r.Training.Seconds)
	return err
}
