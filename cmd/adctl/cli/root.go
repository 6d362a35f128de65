// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	_ "github.com/kubeedge/edge-anomaly/admethod/all" // all adapters, sinks and detectors
)

// The exit codes of adctl.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked for did not succeed, or a check found a difference
	exitUsage  = 2 // wrong arguments or configuration, or an input that cannot be read
	// exitNothing is that of a file that could be read, but of which nothing could be judged.
	exitNothing = 3
)

// exitStatus ends the program with a status of which all is said already.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is an error that ends the program with exitUsage.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage marks err, unless it is nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// quiet silences the library's log: adctl reports errors itself, once. It is not safe beside goroutines that log.
func quiet() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) }

// Run executes adctl with the given arguments and returns its exit status.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // commands take their context from ExecuteContext
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	fmt.Fprintf(stderr, "adctl: %v\n", err)
	var u *usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

// version is the module's, as the Go toolchain stamps it into the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "adctl",
		Short: "Detect anomalies in recorded readings, train, measure and document detectors",
		Long: `adctl runs recorded readings through the very detectors that a mapper runs,
trains, measures and documents these detectors.

Exit status: 0 success; 1 what was asked for did not succeed, or a check found a
difference; 2 wrong arguments or configuration, or an input that cannot be used;
3 nothing could be judged (detect).`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          wrongArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(newNew(), newPatch(), newDetect(), newTrain(), newModel(), newLint(), newDoctor(), newExport(), newLabel(), newDocs(), newDrivers(), newBench(), newVerdicts(), newFeedback(), newVersion())
	return root
}

// newVersion tells which program this is.
func newVersion() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell the version of this program",
		Args:  wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				System  string `json:"system"`
			}{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			g := new(grid)
			g.add("adctl", v.Version)
			g.add("go", v.Go)
			g.add("system", v.System)
			return out.show(cmd, v, g)
		},
	}
	out.flags(cmd)
	return cmd
}

// wrongArgs makes a usage error of what check finds wrong.
func wrongArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return usage(check(cmd, args)) }
}

// parseSet reads settings given as key=value; a later one of the same key wins.
func parseSet(pairs []string, into map[string]any) error {
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return usage(fmt.Errorf("--set: got %q, want key=value", pair))
		}
		into[key] = value
	}
	return nil
}
