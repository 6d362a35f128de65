// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes the authority, a certificate for name and its key into dir.
func (a authority) issue(t *testing.T, dir, name string, until time.Time) Files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ServerName: name}
	write(t, f.CA, "CERTIFICATE", a.cert.Raw)
	write(t, f.Cert, "CERTIFICATE", der)
	write(t, f.Key, "PRIVATE KEY", keyDER)
	return f
}

// handshake connects a client to a server and returns what each of them says.
func handshake(t *testing.T, client, server *tls.Config) (peer []string, clientErr, serverErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	a, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	_, _ = a.SetDeadline(deadline), b.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		s := tls.Server(b, server)
		if serverErr = s.Handshake(); serverErr == nil {
			if certs := s.ConnectionState().PeerCertificates; len(certs) > 0 {
				peer = Names(certs[0])
			}
			_, serverErr = s.Write([]byte{1})
		}
	}()
	c := tls.Client(a, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	a.Close()
	<-done
	return peer, clientErr, serverErr
}

func mustServer(t *testing.T, f Files) (*Loader, *tls.Config) {
	t.Helper()
	l, err := New(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := l.Server("h2")
	if err != nil {
		t.Fatal(err)
	}
	return l, config
}

func TestHandshakes(t *testing.T) {
	later := time.Now().Add(time.Hour)
	us, them := newAuthority(t), newAuthority(t)
	_, server := mustServer(t, us.issue(t, t.TempDir(), "detector", later))
	for _, c := range []struct {
		name  string
		files func() Files
		ok    bool
	}{
		{"good", func() Files { f := us.issue(t, t.TempDir(), "mapper", later); f.ServerName = "detector"; return f }, true},
		{"other name", func() Files { return us.issue(t, t.TempDir(), "mapper", later) }, false},
		{"expired", func() Files {
			f := us.issue(t, t.TempDir(), "mapper", time.Now().Add(-time.Hour))
			f.ServerName = "detector"
			return f
		}, false},
		{"unknown authority", func() Files { f := them.issue(t, t.TempDir(), "mapper", later); f.ServerName = "detector"; return f }, false},
		{"no certificate", func() Files {
			f := us.issue(t, t.TempDir(), "mapper", later)
			return Files{CA: f.CA, ServerName: "detector"}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := New(c.files(), nil)
			if err != nil {
				t.Fatal(err)
			}
			peer, clientErr, serverErr := handshake(t, client.Client(), server)
			if ok := clientErr == nil && serverErr == nil; ok != c.ok {
				t.Fatalf("client says %v, server says %v; want success: %v", clientErr, serverErr, c.ok)
			}
			if c.ok && !cmp.Equal(peer, []string{"mapper"}) {
				t.Errorf("the client is %q", peer)
			}
		})
	}
}

func TestRotation(t *testing.T) {
	later := time.Now().Add(time.Hour)
	before, after := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	f := before.issue(t, dir, "detector", later)
	var troubles []error
	l, err := New(f, func(err error) { troubles = append(troubles, err) })
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l.watch.now = func() time.Time { now = now.Add(2 * lookEvery); return now }
	server, err := l.Server()
	if err != nil {
		t.Fatal(err)
	}
	connects := func(a authority) bool {
		client, err := New(a.issue(t, t.TempDir(), "detector", later), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, clientErr, serverErr := handshake(t, client.Client(), server)
		return clientErr == nil && serverErr == nil
	}
	if !connects(before) || connects(after) {
		t.Fatal("the first files are not in use")
	}
	if err := os.WriteFile(f.Cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !connects(before) {
		t.Fatal("a broken file is taken into use")
	}
	for range 5 {
		l.Client()
	}
	if len(troubles) != 1 {
		t.Fatalf("a broken file is reported %d times in a minute, want 1", len(troubles))
	}
	now = now.Add(tellEvery)
	if l.Client(); len(troubles) != 2 {
		t.Fatalf("a file that is broken for longer is reported %d times, want again", len(troubles))
	}
	after.issue(t, dir, "detector", later)
	if connects(before) || !connects(after) {
		t.Fatal("the new files are not in use")
	}
}

func TestToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if _, err := NewToken(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing file gives %v", err)
	}
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(" one\n")
	token, err := NewToken(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token.watch.now = func() time.Time { now = now.Add(2 * lookEvery); return now }
	for _, c := range []struct{ text, want string }{{"one", "one"}, {"second\n", "second"}, {"", "second"}, {"two\nlines", "second"}, {"third", "third"}} {
		put(c.text)
		if got := token.Get(); got != c.want {
			t.Errorf("file %q gives %q, want %q", c.text, got, c.want)
		}
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	for _, f := range []Files{{Cert: "a"}, {Key: "a"}, {CA: filepath.Join(t.TempDir(), "absent")}} {
		if _, err := New(f, nil); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
	l, err := New(Files{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Server(); err == nil {
		t.Error("a server without a certificate is accepted")
	}
}
