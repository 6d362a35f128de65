// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

func newVerdicts() *cobra.Command {
	var f history.Filter
	var api apiClient
	var file, severity, since, until, output string
	cmd := &cobra.Command{
		Use:   "verdicts",
		Short: "List verdicts that a mapper or detector gave",
		Long: `verdicts lists what was judged, and by which detector, model and configuration
on which reading: from the file that the sink "history" writes, also while a
mapper writes it; or, with --url, the latest verdict of each property from the
API of a running mapper.`,
		Example: `  adctl verdicts --history /var/lib/edge-anomaly/verdicts.db --device light-1 --since 1h
  adctl verdicts --url http://127.0.0.1:6806 --severity warning --output json`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage(fmt.Errorf("--output: got %q, want table or json", output))
			}
			if err := verdictFilter(&f, severity, since, until, time.Now()); err != nil {
				return usage(err)
			}
			if api.address != "" && cmd.Flags().Changed("history") {
				return usage(errors.New("--history and --url: want one of them"))
			}
			var found []httpapi.Verdict
			var err error
			if api.address != "" {
				found, err = api.verdicts(cmd.Context(), f)
			} else {
				found, err = history.Query(cmd.Context(), file, f)
			}
			if errors.Is(err, os.ErrNotExist) {
				return usage(fmt.Errorf("%w; name the file with --history, or a running mapper with --url", err))
			} else if err != nil {
				return err
			}
			if output == "json" {
				if found == nil {
					found = []httpapi.Verdict{}
				}
				return writeJSON(cmd.OutOrStdout(), found)
			}
			return verdictTable(cmd.OutOrStdout(), found)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "history", "/var/lib/edge-anomaly/"+history.File, "file of the history")
	flags.StringVar(&api.address, "url", "", "base address of the API, for example http://127.0.0.1:6806")
	flags.StringVar(&api.token, "token", "", "file with the token for the API")
	flags.StringVar(&api.tls.CA, "ca", "", "file with the authority of the API's certificate, if it is none of the system's")
	flags.StringVar(&api.tls.Cert, "cert", "", "file with the own certificate, where the API asks for one")
	flags.StringVar(&api.tls.Key, "key", "", "file with its key")
	flags.StringVar(&f.Namespace, "namespace", "", "only of this namespace, a glob")
	flags.StringVar(&f.Device, "device", "", "only of this device, a glob such as light-*")
	flags.StringVar(&f.Property, "property", "", "only of this property, a glob")
	flags.StringVar(&severity, "severity", "", "only of this severity or worse: normal, warning or critical")
	flags.StringVar(&since, "since", "", "only of readings since then: a duration back from now such as 1h, or a time (RFC 3339)")
	flags.StringVar(&until, "until", "", "only of readings before then, likewise")
	flags.IntVar(&f.Limit, "limit", 1000, "the latest so many at most")
	flags.StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
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

const (
	askTimeout = 30 * time.Second
	maxAnswer  = 256 << 20
)

// apiClient is how to reach the API of a mapper.
type apiClient struct {
	address, token string // the token's file
	tls            tlsfiles.Files
}

// verdicts reads the latest verdicts.
func (c *apiClient) verdicts(ctx context.Context, f history.Filter) ([]httpapi.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	u, err := url.Parse(c.address)
	if err != nil || u.Host == "" {
		return nil, usage(fmt.Errorf("--url: got %q, want an address such as http://127.0.0.1:6806", c.address))
	}
	files, err := tlsfiles.New(c.tls, nil)
	if err != nil {
		return nil, usage(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: files.Client()}}
	defer client.CloseIdleConnections()
	u = u.JoinPath("v1", "verdicts")
	q := url.Values{}
	q.Set("namespace", f.Namespace)
	q.Set("device", f.Device)
	q.Set("property", f.Property)
	if f.Severity > driver.Unknown {
		q.Set("severity", f.Severity.String())
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, usage(fmt.Errorf("--url: %w", err))
	}
	if c.token != "" {
		token, err := tlsfiles.NewToken(c.token, nil)
		if err != nil {
			return nil, usage(fmt.Errorf("--token: %w", err))
		}
		req.Header.Set("Authorization", "Bearer "+token.Get())
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.200s", c.address, resp.Status, strings.TrimSpace(string(body)))
	}
	var answer struct{ Verdicts []httpapi.Verdict }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", c.address, err)
	}
	found := slices.DeleteFunc(answer.Verdicts, func(v httpapi.Verdict) bool {
		return v.At.Before(f.Since) || !f.Until.IsZero() && !v.At.Before(f.Until)
	})
	slices.SortStableFunc(found, func(a, b httpapi.Verdict) int { return a.At.Compare(b.At) })
	return found[max(0, len(found)-f.Limit):], nil
}

func verdictTable(w io.Writer, found []httpapi.Verdict) error {
	number := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return strconv.FormatFloat(*v, 'g', 4, 64)
	}
	text := func(s string) string { // names come from elsewhere: nothing of theirs steers a terminal
		if s == "" {
			return "-"
		}
		if q := strconv.Quote(s); q != `"`+s+`"` {
			return q
		}
		return s
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "READ AT\tNAMESPACE\tDEVICE\tPROPERTY\tSEVERITY\tKIND\tSCORE\tVALUE\tEXPECTED\tDETECTOR\tMODEL\tCONFIG")
	for i := range found {
		v := &found[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.At.UTC().Format("2006-01-02T15:04:05.000Z"),
			text(v.Namespace), text(v.Device), text(v.Property), v.Severity, text(string(v.Kind)), number(v.Score), number(v.Value),
			number(v.Expected), text(v.Detector), text(v.Model), text(v.Config))
	}
	return t.Flush()
}
