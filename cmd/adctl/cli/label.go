// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func newLabel() *cobra.Command {
	var (
		s     selection
		label string
	)
	cmd := &cobra.Command{
		Use:   "label --data DIR --from TIME --to TIME --label LABEL",
		Short: "Say what recorded readings were",
		Long: `label says of the readings of a time range what they were, for example anomaly.
Exports carry the label; the readings themselves stay as they are. A later label
goes before an earlier one, and the label "" takes earlier ones away.`,
		Example: `  adctl label --data /var/lib/mapper/readings --device light-1 \
    --from 2026-03-01T12:00:00Z --to 2026-03-01T12:10:00Z --label anomaly`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.parse(time.Now()); err != nil {
				return err
			}
			q := s.query
			if q.From.IsZero() || q.To.IsZero() {
				return usage(errors.New("--from and --to: want both"))
			}
			if !cmd.Flags().Changed("label") {
				return usage(errors.New("--label: want what the readings were"))
			}
			err := labels.Add(s.data, labels.Label{
				Namespace: q.Namespace, Device: q.Device, Property: q.Property, From: q.From, To: q.To, Label: label,
				Said: time.Now().UTC(), By: os.Getenv("USER"),
			})
			if err != nil {
				return err
			}
			n := 0
			if err := store.Scan(cmd.Context(), s.data, q, func(batch []store.Entry) error { n += len(batch); return nil }); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d readings are labelled %q\n", n, label)
			return nil
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&label, "label", "", "what the readings were (required)")
	return cmd
}
