// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
)

// watchVerdicts prints verdicts as they come: for programs as JSON, one a line, for people as lines of a table. A look
// that fails is told, once, and the next one may succeed. It ends with the context, and that is no failure.
func watchVerdicts(cmd *cobra.Command, out *output, every time.Duration, f history.Filter, find func(context.Context, history.Filter) ([]httpapi.Verdict, error)) error {
	if every <= 0 {
		return usage(fmt.Errorf("--every: got %v, want more than 0", every))
	}
	if out.file != "" || out.format == "yaml" {
		return usage(fmt.Errorf("--watch: want -o table, csv or json, and no --output"))
	}
	ctx := cmd.Context()
	tick := time.NewTicker(every)
	defer tick.Stop()
	newest := make(map[driver.Key]time.Time)
	failed, begun := "", false
	for {
		found, err := find(ctx, f)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !begun:
			return err
		case err != nil && err.Error() != failed:
			failed = err.Error()
			fmt.Fprintf(cmd.ErrOrStderr(), "%v\n", err)
		case err == nil:
			failed = ""
			fresh := unseen(found, newest)
			if err := printNew(cmd, out, fresh, !begun); err != nil {
				return err
			}
			begun = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// unseen are the verdicts that are newer than those of their property before, the oldest first.
func unseen(found []httpapi.Verdict, newest map[driver.Key]time.Time) (fresh []httpapi.Verdict) {
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b httpapi.Verdict) int { return a.At.Compare(b.At) })
	for i := range found {
		v := &found[i]
		key := driver.Key{Namespace: v.Namespace, Device: v.Device, Property: v.Property}
		if at, ok := newest[key]; ok && !v.At.After(at) {
			continue
		}
		newest[key] = v.At
		fresh = append(fresh, *v)
	}
	return fresh
}

func printNew(cmd *cobra.Command, out *output, fresh []httpapi.Verdict, first bool) error {
	if out.format == "json" {
		enc := jsonLines(cmd.OutOrStdout())
		for i := range fresh {
			if err := enc.Encode(&fresh[i]); err != nil {
				return err
			}
		}
		return nil
	}
	g := verdictTable(fresh)
	if out.format == "csv" {
		return g.csvRows(cmd.OutOrStdout(), first)
	}
	if !first {
		g.head = nil
	}
	if len(fresh) == 0 && !first {
		return nil
	}
	return g.text(cmd.OutOrStdout())
}
