// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/generators"
)

func newBenchGenerators() *cobra.Command {
	o := generators.Options{}
	var out output
	cmd := &cobra.Command{
		Use:   "generators",
		Short: "Measure the defaults on made streams that each show one thing that is easily judged wrongly",
		Long:  generatorsHelp(),
		Args:  wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			figures, err := generators.Run(cmd.Context(), o)
			if err != nil {
				return usage(err)
			}
			return out.report(cmd, figures, func(w io.Writer) error { return generatorsTable(w, figures) })
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Seeds, "seeds", 10, "streams of each sort")
	f.StringSliceVar(&o.Names, "generator", nil, "only these")
	out.reportFlags(cmd)
	return cmd
}

// generatorsHelp describes them from themselves.
func generatorsHelp() string {
	var b strings.Builder
	b.WriteString(`generators makes seeded streams and writes a Markdown table of what the defaults
make of them, each figure beside what it is to be.

Generators:
`)
	for _, g := range generators.All {
		fmt.Fprintf(&b, "  %s:\n      %s\n", g.Name, g.Doc)
	}
	return strings.TrimRight(b.String(), "\n")
}

func generatorsTable(w io.Writer, figures []generators.Figure) error {
	if _, err := fmt.Fprintln(w, "| generator | figure | default | to be | holds | |\n|---|---|---|---|---|---|"); err != nil {
		return err
	}
	for i := range figures {
		f := &figures[i]
		goal := map[bool]string{false: "≥ ", true: "≤ "}[f.Less] + fmt.Sprintf("%.3g", f.Goal)
		holds := map[bool]string{false: "no", true: "yes"}[f.Holds()]
		if _, err := fmt.Fprintf(w, "| %s | %s | %.3g | %s | %s | %s |\n", f.Generator, f.Name, f.Value, goal, holds, f.Detail); err != nil {
			return err
		}
	}
	return nil
}
