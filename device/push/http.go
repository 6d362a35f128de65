// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type httpRoute struct {
	url     string
	timeout time.Duration
}

// parseHTTP reads pushMethod.http of a Device. A host without scheme means http. The timeout has no unit there: numbers
// below 100 are seconds, others milliseconds.
func parseHTTP(config json.RawMessage, timeout time.Duration) (httpRoute, error) {
	var c struct {
		HostName    string
		Port        int64
		RequestPath string
		Timeout     int64
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return httpRoute{}, err
	}
	if c.HostName == "" {
		return httpRoute{}, errors.New("hostName is missing")
	}
	if c.Port < 0 || c.Port > 65535 {
		return httpRoute{}, fmt.Errorf("port: got %d, want 1 … 65535", c.Port)
	}
	host := c.HostName
	if !strings.Contains(host, "://") {
		host = "http://" + host
	}
	u, err := url.Parse(host)
	if err != nil {
		return httpRoute{}, fmt.Errorf("hostName: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return httpRoute{}, fmt.Errorf("hostName: got %q, want a host, or http:// or https:// and a host", c.HostName)
	}
	if c.Port != 0 {
		host := u.Hostname()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		u.Host = host + ":" + strconv.FormatInt(c.Port, 10)
	}
	target := u.Scheme + "://" + u.Host + "/" + strings.TrimPrefix(c.RequestPath, "/")
	if _, err := url.Parse(target); err != nil {
		return httpRoute{}, fmt.Errorf("requestPath: %w", err)
	}
	const secondsBelow = 100
	switch {
	case c.Timeout >= secondsBelow:
		timeout = time.Duration(c.Timeout) * time.Millisecond
	case c.Timeout > 0:
		timeout = time.Duration(c.Timeout) * time.Second
	}
	return httpRoute{url: target, timeout: timeout}, nil
}

type httpSender struct{ client *http.Client }

// send posts the reading as JSON: an object with the fields of mapper-framework's DataModel.
func (s *httpSender) send(ctx context.Context, it item) error {
	r := it.route.(httpRoute)
	body, err := json.Marshal(it.data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return &retryable{err: err}
	}
	defer func() { _ = resp.Body.Close() }() // nothing is written to it
	// Read to the end so that the connection can be used again, but not whatever a server may send.
	const most = 64 << 10
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, most))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	err = fmt.Errorf("POST %s: %s", r.url, resp.Status)
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusRequestTimeout {
		return &retryable{err: err, answered: true}
	}
	return err
}

func (s *httpSender) close() {}
