// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// datasetsEnv names the directory with copies of public benchmark data.
const datasetsEnv = "EDGE_ANOMALY_DATASETS"

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure detectors: what they find and what they cost",
		Args:  wrongArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchNAB(), newBenchSKAB(), newBenchStreams(), newBenchTouchstone(), newBenchAccuracy(), newBenchFaults(), newBenchGenerators(), newBenchBayes(), newBenchSpeed())
	return cmd
}

// dataDir is where a benchmark lies: where the flag says, else below the directory that the environment names.
func dataDir(flag, name string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	base := os.Getenv(datasetsEnv)
	if base == "" {
		return "", usage(errors.New("--data: want the directory with the benchmark, here or in $" + datasetsEnv))
	}
	return filepath.Join(base, name), nil
}
