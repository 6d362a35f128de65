// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/scaffold"
)

func newNew() *cobra.Command {
	var o scaffold.Options
	var properties, output string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a new mapper project that works at once",
		Long: `new writes a complete mapper project with a simulated device: driver.go is the
file to fill in. It asks nothing and overwrites nothing.`,
		Example: `  adctl new demo && cd demo && make test && make run-sim
  adctl new boiler --module example.org/boiler --protocol modbus \
    --properties pressure:double:ro,valve:int:rw --detector ewma`,
		Args: wrongArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.Name = args[0]
			if properties != "" {
				if o.Properties, err = scaffold.ParseProperties(properties); err != nil {
					return usage(fmt.Errorf("--properties: %w", err))
				}
			}
			if _, err := driver.Default.Lookup(o.Detector); err != nil {
				return usage(fmt.Errorf("--detector: %w", err))
			}
			if err := findSDK(&o); err != nil {
				return usage(err)
			}
			files, err := scaffold.Render(o)
			if err != nil {
				return usage(err)
			}
			output = cmp.Or(output, o.Name)
			if err := scaffold.Write(output, files); err != nil {
				return err
			}
			for _, f := range files {
				fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(output, filepath.FromSlash(f.Path)))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Module, "module", "", "Go module path (default example.com/NAME)")
	f.StringVar(&o.Protocol, "protocol", "", "protocolName of the Devices (default NAME)")
	f.StringVar(&properties, "properties", "", "comma-separated name:type:access; type int, float, double, boolean or string; access ro or rw (default temperature:double:ro)")
	f.StringVar(&o.Detector, "detector", "auto", "detector of the read-only numeric properties")
	f.StringVar(&o.Adapter, "adapter", "inprocess", "where detectors run: "+strings.Join(scaffold.Adapters, ", "))
	f.StringVar(&o.SDKPath, "sdk-path", "", "checkout of "+scaffold.SDK+" to use (default the one that adctl runs from, if any)")
	f.StringVar(&output, "output", "", "directory of the project (default NAME)")
	return cmd
}

// findSDK says where the project finds this library: in the checkout that was named or that adctl runs from or was
// built from, else as the version that adctl has.
func findSDK(o *scaffold.Options) error {
	if o.SDKPath != "" {
		path, err := filepath.Abs(o.SDKPath)
		if err != nil {
			return fmt.Errorf("--sdk-path: %w", err)
		}
		if !isSDK(path) {
			return fmt.Errorf("--sdk-path: %s is not a checkout of %s", path, scaffold.SDK)
		}
		o.SDKPath = path
		return nil
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if file, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(file))
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) && !strings.Contains(file, "@") {
		starts = append(starts, filepath.Dir(file)) // absolute unless built with -trimpath, with @ in the module cache
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if isSDK(dir) {
				o.SDKPath = dir
				return nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok && semver.IsValid(info.Main.Version) && semver.Build(info.Main.Version) == "" {
		o.SDKVersion = info.Main.Version
		return nil
	}
	return errors.New("this adctl has no published version: name a checkout of " + scaffold.SDK + " by --sdk-path")
}

func isSDK(dir string) bool {
	raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && modfile.ModulePath(raw) == scaffold.SDK
}
