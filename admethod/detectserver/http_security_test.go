// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Attacks on the HTTP endpoint do not disturb those who are let in, and are logged once.
func TestAttacksOnBatchesDisturbNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("measures latencies")
	}
	ca := newAuthority(t, t.TempDir())
	clients := map[string]Client{"mapper": {Names: []string{"mapper"}, Namespaces: []string{"default"}}}
	rogues := []string{"many", "garbled", "large", "foreign"} // one for each attack
	for _, name := range rogues {
		clients[name] = Client{Names: []string{name}, Namespaces: []string{"rogue"}, Limits: Limits{Rate: 1000, Burst: 1000, Streams: 4}}
	}
	address, _ := serveBatches(t, Config{
		TLS: ca.issue("localhost"), Handshake: 600 * time.Millisecond, MaxPending: 8, Clients: clients, Config: intake.Config{
			Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"},
		},
	})
	url := "https://" + address + batch.Path
	ca.issue("mapper")
	good := httpClient(t, ca.config("mapper"))
	flood := func(name string, body []byte) func(context.Context) {
		ca.issue(name)
		rogue := httpClient(t, ca.config(name))
		return func(ctx context.Context) {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
			if err != nil {
				return
			}
			resp, err := rogue.Do(req)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil { // a client that does as it is told
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(wait) * time.Second):
				}
			}
		}
	}
	many := new(pb.DetectRequest)
	for i := range 500 {
		r := reading(i, "20")
		r.Namespace = "rogue"
		many.Readings = append(many.Readings, r)
	}
	disturbNobody(t, []attack{
		{"slow handshake", "i/o timeout", 12, func(ctx context.Context) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return
			}
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			_, _ = conn.Write([]byte{0x16, 3, 1, 2, 0})
			_, _ = io.Copy(io.Discard, conn) // until the server hangs up
		}},
		{"flood", "readings a second", 3, flood("many", mustEncode(t, batch.JSON, many))},
		{"garbage", "want the JSON of DetectRequest", 2, flood("garbled", bytes.Repeat([]byte("x"), 64<<10))},
		{"oversized", "too large", 1, flood("large", make([]byte, maxBody+1))},
		{"foreign namespace", "may not send for namespace", 1, flood("foreign", mustEncode(t, batch.JSON, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(0, "20")}}))},
	}, func(t *testing.T, i int) {
		body := mustEncode(t, batch.JSON, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(i, "20")}})
		if resp, got := postTo(t, good, url, nil, body); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, string(got))
		}
	})
}

// Who may send for which namespace is told by certificate and token, as for gRPC.
func TestIdentityOfBatches(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	server := ca.issue("localhost")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ := serveBatches(t, Config{TLS: server, Clients: map[string]Client{
		"by certificate": {Names: []string{"mapper"}, Namespaces: []string{"default"}},
		"foreign":        {Names: []string{"foreign"}, Namespaces: []string{"other"}},
		"by token":       {Token: token, Namespaces: []string{"default"}},
	}})
	body := mustEncode(t, batch.JSON, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(0, "1")}})
	for name, test := range map[string]struct {
		cert, token string
		status      int
	}{
		"certificate":  {"mapper", "", 200},
		"foreign":      {"foreign", "", 403},
		"stranger":     {"stranger", "", 403},
		"none":         {"", "", 401},
		"token":        {"", "0123456789abcdef0123456789abcdef", 200},
		"wrong token":  {"", "0123456789abcdef0123456789abcdeX", 401},
		"token beside": {"mapper", "wrong", 401},
	} {
		if test.cert != "" {
			ca.issue(test.cert)
		}
		config := ca.config(test.cert)
		header := map[string]string{}
		if test.token != "" {
			header["Authorization"] = "Bearer " + test.token
		}
		if resp, got := postTo(t, httpClient(t, config), "https://"+address+batch.Path, header, body); resp.StatusCode != test.status {
			t.Errorf("%s: %s, %s; want %d", name, resp.Status, got, test.status)
		}
	}
	// Plaintext to a server with TLS is told so.
	resp, got := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, nil, body)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(got), "HTTPS") {
		t.Errorf("plaintext: %s, %s", resp.Status, got)
	}
}
