// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

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
		TLS: ca.issue("localhost"), Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"},
		Handshake: 600 * time.Millisecond, MaxPending: 8, Clients: clients,
	})
	url := "https://" + address + batch.Path
	ca.issue("mapper")
	good := httpClient(t, ca.config("mapper"))
	latency := func(while time.Duration) time.Duration {
		var took []time.Duration
		for i, began := 0, time.Now(); time.Since(began) < while; i++ {
			body := mustEncode(t, batch.JSON, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(i, "20")}})
			asked := time.Now()
			if resp, got := postTo(t, good, url, nil, body); resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status, string(got))
			}
			took = append(took, time.Since(asked))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
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
	for _, test := range []struct {
		name, logged string
		workers      int
		attack       func(ctx context.Context)
	}{
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
	} {
		t.Run(test.name, func(t *testing.T) {
			l := captureLogs(t)
			const while, tries = 200 * time.Millisecond, 10
			for try := 1; ; try++ {
				calm := latency(while)
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range test.workers {
					wg.Go(func() {
						for ctx.Err() == nil {
							test.attack(ctx)
							select { // as fast as a link is, not as fast as a loop
							case <-ctx.Done():
							case <-time.After(20 * time.Millisecond):
							}
						}
					})
				}
				attacked := latency(4 * while) // longer than a handshake may take
				cancel()
				wg.Wait()
				t.Logf("p99 %v, attacked %v", calm, attacked)
				if attacked <= 2*calm || raceDetector { // which makes everything slow, the attackers' own work most of all
					break
				}
				if try == tries {
					t.Errorf("p99 is %v under attack, %v without: want at most twice as much", attacked, calm)
					break
				}
			}
			if n := l.await(t, test.logged); n != 1 {
				t.Errorf("logged %d times, want once:\n%s", n, l.String())
			}
		})
	}
}
