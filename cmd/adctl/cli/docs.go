// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/reference"
)

func newDocs() *cobra.Command {
	var write, check bool
	cmd := &cobra.Command{
		Use:   "docs --write FILE… | --check FILE…",
		Short: "Write the reference of the configuration into documents, or check it there",
		Long: `docs generates the reference of what a Device can say, from the detectors,
adapters, sinks and sources that are linked, as Markdown between the lines
  ` + reference.BeginMark + `
  ` + reference.EndMark + `
of each file. --check changes nothing, says what differs, and exits with 1 if
anything does.`,
		Args: wrongArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if write == check {
				return usage(errors.New("want either --write or --check"))
			}
			r := linked()
			var errs []error
			for _, file := range files {
				if write {
					errs = append(errs, writeDocs(file, r.Markdown()))
				} else {
					errs = append(errs, checkDocs(cmd.OutOrStdout(), file, r.Markdown()))
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&write, "write", false, "write the reference into the files")
	cmd.Flags().BoolVar(&check, "check", false, "fail if the reference in the files is not current")
	return cmd
}

func writeDocs(file, markdown string) error {
	old, next, err := renew(file, markdown)
	if err != nil || old == next {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(next), info.Mode().Perm())
}

func checkDocs(w io.Writer, file, markdown string) error {
	old, next, err := renew(file, markdown)
	if err != nil {
		return err
	}
	if old == next {
		return nil
	}
	for _, line := range reference.Diff(old, next) {
		fmt.Fprintf(w, "%s:%s\n", file, line)
	}
	return fmt.Errorf("%s: the reference is not current; run adctl docs --write %s", file, file)
}

func renew(file, markdown string) (old, next string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", "", usage(err)
	}
	old = string(data)
	if next, err = reference.Replace(old, markdown); err != nil {
		return "", "", usage(fmt.Errorf("%s: %w", file, err))
	}
	return old, next, nil
}
