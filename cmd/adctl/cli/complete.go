// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// filesOnly completes arguments by the names of files with these suffixes.
func filesOnly(suffixes ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return suffixes, cobra.ShellCompDirectiveFilterFileExt
	}
}

// words completes by fixed words.
func words(of ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp)
}

// complete completes the flags that all commands have alike: names of detectors, keys of settings, formats, files.
func complete(cmd *cobra.Command) {
	for name, f := range map[string]cobra.CompletionFunc{
		"detector": completeDetectors, "set": completeSettings, "format": words("table", "csv", "json", "yaml"),
		"fail-on": words("warning", "critical"), "severity": words("normal", "warning", "critical"), "alarms": words("1/day", "1/week", "1/month"),
		"type": words("int", "float", "double", "boolean", "string"), "model": filesOnly("model"), "history": filesOnly("db"),
		"report": filesOnly("html"), "png": filesOnly("png"), "picture": filesOnly("svg", "dot"), "bif": filesOnly("bif"), "structure": filesOnly("bif"),
	} {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, f) // fails for a flag that is not there, or registered twice
		}
	}
}

// completeDetectors are the names of the detectors that are linked, with what they do.
func completeDetectors(*cobra.Command, []string, string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, f := range driver.Default.Factories() {
		names = append(names, cobra.CompletionWithDesc(f.Info().Name, f.Info().Summary))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSettings are the keys of a Device, and those of the detector that was named.
func completeSettings(cmd *cobra.Command, _ []string, begun string) (keys []cobra.Completion, _ cobra.ShellCompDirective) {
	const more = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if strings.Contains(begun, "=") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	r := linked()
	for _, p := range r.Keys {
		keys = append(keys, cobra.CompletionWithDesc(p.Key+"=", p.Doc))
	}
	name := admethod.DefaultConfig().Detector
	if f := cmd.Flags().Lookup("detector"); f != nil && f.Value.String() != "" {
		name = f.Value.String()
	}
	if f, err := driver.Default.Lookup(name); err == nil {
		for _, p := range f.Params() {
			keys = append(keys, cobra.CompletionWithDesc("detector."+p.Key+"=", p.Doc))
		}
	}
	slices.Sort(keys)
	return keys, more
}
