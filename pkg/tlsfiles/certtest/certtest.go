// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package certtest makes certificates for tests and demonstrations, that are valid for a day. Where it matters, make
// them by other means: the key of the authority is gone with the program.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

const valid = 24 * time.Hour

// Authority signs certificates. It is made by [New].
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority.
func New() *Authority {
	cert, key, err := new(Authority).sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-valid), NotAfter: time.Now().Add(valid),
	})
	if err != nil {
		panic(err) // depends on nothing but the code above
	}
	return &Authority{cert, key}
}

// sign makes a key and a certificate for it, which an authority without a key signs by itself.
func (a *Authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// Write makes a certificate for a name and more, which are DNS names or IP addresses. Both servers and clients may use
// it. It is written to dir/NAME.crt and its key to dir/NAME.key, beside the authority's certificate in dir/ca.crt. What
// is there is replaced, each file at once, as somebody may be reading it.
func (a *Authority) Write(dir, name string, more ...string) (tlsfiles.Files, error) {
	return a.write(dir, time.Now().Add(valid), name, more)
}

// Issue is [Authority.Write] for tests.
func (a *Authority) Issue(tb testing.TB, dir, name string, more ...string) tlsfiles.Files {
	tb.Helper()
	f, err := a.Write(dir, name, more...)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// Expired is like [Authority.Issue], and the certificate has expired.
func (a *Authority) Expired(tb testing.TB, dir, name string, more ...string) tlsfiles.Files {
	tb.Helper()
	f, err := a.write(dir, time.Now().Add(-time.Minute), name, more)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func (a *Authority) write(dir string, until time.Time, name string, more []string) (f tlsfiles.Files, err error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   until.Add(-valid - time.Hour), NotAfter: until,
	}
	for _, name := range append([]string{name}, more...) {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, key, err := a.sign(template)
	if err != nil {
		return f, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return f, err
	}
	base := filepath.Join(dir, name)
	f = tlsfiles.Files{CA: filepath.Join(dir, "ca.crt"), Cert: base + ".crt", Key: base + ".key"}
	for _, file := range []struct {
		path, kind string
		der        []byte
	}{{f.CA, "CERTIFICATE", a.cert.Raw}, {f.Key, "PRIVATE KEY", private}, {f.Cert, "CERTIFICATE", cert.Raw}} {
		next := file.path + ".new"
		if err := os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.der}), 0o600); err != nil {
			return f, err
		}
		if err := os.Rename(next, file.path); err != nil {
			return f, err
		}
	}
	return f, nil
}
