// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tlsfiles makes TLS configurations and bearer tokens from files that may change while the program runs.
//
// Files are looked at when they are needed, at most once a second. What cannot be read or does not parse is reported, at
// most once a minute, and the last good content stays in use.
package tlsfiles

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

const (
	lookEvery = time.Second
	tellEvery = time.Minute
)

// Files names the files of one side of a TLS connection.
type Files struct {
	CA         string `param:"ca" doc:"PEM file with the authorities that the peer's certificate must come from; empty means the system's, for clients only"`
	Cert       string `param:"cert" doc:"PEM file with the own certificate and its chain"`
	Key        string `param:"key" doc:"PEM file with the key of the own certificate"`
	ServerName string `param:"serverName" doc:"name that the server's certificate must carry; empty means the host of the address"`
}

// stamp tells versions of files apart without reading them.
type stamp struct {
	mod  time.Time
	size int64
}

// watch holds what was last read from some files. It is safe for concurrent use.
type watch[T any] struct {
	paths   []string
	load    func() (T, error)
	trouble func(error)
	now     func() time.Time

	mu     sync.Mutex
	looked time.Time
	told   time.Time // of trouble; zero after a change that was taken into use
	stamps []stamp
	value  T
}

func newWatch[T any](paths []string, load func() (T, error), trouble func(error)) (*watch[T], error) {
	w := &watch[T]{paths: paths, load: load, trouble: trouble, now: time.Now}
	w.looked = w.now()
	var err error
	if w.stamps, err = w.look(); err != nil {
		return nil, err
	}
	if w.value, err = load(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *watch[T]) look() ([]stamp, error) {
	stamps := make([]stamp, len(w.paths))
	for i, path := range w.paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, nil
}

// get returns the newest good value.
func (w *watch[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if since := now.Sub(w.looked); since >= 0 && since < lookEvery {
		return w.value
	}
	w.looked = now
	stamps, err := w.look()
	if err == nil {
		same := true
		for i := range stamps {
			same = same && stamps[i].size == w.stamps[i].size && stamps[i].mod.Equal(w.stamps[i].mod)
		}
		if same {
			return w.value
		}
		var value T
		if value, err = w.load(); err == nil {
			// The stamps were taken before the files were read: a change in between is seen at the next look.
			w.value, w.stamps, w.told = value, stamps, time.Time{}
			return w.value
		}
	}
	if w.trouble != nil && (w.told.IsZero() || now.Sub(w.told) >= tellEvery) {
		w.told = now
		w.trouble(fmt.Errorf("the old content stays in use: %w", err))
	}
	return w.value
}

type material struct {
	pool *x509.CertPool
	cert *tls.Certificate
}

// Loader makes TLS configurations from the newest good files.
type Loader struct {
	files Files
	watch *watch[material]
}

// New reads the files. trouble is told, at most once a minute, why changed files are not taken into use; nil is
// allowed.
func New(files Files, trouble func(error)) (*Loader, error) {
	if (files.Cert == "") != (files.Key == "") {
		return nil, &params.Error{Key: "tls.key", Want: "tls.cert and tls.key, both or none"}
	}
	l := &Loader{files: files}
	var paths []string
	for _, path := range []string{files.CA, files.Cert, files.Key} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	var err error
	l.watch, err = newWatch(paths, l.load, trouble)
	return l, err
}

func (l *Loader) load() (m material, err error) {
	if l.files.CA != "" {
		pem, err := regular.Read(l.files.CA, regular.MaxPEM)
		if err != nil {
			return m, fmt.Errorf("tls.ca: %w", err)
		}
		m.pool = x509.NewCertPool()
		if !m.pool.AppendCertsFromPEM(pem) {
			return m, fmt.Errorf("tls.ca: %s holds no PEM certificate", l.files.CA)
		}
	}
	if l.files.Cert != "" {
		certPEM, certErr := regular.Read(l.files.Cert, regular.MaxPEM)
		keyPEM, keyErr := regular.Read(l.files.Key, regular.MaxPEM)
		if err := errors.Join(certErr, keyErr); err != nil {
			return m, fmt.Errorf("tls.cert, tls.key: %w", err)
		}
		cert, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			return m, fmt.Errorf("tls.cert, tls.key: %w", err)
		}
		m.cert = &cert
	}
	return m, nil
}

// Client returns the configuration for one handshake as a client. Call it for each handshake, so that changed files
// are used.
func (l *Loader) Client() *tls.Config {
	m := l.watch.get()
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.pool, ServerName: l.files.ServerName}
	if m.cert != nil {
		config.Certificates = []tls.Certificate{*m.cert}
	}
	return config
}

// Server returns a configuration for a server; it follows the files by itself. nextProtos is for ALPN, such as "h2".
// Where a CA is configured, clients must show a certificate that comes from it.
func (l *Loader) Server(nextProtos ...string) (*tls.Config, error) {
	if l.files.Cert == "" {
		return nil, errors.New("tls.cert: a server needs a certificate")
	}
	current := func() *tls.Config {
		m := l.watch.get()
		config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*m.cert}, NextProtos: nextProtos}
		if m.pool != nil {
			config.ClientCAs, config.ClientAuth = m.pool, tls.RequireAndVerifyClientCert
			// Sessions resumed would escape a changed CA.
			config.SessionTicketsDisabled = true
		}
		return config
	}
	config := current()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return current(), nil }
	return config, nil
}

// Token is a bearer token in a file.
type Token struct{ watch *watch[string] }

// NewToken reads the token; white space around it is cut off. Without a path there is none, nil. trouble is as for [New].
func NewToken(path string, trouble func(error)) (*Token, error) {
	if path == "" {
		return nil, nil
	}
	load := func() (string, error) {
		text, err := regular.Read(path, regular.MaxSecret)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", fmt.Errorf("token: %s: want one line of printable ASCII", path)
		}
		return token, nil
	}
	w, err := newWatch([]string{path}, load, trouble)
	if err != nil {
		return nil, err
	}
	return &Token{w}, nil
}

// Get returns the newest good token.
func (t *Token) Get() string { return t.watch.get() }

// Authorizes reports whether a header Authorization carries a token. It compares digests, so that neither content nor
// length of the token shows in the time taken.
func Authorizes(header, token string) bool {
	scheme, given, _ := strings.Cut(header, " ")
	own, shown := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(own[:], shown[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// Names are the identities that a verified certificate carries: its DNS names and URIs or, where it has neither, its
// common name.
func Names(cert *x509.Certificate) []string {
	names := append([]string(nil), cert.DNSNames...)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	if len(names) == 0 && cert.Subject.CommonName != "" {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}
