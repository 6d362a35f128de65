// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Over mutual TLS the plain client is served; without its certificate it is refused.
func TestPlainClientMutualTLS(t *testing.T) {
	dir, authority := t.TempDir(), certtest.New()
	own, err := tlsfiles.New(authority.Issue(t, dir, "server", "127.0.0.1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := own.Server("h2")
	if err != nil {
		t.Fatal(err)
	}
	address := startFullServer(t, &fullServer{fail: func(*pb.DevicePropertyData) error { return nil }}, grpc.Creds(credentials.NewTLS(config)))

	client := authority.Issue(t, dir, "client")
	trust := []string{"--address", address, "--ca", client.CA, "--timeout", "20"}
	show := []string{"--cert", client.Cert, "--key", client.Key}
	cmd := python(t.Context(), t, "client.py", append(trust, show...)...)
	cmd.Stdin = strings.NewReader("21.5\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(explain(err))
	}
	if want := "21.5\tok\t2026-07-01T12:00:00Z\twithin limits\n"; string(out) != want {
		t.Errorf("client.py printed %q, want %q", out, want)
	}

	cmd = python(t.Context(), t, "client.py", trust...)
	cmd.Stdin = strings.NewReader("21.5\n")
	if out, err := cmd.Output(); err == nil || len(out) > 0 {
		t.Errorf("without a certificate: got %q and %v, want an error", out, err)
	}
}
