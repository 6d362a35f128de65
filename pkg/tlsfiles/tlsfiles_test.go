// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package tlsfiles_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

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
				peer = tlsfiles.Names(certs[0])
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

func mustServer(t *testing.T, f tlsfiles.Files) (*tlsfiles.Loader, *tls.Config) {
	t.Helper()
	l, err := tlsfiles.New(f, nil)
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
	us, them := certtest.New(), certtest.New()
	_, server := mustServer(t, us.Issue(t, t.TempDir(), "detector"))
	good := us.Issue(t, t.TempDir(), "mapper")
	for _, c := range []struct {
		name       string
		files      tlsfiles.Files
		serverName string
		ok         bool
	}{
		{"good", good, "detector", true},
		{"other name", good, "mapper", false},
		{"expired", us.Expired(t, t.TempDir(), "mapper"), "detector", false},
		{"unknown authority", them.Issue(t, t.TempDir(), "mapper"), "detector", false},
		{"no certificate", tlsfiles.Files{CA: good.CA}, "detector", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.files.ServerName = c.serverName
			client, err := tlsfiles.New(c.files, nil)
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
	before, after := certtest.New(), certtest.New()
	dir := t.TempDir()
	f := before.Issue(t, dir, "detector")
	var troubles []error
	l, err := tlsfiles.New(f, func(err error) { troubles = append(troubles, err) })
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l.SetClock(func() time.Time { now = now.Add(2 * tlsfiles.LookEvery); return now })
	server, err := l.Server()
	if err != nil {
		t.Fatal(err)
	}
	connects := func(a *certtest.Authority) bool {
		files := a.Issue(t, t.TempDir(), "detector")
		files.ServerName = "detector"
		client, err := tlsfiles.New(files, nil)
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
	now = now.Add(tlsfiles.TellEvery)
	if l.Client(); len(troubles) != 2 {
		t.Fatalf("a file that is broken for longer is reported %d times, want again", len(troubles))
	}
	after.Issue(t, dir, "detector")
	if connects(before) || !connects(after) {
		t.Fatal("the new files are not in use")
	}
}

func TestToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if _, err := tlsfiles.NewToken(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing file gives %v", err)
	}
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(" one\n")
	token, err := tlsfiles.NewToken(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token.SetClock(func() time.Time { now = now.Add(2 * tlsfiles.LookEvery); return now })
	for _, c := range []struct{ text, want string }{{"one", "one"}, {"second\n", "second"}, {"", "second"}, {"two\nlines", "second"}, {"third", "third"}} {
		put(c.text)
		if got := token.Get(); got != c.want {
			t.Errorf("file %q gives %q, want %q", c.text, got, c.want)
		}
	}
}

func TestAuthorizes(t *testing.T) {
	for header, want := range map[string]bool{
		"Bearer secret": true, "bearer secret": true,
		"": false, "Bearer": false, "Bearer ": false, "secret": false, "Basic secret": false,
		"Bearer secre": false, "Bearer secrets": false, "Bearer  secret": false, "Bearer secret ": false,
	} {
		if got := tlsfiles.Authorizes(header, "secret"); got != want {
			t.Errorf("%q authorizes: %v, want %v", header, got, want)
		}
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	for _, f := range []tlsfiles.Files{{Cert: "a"}, {Key: "a"}, {CA: filepath.Join(t.TempDir(), "absent")}} {
		if _, err := tlsfiles.New(f, nil); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
	l, err := tlsfiles.New(tlsfiles.Files{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Server(); err == nil {
		t.Error("a server without a certificate is accepted")
	}
}
