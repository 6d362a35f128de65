// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/credentials"

	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

// authority issues certificates into a directory.
type authority struct {
	*certtest.Authority
	t   *testing.T
	dir string
}

func newAuthority(t *testing.T, dir string) *authority {
	return &authority{certtest.New(), t, dir}
}

// write replaces a file as a whole.
func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// issue writes a certificate and returns its files.
func (a *authority) issue(name string) tlsfiles.Files {
	a.t.Helper()
	return a.Issue(a.t, a.dir, name)
}

// credentials are those of a client that trusts the authority; without a name it shows no certificate.
func (a *authority) credentials(name string) credentials.TransportCredentials {
	a.t.Helper()
	if name != "" {
		a.issue(name)
	}
	return credentials.NewTLS(a.config(name))
}

func (a *authority) config(name string) *tls.Config {
	a.t.Helper()
	f := tlsfiles.Files{CA: filepath.Join(a.dir, "ca.crt"), ServerName: "localhost"}
	if name != "" {
		f.Cert, f.Key = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	}
	l, err := tlsfiles.New(f, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return l.Client()
}
