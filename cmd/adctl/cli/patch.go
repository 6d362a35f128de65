// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/pkg/scaffold"
)

func newPatch() *cobra.Command {
	var o scaffold.Options
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "patch DIR",
		Short: "Add anomaly detection to a mapper that KubeEdge v1.18 to v1.23 generated",
		Long: `patch adds detection to a mapper that make generate of KubeEdge v1.18 to v1.23
has written: the import and one call in device/device.go, the end of detection on
SIGTERM in cmd, what go.mod needs, and what keeps such a mapper from building with
the framework of v1.23. Lines that are not edited stay as they are. Either all
files are changed or none. A mapper that has detection already is left alone;
what patch does not recognise it refuses, and says where. Run go mod tidy in the
mapper afterwards. What was learned survives a stop if the mapper has a directory
for it, in EDGE_ANOMALY_STATE_DIR. Where verdicts are to go elsewhere than to the
log, --link all links every sink and adapter, or import the one that is used
beside admethod/auto: an error names the package.`,
		Example: `  adctl patch --dry-run ./my-mapper
  adctl patch ./my-mapper && cd my-mapper && go mod tidy && go build ./...`,
		Args: wrongArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Link != scaffold.LinkAll && o.Link != scaffold.LinkAuto {
				return usage(fmt.Errorf("--link: got %q, want %s or %s", o.Link, scaffold.LinkAuto, scaffold.LinkAll))
			}
			if err := findSDK(&o); err != nil {
				return usage(err)
			}
			o.Note = func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), "adctl: note:", text) }
			changes, err := scaffold.Patch(args[0], o)
			if err != nil {
				return usage(err)
			}
			out := cmd.OutOrStdout()
			if dryRun {
				for _, c := range changes {
					if err := writeDiff(out, c.Path, c.Old, c.New); err != nil {
						return err
					}
				}
				return nil
			}
			if err := scaffold.Apply(args[0], changes); err != nil {
				return err
			}
			for _, c := range changes {
				fmt.Fprintln(out, filepath.Join(args[0], filepath.FromSlash(c.Path)))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the changes as a unified diff and write nothing")
	cmd.Flags().StringVar(&o.Link, "link", scaffold.LinkAuto, "what the mapper links: auto, which is detection inside the mapper with all detectors and the sink log, or all: every adapter and sink, twice as large")
	cmd.Flags().StringVar(&o.SDKPath, "sdk-path", "", "checkout of "+scaffold.SDK+" to use (default the one that adctl runs from, if any)")
	return cmd
}

// writeDiff shows how a file changes; old is nil for one that is added. It writes nothing where nothing changes.
func writeDiff(w io.Writer, name string, old, changed []byte) error {
	d := difflib.UnifiedDiff{B: difflib.SplitLines(string(changed)), FromFile: os.DevNull, ToFile: "b/" + name, Context: 3}
	if old != nil {
		d.A, d.FromFile = difflib.SplitLines(string(old)), "a/"+name
	}
	return difflib.WriteUnifiedDiff(w, d)
}
