// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

const (
	askTimeout = 30 * time.Second
	maxAnswer  = 256 << 20
)

// apiClient is how to reach the API of a mapper.
type apiClient struct {
	address, token string // the token's file
	tls            tlsfiles.Files
}

func (c *apiClient) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.address, "url", "", "base address of the API, for example http://127.0.0.1:6806")
	flags.StringVar(&c.token, "token", "", "file with the token for the API")
	flags.StringVar(&c.tls.CA, "ca", "", "file with the authority of the API's certificate, if it is none of the system's")
	flags.StringVar(&c.tls.Cert, "cert", "", "file with the own certificate, where the API asks for one")
	flags.StringVar(&c.tls.Key, "key", "", "file with its key")
}

// call asks the API, and reads its answer into answer. A body that is not nil is posted.
func (c *apiClient) call(ctx context.Context, path string, query url.Values, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	u, err := url.Parse(c.address)
	if err != nil || u.Host == "" {
		return usage(fmt.Errorf("--url: got %q, want an address such as http://127.0.0.1:6806", c.address))
	}
	files, err := tlsfiles.New(c.tls, nil)
	if err != nil {
		return usage(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: files.Client()}}
	defer client.CloseIdleConnections()
	u = u.JoinPath("v1", path)
	u.RawQuery = query.Encode()
	method, text := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(text))
	if err != nil {
		return usage(fmt.Errorf("--url: %w", err))
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		token, err := tlsfiles.NewToken(c.token, nil)
		if err != nil {
			return usage(fmt.Errorf("--token: %w", err))
		}
		req.Header.Set("Authorization", "Bearer "+token.Get())
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s", c.address, resp.Status, strings.TrimSpace(string(page)))
	}
	if err := json.Unmarshal(page, answer); err != nil {
		return fmt.Errorf("%s: %w", c.address, err)
	}
	return nil
}

// verdicts reads the latest verdicts.
func (c *apiClient) verdicts(ctx context.Context, f history.Filter) ([]httpapi.Verdict, error) {
	q := url.Values{"namespace": {f.Namespace}, "device": {f.Device}, "property": {f.Property}}
	if f.Severity > driver.Unknown {
		q.Set("severity", f.Severity.String())
	}
	var answer struct{ Verdicts []httpapi.Verdict }
	if err := c.call(ctx, "verdicts", q, nil, &answer); err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(answer.Verdicts, func(v httpapi.Verdict) bool {
		return v.At.Before(f.Since) || !f.Until.IsZero() && !v.At.Before(f.Until)
	})
	slices.SortStableFunc(found, func(a, b httpapi.Verdict) int { return a.At.Compare(b.At) })
	return found[max(0, len(found)-f.Limit):], nil
}

const incidentsAtOnce = 500 // of one answer

// incidents reads incidents, page by page, until there are as many as the filter wants.
func (c *apiClient) incidents(ctx context.Context, f httpapi.IncidentFilter) (found []httpapi.Incident, err error) {
	q := url.Values{"namespace": {f.Namespace}, "device": {f.Device}, "property": {f.Property}, "kind": {string(f.Kind)}}
	if f.Severity > driver.Unknown {
		q.Set("severity", f.Severity.String())
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339))
	}
	if f.Open != nil {
		q.Set("open", strconv.FormatBool(*f.Open))
	}
	for len(found) < f.Limit {
		q.Set("limit", strconv.Itoa(min(f.Limit-len(found), incidentsAtOnce)))
		var answer struct {
			Incidents []httpapi.Incident
			Next      string
		}
		if err := c.call(ctx, "incidents", q, nil, &answer); err != nil {
			return nil, err
		}
		found = append(found, answer.Incidents...)
		if answer.Next == "" || len(answer.Incidents) == 0 {
			break
		}
		q.Set("page", answer.Next)
	}
	return found, nil
}
