// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// attack is what some workers do again and again.
type attack struct {
	name, logged string
	workers      int
	once         func(ctx context.Context)
}

// latency asks for a while and returns the 99th percentile of the time that it takes.
func latency(while time.Duration, ask func(i int)) time.Duration {
	var took []time.Duration
	for i, began := 0, time.Now(); time.Since(began) < while; i++ {
		asked := time.Now()
		ask(i)
		took = append(took, time.Since(asked))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// disturbNobody fails if an attack makes who asks wait more than twice as long, or if it is not logged once.
func disturbNobody(t *testing.T, attacks []attack, ask func(t *testing.T, i int)) {
	t.Helper()
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			l := captureLogs(t)
			const tries = 10
			for try := 1; ; try++ {
				calm := latency(300*time.Millisecond, func(i int) { ask(t, i) })
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range attack.workers {
					wg.Go(func() {
						for ctx.Err() == nil {
							attack.once(ctx)
							select { // as fast as a link is, not as fast as a loop
							case <-ctx.Done():
							case <-time.After(20 * time.Millisecond):
							}
						}
					})
				}
				attacked := latency(900*time.Millisecond, func(i int) { ask(t, i) }) // longer than a handshake may take
				harmless := attacked <= 2*calm || raceDetector
				for late := time.Now().Add(10 * time.Second); harmless && len(l.lines(attack.logged)) == 0 && time.Now().Before(late); {
					<-time.After(20 * time.Millisecond) // on a busy machine an attack takes its time until it is one
				}
				cancel()
				wg.Wait()
				t.Logf("p99 %v, attacked %v", calm, attacked)
				if harmless { // which makes everything slow, the attackers' own work most of all
					break
				}
				if try == tries {
					t.Errorf("p99 is %v under attack, %v without: want at most twice as much", attacked, calm)
					break
				}
			}
			if n := l.await(t, attack.logged); n != 1 {
				t.Errorf("logged %d times, want once:\n%s", n, l.String())
			}
		})
	}
}

// Attacks do not disturb those who are let in.
func TestAttacksDisturbNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("measures latencies")
	}
	address, authority := secured(t, func(c *Config) {
		c.Handshake = 600 * time.Millisecond
		c.Clients["rogue"] = Client{Names: []string{"rogue"}, Namespaces: []string{"rogue"}, Limits: Limits{Rate: 2000, Burst: 100, Patience: 200 * time.Millisecond}}
	})
	good := dial(t, address, authority.credentials("mapper"))
	rogue := authority.credentials("rogue")
	trickle := func(ctx context.Context, conn net.Conn, data []byte) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for _, b := range data {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
	open := func(ctx context.Context) net.Conn {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil
		}
		return conn
	}
	next := 0
	greeting := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	flood := func(ctx context.Context, m *pb.DevicePropertyData) {
		for ctx.Err() == nil {
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(rogue))
			if err != nil {
				return
			}
			stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
			if err == nil {
				var wg sync.WaitGroup
				wg.Go(func() {
					for stream.SendMsg(m) == nil { //nolint:revive // until it is refused
					}
				})
				for err == nil {
					_, err = stream.Recv()
				}
				conn.Close()
				wg.Wait()
			}
			conn.Close()
			if wait := intake.RetryAfter(err); wait > 0 { // a client that does as it is told
				select {
				case <-ctx.Done():
				case <-time.After(wait):
				}
			}
		}
	}
	own := reading(0, "20")
	own.Namespace = "rogue"
	huge := reading(0, strings.Repeat("x", maxMessage))
	huge.Namespace = "rogue"
	disturbNobody(t, []attack{
		{"slow handshake", "not set up within", 20, func(ctx context.Context) {
			if conn := open(ctx); conn != nil {
				trickle(ctx, conn, append([]byte{0x16, 3, 1, 2, 0}, make([]byte, 512)...))
				conn.Close()
			}
		}},
		{"slow greeting", "no greeting", 6, func(ctx context.Context) {
			if raw := open(ctx); raw != nil {
				c := authority.config("")
				c.NextProtos = []string{"h2"}
				conn := tls.Client(raw, c)
				if conn.HandshakeContext(ctx) == nil {
					trickle(ctx, conn, greeting[:len(greeting)-1])
				}
				// It says nothing more, and waits for the server to hang up.
				stop := context.AfterFunc(ctx, func() { raw.Close() })
				_, _ = io.Copy(io.Discard, raw)
				stop()
				raw.Close()
			}
		}},
		{"plaintext", "does not speak TLS", 2, func(ctx context.Context) {
			if conn := open(ctx); conn != nil {
				_, _ = conn.Write(greeting)
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}
		}},
		{"flood", "readings a second", 3, func(ctx context.Context) { flood(ctx, own) }},
		{"oversized", "larger than max", 1, func(ctx context.Context) { flood(ctx, huge) }},
		{"foreign namespace", "may not send for namespace", 1, func(ctx context.Context) { flood(ctx, reading(0, "20")) }},
	}, func(t *testing.T, _ int) {
		m := reading(next, "20")
		next++ // or they are out of order
		got, err := ask(t, good, m)
		if err != nil || got.Severity != pb.Severity_SEVERITY_NORMAL || got.Timestamp != m.Timestamp {
			t.Fatal(got, err)
		}
	})
}

// Whoever holds sockets open without a word keeps nobody out, not even those behind the same address: the sockets that
// have waited longest make room.
func TestPendingConnectionsAreBounded(t *testing.T) {
	address, authority := secured(t, func(c *Config) { c.Handshake = time.Minute })
	var idle []net.Conn
	for range 40 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
	good := dial(t, address, authority.credentials("mapper"))
	if got, err := ask(t, good, reading(0, "20")); err != nil || got.Severity != pb.Severity_SEVERITY_NORMAL {
		t.Errorf("a client of the same address: %v, %v", got, err)
	}
	closed := 0
	for _, conn := range idle[:40-8] {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	if closed != 40-8 {
		t.Errorf("%d of the 32 connections that waited longest are closed", closed)
	}
}
