// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// certificates writes NAME.crt and NAME.key for an authority and for the server and the client that it vouches for.
func certificates(tb testing.TB, dir string) {
	tb.Helper()
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	for i, name := range []string{"ca", "server", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if authority == nil {
			template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
			authority, authorityKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, authorityKey)
		if err != nil {
			tb.Fatal(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			tb.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{
			name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: pkcs8},
		} {
			if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// Over mutual TLS the plain client is served; without its certificate it is refused.
func TestPlainClientMutualTLS(t *testing.T) {
	dir := t.TempDir()
	certificates(t, dir)
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	address := startFullServer(t, &fullServer{fail: func(*pb.DevicePropertyData) error { return nil }},
		grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{own}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS13,
		})))

	trust := []string{"--address", address, "--ca", filepath.Join(dir, "ca.crt"), "--timeout", "20"}
	show := []string{"--cert", filepath.Join(dir, "client.crt"), "--key", filepath.Join(dir, "client.key")}
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
