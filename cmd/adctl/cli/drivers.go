// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	_ "github.com/kubeedge/edge-anomaly/admethod/source/all" // all sources
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/reference"
	"github.com/kubeedge/edge-anomaly/driver"
)

func newDrivers() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "drivers",
		Aliases: []string{"detectors"},
		Short:   "List the detectors, adapters, sinks and sources that are linked",
		Example: `  adctl drivers
  adctl drivers -o yaml`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			r := linked()
			g := &grid{head: []string{"role", "name", "kinds", "summary"}}
			for _, part := range r.Parts() {
				g.add(part.Role, part.Name, strings.Join(part.Kinds, " "), part.Summary)
			}
			return out.show(cmd, r, g)
		},
	}
	out.flags(cmd)
	return cmd
}

// linked describes all that this program links.
func linked() reference.Reference {
	return reference.Of(driver.Default, admethod.Adapters, admethod.Sinks, source.Sources)
}
