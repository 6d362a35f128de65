// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

// startDetectserver serves gRPC and HTTP until the test ends.
func startDetectserver(tb testing.TB, c detectserver.Config) (grpc, http string) {
	tb.Helper()
	prepared(tb)
	c.Defaults = map[string]any{"detector": "ewma"}
	s, err := detectserver.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0"); err != nil {
			tb.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.ServeBoth(ctx, listeners[0], listeners[1]) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return listeners[0].Addr().String(), listeners[1].Addr().String()
}

// values are readings of a quiet property, one to a line, that is far off at the end.
func values(n int) string {
	var b strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&b, "%g\n", 20+float64(i*7%5)/10)
	}
	b.WriteString("9000\n")
	return b.String()
}

// judged checks what a client printed: one verdict on each value, in order, and an alert on the last.
func judged(t *testing.T, in, out string) {
	t.Helper()
	values, lines := strings.Fields(in), strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(values) {
		t.Fatalf("%d verdicts on %d readings", len(lines), len(values))
	}
	for i, line := range lines {
		fields := strings.Split(line, "\t")
		want := fmt.Sprintf("2026-07-01T12:%02d:%02dZ", i/60, i%60)
		if len(fields) != 4 || fields[0] != values[i] || fields[2] != want || i+1 < len(lines) && fields[1] != "ok" {
			t.Fatalf("verdict %d is %q, want the one on %s at %s", i+1, line, values[i], want)
		}
		if i+1 == len(lines) && fields[1] != "critical" {
			t.Errorf("the last verdict is %q, want critical", line)
		}
	}
}

// A client that knows only the proposal's fields is served by this module's detector server, over both protocols.
func TestPlainClientDetectserver(t *testing.T) {
	grpc, http := startDetectserver(t, detectserver.Config{Insecure: true})
	in := values(500)
	for script, address := range map[string][]string{
		"client.py": {"--address", grpc}, "http_client.py": {"--device", "boiler-2", "--url", "http://" + http + batch.Path},
	} {
		cmd := python(t.Context(), t, script, address...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", script, explain(err))
		}
		judged(t, in, string(out))
	}
}

// With mutual TLS the detector server tells clients apart by their certificates, and says for what it refuses one.
func TestPlainClientDetectserverMutualTLS(t *testing.T) {
	dir, authority := t.TempDir(), certtest.New()
	server, client := authority.Issue(t, dir, "server", "127.0.0.1"), authority.Issue(t, dir, "client")
	show := []string{"--cert", client.Cert, "--key", client.Key}
	grpc, http := startDetectserver(t, detectserver.Config{
		TLS:     server,
		Clients: map[string]detectserver.Client{"plain": {Names: []string{"client"}, Namespaces: []string{"default"}}},
	})
	in := values(100)
	for script, address := range map[string][]string{
		"client.py": {"--address", grpc}, "http_client.py": {"--device", "boiler-2", "--url", "https://" + http + batch.Path},
	} {
		run := func(more ...string) (string, error) {
			args := append([]string{"--ca", client.CA, "--timeout", "20"}, address...)
			cmd := python(t.Context(), t, script, append(args, more...)...)
			cmd.Stdin = strings.NewReader(in)
			out, err := cmd.Output()
			if err != nil {
				err = explain(err)
			}
			return string(out), err
		}
		out, err := run(show...)
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		judged(t, in, out)
		const foreign = `may not send for namespace \"foreign\"`
		_, err = run(append(show, "--namespace", "foreign")...)
		if err == nil || !strings.Contains(err.Error(), foreign) && !strings.Contains(err.Error(), `may not send for namespace "foreign"`) {
			t.Errorf("%s: for a foreign namespace: %v", script, err)
		}
		if out, err := run(); err == nil || out != "" {
			t.Errorf("%s: without a certificate: %q, %v", script, out, err)
		}
	}
}
