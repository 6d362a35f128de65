// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/scaffold"
)

type newOptions struct {
	scaffold.Options
	properties, output, template string
	dryRun                       bool
}

func newNew() *cobra.Command {
	var o newOptions
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a new mapper project that works at once",
		Long: `new writes a complete mapper project with a simulated device: driver.go is the
file to fill in. It asks nothing and overwrites nothing.

With --from-template the project is a copy of a mapper that make generate of
KubeEdge v1.18 to v1.23 has written, or of its template, with detection added as
adctl patch adds it; what a Device detects is then said in its manifest alone.`,
		Example: `  adctl new demo && cd demo && make test && make run-sim
  adctl new boiler --module example.org/boiler --protocol modbus \
    --properties pressure:double:ro,valve:int:rw --detector ewma
  adctl new boiler --adapter grpc --address detector.edge:6804
  adctl new boiler --from-template mapper-framework/_template/mapper`,
		Args: wrongArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			o.output = cmp.Or(o.output, o.Name)
			if err := findSDK(&o.Options); err != nil {
				return usage(err)
			}
			if o.template != "" {
				for _, name := range []string{"protocol", "properties", "detector", "adapter", "address"} {
					if cmd.Flags().Changed(name) {
						return usage(fmt.Errorf("--%s: a project from a template says it in its own files", name))
					}
				}
				return o.fromTemplate(cmd.OutOrStdout())
			}
			return o.write(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Module, "module", "", "Go module path (default example.com/NAME)")
	f.StringVar(&o.Protocol, "protocol", "", "protocolName of the Devices (default NAME)")
	f.StringVar(&o.properties, "properties", "", "comma-separated name:type:access; type int, float, double, boolean or string; access ro or rw (default temperature:double:ro)")
	f.StringVar(&o.Detector, "detector", "auto", "detector of the read-only numeric properties")
	f.StringVar(&o.Adapter, "adapter", "inprocess", "where detectors run: "+strings.Join(scaffold.Adapters, ", "))
	f.StringVar(&o.Address, "address", "", "where the detector of the adapters grpc and http is (default localhost:6804 and localhost:6805)")
	f.StringVar(&o.template, "from-template", "", "generated mapper, or KubeEdge's template of one, to copy and to add detection to")
	f.StringVar(&o.SDKPath, "sdk-path", "", "checkout of "+scaffold.SDK+" to use (default the one that adctl runs from, if any)")
	f.StringVar(&o.output, "output", "", "directory of the project (default NAME)")
	f.BoolVar(&o.dryRun, "dry-run", false, "show the project as a unified diff and write nothing")
	return cmd
}

func (o *newOptions) write(out io.Writer) (err error) {
	if o.properties != "" {
		if o.Properties, err = scaffold.ParseProperties(o.properties); err != nil {
			return usage(fmt.Errorf("--properties: %w", err))
		}
	}
	f, err := driver.Default.Lookup(o.Detector)
	if err != nil {
		return usage(fmt.Errorf("--detector: %w", err))
	}
	if slices.Contains(f.Info().Kinds, driver.KindCausal) {
		return usage(fmt.Errorf("--detector: %s tells which member of a group is to blame, and new watches each property by itself: begin with auto, and put properties into a group in the Devices", o.Detector))
	}
	files, err := scaffold.Render(o.Options)
	if err != nil {
		return usage(err)
	}
	if o.dryRun {
		for _, f := range files {
			if err := writeDiff(out, f.Path, nil, f.Data); err != nil {
				return err
			}
		}
		return nil
	}
	return o.writeFiles(out, files)
}

func (o *newOptions) fromTemplate(out io.Writer) error {
	to, err := filepath.Abs(o.output)
	if err != nil {
		return err
	}
	files, err := scaffold.Adapt(o.template, to, o.Options)
	if err != nil {
		return usage(fmt.Errorf("--from-template: %w", err))
	}
	if !o.dryRun {
		return o.writeFiles(out, files)
	}
	for _, f := range files {
		old, err := os.ReadFile(filepath.Join(o.template, filepath.FromSlash(f.Path)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := writeDiff(out, f.Path, old, f.Data); err != nil {
			return err
		}
	}
	return nil
}

func (o *newOptions) writeFiles(out io.Writer, files []scaffold.File) error {
	if err := scaffold.Write(o.output, files); err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintln(out, filepath.Join(o.output, filepath.FromSlash(f.Path)))
	}
	return nil
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
