// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
)

func newVerdicts() *cobra.Command {
	var f history.Filter
	var api apiClient
	var cluster natsClient
	var file, severity, kind, since, until string
	var out output
	var told, open, watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "verdicts",
		Short: "List verdicts that a mapper or detector gave",
		Long: `verdicts lists what was judged, and by which detector, model and configuration
on which reading: from the file that the sink "history" writes, also while a
mapper writes it; or, with --url, the latest verdict of each property from the
API of a running mapper; or, with --nats, what is kept on the bus of detectors.

With --incidents it lists what people are told of: when each began, how long it
lasted, how it ended, and why; the latest first.`,
		Example: `  adctl verdicts --incidents --open --url http://127.0.0.1:6806
  adctl verdicts --history /var/lib/edge-anomaly/verdicts.db --device light-1 --since 1h
  adctl verdicts --url http://127.0.0.1:6806 --severity warning -o json
  adctl verdicts --nats tls://nats.plant:4222 --nats-credentials reader.creds --since 1h
  adctl verdicts --url http://127.0.0.1:6806 --watch`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			if err := verdictFilter(&f, severity, since, until, time.Now()); err != nil {
				return usage(err)
			}
			if api.address != "" && cmd.Flags().Changed("history") {
				return usage(errors.New("--history and --url: want one of them"))
			}
			if cluster.address != "" && (api.address != "" || told || cmd.Flags().Changed("history")) {
				return usage(errors.New("--nats: want it without --history, --url and --incidents"))
			}
			if told {
				incidents := httpapi.IncidentFilter{
					Namespace: f.Namespace, Device: f.Device, Property: f.Property, Severity: f.Severity, Kind: driver.Kind(kind),
					Since: f.Since, Limit: f.Limit,
				}
				if open {
					incidents.Open = &open
				}
				return listIncidents(cmd, &api, file, &out, incidents, f.Until)
			}
			if kind != "" || open {
				return usage(errors.New("--kind and --open: want --incidents beside them"))
			}
			find := func(ctx context.Context, f history.Filter) (found []httpapi.Verdict, err error) {
				if cluster.address != "" {
					return cluster.verdicts(ctx, f)
				}
				if api.address != "" {
					found, err = api.verdicts(ctx, f)
				} else {
					found, err = history.Query(ctx, file, f)
				}
				return found, noHistory(err)
			}
			if watch {
				return watchVerdicts(cmd, &out, every, f, find)
			}
			found, err := find(cmd.Context(), f)
			if err != nil {
				return err
			}
			if found == nil {
				found = []httpapi.Verdict{}
			}
			return out.show(cmd, found, verdictTable(found))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "history", "/var/lib/edge-anomaly/"+history.File, "file of the history")
	api.flags(cmd)
	cluster.flags(cmd)
	flags.BoolVar(&told, "incidents", false, "list incidents, not single verdicts")
	flags.BoolVar(&open, "open", false, "with --incidents: only those that last")
	flags.StringVar(&kind, "kind", "", "with --incidents: only of this kind, for example level")
	flags.StringVar(&f.Namespace, "namespace", "", "only of this namespace, a glob")
	flags.StringVar(&f.Device, "device", "", "only of this device, a glob such as light-*")
	flags.StringVar(&f.Property, "property", "", "only of this property, a glob")
	flags.StringVar(&severity, "severity", "", "only of this severity or worse: normal, warning or critical")
	flags.StringVar(&since, "since", "", "only of readings since then: a duration back from now such as 1h, or a time (RFC 3339)")
	flags.StringVar(&until, "until", "", "only of readings before then, likewise")
	flags.IntVar(&f.Limit, "limit", 1000, "the latest so many at most")
	flags.BoolVarP(&watch, "watch", "w", false, "go on: print verdicts as they come, until interrupted")
	flags.DurationVar(&every, "every", 2*time.Second, "with --watch: how often to look")
	out.flags(cmd)
	return cmd
}

// noHistory explains a history that is not there.
func noHistory(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return usage(fmt.Errorf("%w; name the file with --history, or a running mapper with --url", err))
	}
	return err
}

// verdictFilter reads the flags that are more than text.
func verdictFilter(f *history.Filter, severity, since, until string, now time.Time) (err error) {
	if severity != "" {
		if err := f.Severity.UnmarshalText([]byte(severity)); err != nil {
			return fmt.Errorf("--severity: want %w", err)
		}
	}
	for _, glob := range []string{f.Namespace, f.Device, f.Property} {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("got %q, want a glob such as light-*", glob)
		}
	}
	if f.Limit < 1 {
		return fmt.Errorf("--limit: got %d, want at least 1", f.Limit)
	}
	if f.Since, err = moment(since, now); err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	if f.Until, err = moment(until, now); err != nil {
		return fmt.Errorf("--until: %w", err)
	}
	return nil
}

// moment reads a time, or a duration back from now; "" is no time.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 {
		return now.Add(-back), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("got %q, want a duration such as 1h or a time such as 2026-01-02T15:04:05Z", text)
	}
	return at, nil
}

func verdictTable(found []httpapi.Verdict) *grid {
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', 4, 64)
	}
	g := &grid{head: []string{"read at", "namespace", "device", "property", "severity", "kind", "score", "value", "expected", "detector", "model", "config"}}
	for i := range found {
		v := &found[i]
		g.add(v.At.UTC().Format("2006-01-02T15:04:05.000Z"), v.Namespace, v.Device, v.Property, v.Severity.String(), string(v.Kind),
			number(v.Score), number(v.Value), number(v.Expected), v.Detector, v.Model, v.Config)
	}
	return g
}

// cell is text of a table: names come from elsewhere, and nothing of theirs steers a terminal.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
