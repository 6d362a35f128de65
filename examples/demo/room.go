// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// roomClient speaks to the room simulator.
type roomClient struct {
	url  string
	http *http.Client
}

func newRoomClient(url string) *roomClient {
	return &roomClient{url: url, http: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
}

func (r *roomClient) close() { r.http.CloseIdleConnections() }

func (r *roomClient) get(ctx context.Context, path string) (string, error) {
	return r.do(ctx, http.MethodGet, path, "")
}

func (r *roomClient) post(ctx context.Context, path, body string) error {
	_, err := r.do(ctx, http.MethodPost, path, body)
	return err
}

func (r *roomClient) do(ctx context.Context, method, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return "", fmt.Errorf("room simulator: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("room simulator: %s %s: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("room simulator: %s %s: %s: %s", method, path, resp.Status, text)
	}
	return string(text), nil
}
