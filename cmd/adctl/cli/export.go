// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

// selection is the flags that choose readings.
type selection struct {
	data, from, to string
	query          store.Query
}

func (s *selection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.data, "data", "", "directory of the recorded readings (required)")
	f.StringVar(&s.from, "from", "", "first time, RFC 3339 or 2026-03-01, or a duration before now such as 24h")
	f.StringVar(&s.to, "to", "", "time that is not included any more, as --from")
	f.StringVar(&s.query.Namespace, "namespace", "", "namespace, or a pattern")
	f.StringVar(&s.query.Device, "device", "", "device, or a pattern such as 'light-*'")
	f.StringVar(&s.query.Property, "property", "", "property, or a pattern")
}

// parse reads the times.
func (s *selection) parse(now time.Time) (err error) {
	if info, err := os.Stat(s.data); err != nil || !info.IsDir() {
		return usage(fmt.Errorf("--data: got %q, want the directory of recorded readings", s.data))
	}
	if s.query.From, err = when("--from", s.from, now); err != nil {
		return err
	}
	if s.query.To, err = when("--to", s.to, now); err != nil {
		return err
	}
	return usage(s.query.Validate())
}

func when(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usage(fmt.Errorf("%s: got %q, want a time such as 2026-03-01T12:00:00Z or 2026-03-01, or a duration before now such as 24h", flag, text))
}

func newExport() *cobra.Command {
	var (
		s      selection
		opts   store.ExportOptions
		output string
		as     formatFlag
	)
	cmd := &cobra.Command{
		Use:   "export --data DIR",
		Short: "Export recorded readings",
		Long: `export writes readings that a mapper or an external detector recorded, with
their verdicts and labels, to a file or to the standard output. The recorder may
be at work.`,
		Example: `  adctl export --data /var/lib/mapper/readings --from 2026-03-01 --to 2026-03-08 \
    --device 'light-*' --property temperature --format parquet --output week.parquet`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.parse(time.Now()); err != nil {
				return err
			}
			as.old(cmd.ErrOrStderr(), &output)
			return export(cmd, &s, opts, output)
		},
	}
	s.flags(cmd)
	cmd.Flags().StringArrayVar(&s.query.Verdicts, "verdict", nil, "severity of the verdict: none, unknown, normal, warning or critical; may be given more than once")
	cmd.Flags().StringVar(&s.query.Label, "label", "", "label that the readings carry, or a pattern")
	cmd.Flags().Func("device-label", "label of the devices, `NAME=VALUE` or a pattern for the value; may be given more than once", s.query.ParseDeviceLabel)
	opts.Format = store.CSV
	as = formatFlag{format: &opts.Format, known: store.Formats()}
	cmd.Flags().VarP(&as, "format", "o", "one of "+strings.Join(store.Formats(), ", "))
	cmd.Flags().DurationVar(&opts.Align, "align", 0, "of the format wide: times are rounded down to multiples of this")
	cmd.Flags().StringVar(&output, "output", "", "file to write; standard output where empty")
	_ = cmd.RegisterFlagCompletionFunc("format", words(store.Formats()...)) // fails for a flag that is not there
	return cmd
}

// export writes a file that is there as a whole or not at all.
func export(cmd *cobra.Command, s *selection, opts store.ExportOptions, output string) (err error) {
	out := cmd.OutOrStdout()
	if output != "-" && output != "" {
		return writeFile(output, func(w io.Writer) error {
			_, err := exportTo(cmd, w, s, opts)
			return err
		})
	}
	_, err = exportTo(cmd, out, s, opts)
	return err
}

func exportTo(cmd *cobra.Command, dst io.Writer, s *selection, opts store.ExportOptions) (int, error) {
	var bar *progress
	if !terminal(dst) {
		opts.Progress = func(done, total int64, readings int) {
			if bar == nil {
				bar = newBar(total, cmd.ErrOrStderr(), "exporting")
			}
			bar.set(done, readings)
		}
	}
	n, err := store.Export(cmd.Context(), dst, s.data, s.query, opts)
	bar.done()
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d readings\n", n)
	}
	return n, err
}
