// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/pkg/scaffold"
)

func newPatch() *cobra.Command {
	var o scaffold.Options
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "patch DIR",
		Short: "Add anomaly detection to a mapper that KubeEdge v1.23 generated",
		Long: `patch adds detection to a mapper that make generate of KubeEdge v1.23 has written:
the import and one call in device/device.go, and what go.mod needs. A mapper that
has it already is left alone; what patch does not recognise it refuses, and says
where. Run go mod tidy in the mapper afterwards.`,
		Example: `  adctl patch --dry-run ./my-mapper
  adctl patch ./my-mapper && cd my-mapper && go mod tidy && go build ./...`,
		Args: wrongArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := findSDK(&o); err != nil {
				return usage(err)
			}
			changes, err := scaffold.Patch(args[0], o)
			if err != nil {
				return usage(err)
			}
			out := cmd.OutOrStdout()
			for _, c := range changes {
				if !dryRun {
					fmt.Fprintln(out, c.Path)
					continue
				}
				if err := difflib.WriteUnifiedDiff(out, difflib.UnifiedDiff{
					A: difflib.SplitLines(string(c.Old)), B: difflib.SplitLines(string(c.New)),
					FromFile: "a/" + c.Path, ToFile: "b/" + c.Path, Context: 3,
				}); err != nil {
					return err
				}
			}
			if dryRun {
				return nil
			}
			return scaffold.Apply(args[0], changes)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the changes as a unified diff and write nothing")
	cmd.Flags().StringVar(&o.SDKPath, "sdk-path", "", "checkout of "+scaffold.SDK+" to use (default the one that adctl runs from, if any)")
	return cmd
}
