// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/lint"
	mapperconfig "github.com/kubeedge/edge-anomaly/device/config"
)

type lintOptions struct {
	config              string
	fix, strict, policy bool
	out                 output
}

func newLint() *cobra.Command {
	var o lintOptions
	cmd := &cobra.Command{
		Use:   "lint FILE...|-",
		Short: "Check manifests of Devices and DeviceModels before they are applied",
		Long: `lint checks manifests of Devices and DeviceModels for what kubectl accepts and
EdgeCore, a mapper or a detector does not. YAML is read as kubectl reads it. Give
the models along with the Devices, and all members of a group together: what is
not there is not checked, and a notice says so.

What belongs to the mapper's operator is not for a Device to set. With --config,
the configuration file of the mapper, its targets, allowed addresses and sinks
are known, and --fix writes the name of a target where a Device has its address.

Exit codes: 0 nothing is wrong, or warnings only; 1 there are errors, or with
--strict warnings; 2 wrong arguments, or a file that cannot be read.`,
		Example: `  adctl lint devices.yaml models.yaml
  adctl lint --fix devices.yaml
  helm template ./chart | adctl lint -o github -
  adctl lint --policy | kubectl apply -f -`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if o.policy {
				if len(files) > 0 {
					return usage(errors.New("--policy takes no files"))
				}
				options, _, err := o.operator()
				if err != nil {
					return usage(err)
				}
				_, err = io.WriteString(cmd.OutOrStdout(), lint.Policy(options))
				return err
			}
			if err := o.out.check(cmd); err != nil {
				return err
			}
			return o.run(files, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.out.flags(cmd, "github")
	cmd.Flags().StringVar(&o.config, "config", "", "configuration `file` of the mapper that the Devices are for")
	cmd.Flags().BoolVar(&o.fix, "fix", false, "rewrite what EdgeCore cannot carry, as JSON texts, in place; standard input is written to standard output")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "warnings count as errors")
	cmd.Flags().BoolVar(&o.policy, "policy", false, "print a ValidatingAdmissionPolicy that refuses the deadly cases, and what is not for a Device to set, in the cluster")
	return cmd
}

func (o *lintOptions) run(files []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(files) == 0 {
		return usage(errors.New("want files, or - for standard input"))
	}
	options, target, err := o.operator()
	if err != nil {
		return usage(err)
	}
	linter := lint.New(options)
	findings := stdout
	for _, name := range files {
		data, err := readInput(name, stdin)
		if err != nil {
			return usage(err)
		}
		if o.fix {
			if data, err = o.rewrite(name, data, target, stdout, stderr); err != nil {
				return usage(err)
			}
			if name == "-" {
				findings = stderr
			}
		}
		if err := linter.Read(name, bytes.NewReader(data)); err != nil {
			return usage(err)
		}
	}
	found, objects := linter.Findings()
	if err := o.show(findings, found); err != nil {
		return err
	}
	failed, warned := 0, 0
	for _, f := range found {
		switch f.Severity {
		case lint.Error:
			failed++
		case lint.Warning:
			warned++
		}
	}
	if objects == 0 && failed == 0 {
		err := fmt.Errorf("nothing was checked: no Device or DeviceModel in %s; want whole manifests, with kind: Device", strings.Join(files, ", "))
		if o.strict {
			return usage(err)
		}
		fmt.Fprintf(stderr, "adctl: %v\n", err)
		return nil
	}
	if failed > 0 || o.strict && warned > 0 {
		return fmt.Errorf("%s, %s in %s and DeviceModels", counted(failed, "error"), counted(warned, "warning"), counted(objects, "Device"))
	}
	fmt.Fprintf(stderr, "adctl: no errors, %s in %s and DeviceModels\n", counted(warned, "warning"), counted(objects, "Device"))
	return nil
}

// show writes findings: for people, as a table or a list for programs, or as annotations of a GitHub workflow.
func (o *lintOptions) show(w io.Writer, found []lint.Finding) error {
	g := &grid{
		head:   []string{"file", "line", "column", "severity", "rule", "object", "property", "message", "remedy"},
		all:    func(w io.Writer) error { return lint.WriteText(w, found) },
		others: map[string]func(io.Writer) error{"github": func(w io.Writer) error { return lint.WriteGitHub(w, found) }},
	}
	for _, f := range found {
		g.add(f.File, strconv.Itoa(f.Line), strconv.Itoa(f.Column), string(f.Severity), f.Rule, f.Object, f.Property, f.Message, f.Remedy)
	}
	if found == nil {
		found = []lint.Finding{}
	}
	return o.out.showTo(w, found, g)
}

// operator is what the mapper's configuration says to Devices; target finds the target of an address.
func (o *lintOptions) operator() (options pipeline.Options, target func(adapter, address string) (string, bool), err error) {
	if o.config == "" {
		return options, nil, nil
	}
	c, err := mapperconfig.Load(o.config)
	if err != nil {
		return options, nil, err
	}
	a := c.AnomalyDetection
	options = pipeline.Options{AdapterOptions: make(map[string]map[string]any), DefaultSinks: a.Sinks, DeviceSinks: a.SinksForDevices(), Budget: a.Budget}
	for _, f := range admethod.Adapters.Items() {
		options.AdapterOptions[f.Name] = map[string]any{} // known to be none
	}
	maps.Copy(options.AdapterOptions, a.AdapterOptions)
	return options, func(adapter, address string) (string, bool) {
		for _, key := range slices.Sorted(maps.Keys(a.AdapterOptions[adapter])) {
			name, ok := strings.CutPrefix(key, "targets.")
			if name, isAddress := strings.CutSuffix(name, ".address"); ok && isAddress && fmt.Sprint(a.AdapterOptions[adapter][key]) == address {
				return name, true
			}
		}
		return "", false
	}, nil
}

func readInput(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// rewrite fixes one file and returns its new content.
func (o *lintOptions) rewrite(name string, data []byte, target func(adapter, address string) (string, bool), stdout, stderr io.Writer) ([]byte, error) {
	fixed, changes, err := lint.Fix(data, target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if name == "-" {
		_, err := stdout.Write(fixed)
		return fixed, err
	}
	if changes == 0 {
		return data, nil
	}
	err = writeFile(name, func(w io.Writer) error {
		_, err := w.Write(fixed)
		return err
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(stderr, "adctl: %s: %d changes\n", name, changes)
	return fixed, nil
}
