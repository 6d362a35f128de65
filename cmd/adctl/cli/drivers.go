// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/reference"
	"github.com/kubeedge/edge-anomaly/driver"
)

func newDrivers() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "drivers",
		Short: "List the detectors, adapters and sinks that are linked",
		Args:  wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := linked()
			switch output {
			case "table":
				return listDrivers(cmd.OutOrStdout(), &r)
			case "json":
				return writeJSON(cmd.OutOrStdout(), r)
			}
			return usage(fmt.Errorf("--output: got %q, want table or json", output))
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// linked describes all that this program links.
func linked() reference.Reference {
	return reference.Of(driver.Default, admethod.Adapters, admethod.Sinks)
}

func listDrivers(w io.Writer, r *reference.Reference) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROLE\tNAME\tKINDS\tSUMMARY")
	for _, part := range r.Parts() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", part.Role, part.Name, strings.Join(part.Kinds, " "), part.Summary)
	}
	return t.Flush()
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
