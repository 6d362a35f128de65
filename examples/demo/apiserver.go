// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
)

// cloud is an API server with the DeviceStatuses of the devices, which it has from the beginning.
type cloud struct{ *cloudtest.Server }

func startCloud(devices []string) (cloud, error) {
	c := cloud{cloudtest.Start()}
	for _, name := range devices {
		if err := c.Put(&v1beta1.DeviceStatus{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}); err != nil {
			c.Close()
			return cloud{}, err
		}
	}
	return c, nil
}

// severity is what the extension of a device says, "" as long as there is none.
func (c cloud) severity(name string) string {
	text, _ := field(c.Status(namespace, name), "status", "extensions", extension, "data", "severity").(string)
	return text
}

const extension = "anomaly-detector"

func field(v any, path ...string) any {
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// fetch reads a page of the mapper.
func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text), nil
}

// freeAddress is one of this machine that nobody listens on right now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// only keeps the lines of a text that contain all of the given parts.
func only(text string, parts ...string) string {
	var b strings.Builder
lines:
	for line := range strings.Lines(text) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		b.WriteString(line)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
