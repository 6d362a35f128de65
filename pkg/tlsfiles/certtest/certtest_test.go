// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package certtest

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	ca := New()
	good := ca.Issue(t, dir, "server", "detector.edge", "127.0.0.1")
	foreign := New().Issue(t, t.TempDir(), "detector.edge")
	for _, test := range []struct {
		files tlsfiles.Files
		name  string
		ok    bool
	}{
		{good, "server", true},
		{good, "detector.edge", true},
		{good, "127.0.0.1", true},
		{good, "other", false},
		{ca.Expired(t, dir, "expired"), "expired", false},
		{foreign, "detector.edge", false},
	} {
		pair, err := tls.LoadX509KeyPair(test.files.Cert, test.files.Key)
		if err != nil {
			t.Fatal(err)
		}
		roots, err := tlsfiles.New(tlsfiles.Files{CA: good.CA}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: test.name, Roots: roots.Client().RootCAs, KeyUsages: []x509.ExtKeyUsage{usage}})
			if (err == nil) != test.ok {
				t.Errorf("%s as %s: %v", test.files.Cert, test.name, err)
			}
		}
	}
	if _, err := ca.Write(filepath.Join(dir, "none"), "x"); err == nil {
		t.Error("written to a directory that is not there")
	}
}
