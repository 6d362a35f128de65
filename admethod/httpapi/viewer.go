// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// ViewerConfig is a token that sees, and changes nothing.
type ViewerConfig struct {
	TokenFile  string   `param:"tokenFile" doc:"file with a token that sees and changes nothing, at least 16 characters"`
	Namespaces []string `param:"namespaces" doc:"what that token sees, names or globs; all where unset"`
}

// ProxyConfig is a proxy that has found out who asks, such as one for OpenID Connect, and says so in a header. It is to
// take that header out of what it is sent.
type ProxyConfig struct {
	Header     string   `param:"header" doc:"header in which a proxy says who asks, such as X-Forwarded-Email; unset believes none"`
	From       []string `param:"from" doc:"addresses or networks of the proxies whose header is believed, such as 10.1.2.3 or 10.0.0.0/8"`
	Operators  []string `param:"operators" doc:"who may give feedback and mute, names as the header has them, or globs; the others look"`
	Namespaces []string `param:"namespaces" doc:"what those who are no operators see, names or globs; all where unset"`
}

// viewer is who asks.
type viewer struct {
	name       string   // as the proxy says it; "" where nobody does
	role       string   // operator, viewer, or anonymous, which is whoever is on this machine where no token is set
	namespaces []string // globs; empty is all
}

const (
	roleOperator  = "operator"
	roleViewer    = "viewer"
	roleAnonymous = "anonymous"
)

type viewerKey struct{}

// Sees reports whether who asks may see what is of a namespace, for handlers of [Routes.HandleSeen].
func Sees(r *http.Request, namespace string) bool { return viewerOf(r).sees(namespace) }

// viewerOf is who asks. Without checks, as in a test of one handler, it is an operator.
func viewerOf(r *http.Request) *viewer {
	if v, ok := r.Context().Value(viewerKey{}).(*viewer); ok {
		return v
	}
	return &viewer{role: roleOperator}
}

// sees reports whether the viewer may see what is of a namespace.
func (v *viewer) sees(namespace string) bool { return seen(v.namespaces, namespace) }

func seen(globs []string, namespace string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(glob string) bool { return fits(glob, namespace) })
}

// changes reports whether the viewer may say what detectors learn and what alerts.
func (v *viewer) changes() bool { return v.role == roleOperator }

// trust is by what requests are believed.
type trust struct {
	token, viewer *tlsfiles.Token // nil where none is set
	proxies       []netip.Prefix
}

// setTrust reads whom to believe.
func (s *Server) setTrust() (err error) {
	c := &s.config
	if s.trust.token, err = s.readToken("tokenFile", c.TokenFile); err != nil {
		return err
	}
	if s.trust.viewer, err = s.readToken("viewer.tokenFile", c.Viewer.TokenFile); err != nil {
		return err
	}
	for key, globs := range map[string][]string{
		"viewer.namespaces": c.Viewer.Namespaces, "proxy.namespaces": c.Proxy.Namespaces, "proxy.operators": c.Proxy.Operators,
	} {
		for _, g := range globs {
			if _, err := path.Match(g, ""); err != nil || g == "" {
				return &params.Error{Key: key, Value: g, Want: "a name, or a glob such as plant-*"}
			}
		}
	}
	for _, text := range c.Proxy.From {
		prefix, err := netip.ParsePrefix(text)
		if ip, ipErr := netip.ParseAddr(text); ipErr == nil {
			prefix, err = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), nil
		}
		if err != nil {
			return &params.Error{Key: "proxy.from", Value: text, Want: "an address or a network, such as 10.1.2.3 or 10.0.0.0/8"}
		}
		s.trust.proxies = append(s.trust.proxies, prefix.Masked())
	}
	if (c.Proxy.Header == "") != (len(s.trust.proxies) == 0) {
		return errors.New("proxy: want header and from, or neither")
	}
	return nil
}

// readToken reads the file of a token; nil where none is set.
func (s *Server) readToken(key, file string) (*tlsfiles.Token, error) {
	if file == "" {
		return nil, nil
	}
	t, err := tlsfiles.NewToken(file, s.trouble(key))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if n := len(t.Get()); n < shortestToken {
		return nil, fmt.Errorf("%s: %s holds %d characters, want at least %d", key, file, n, shortestToken)
	}
	return t, nil
}

// any reports whether whoever asks has to say who it is.
func (t *trust) any() bool { return t.token != nil || t.viewer != nil || len(t.proxies) > 0 }

// identify finds out who asks; nil is nobody who may.
func (s *Server) identify(r *http.Request) *viewer {
	t, c := &s.trust, &s.config
	if !t.any() {
		return &viewer{role: roleAnonymous}
	}
	if name := s.proxied(r); name != "" {
		if slices.ContainsFunc(c.Proxy.Operators, func(glob string) bool { return fits(glob, name) }) {
			return &viewer{name: name, role: roleOperator}
		}
		return &viewer{name: name, role: roleViewer, namespaces: c.Proxy.Namespaces}
	}
	switch {
	case s.shows(r, t.token, "tokenFile", c.TokenFile):
		return &viewer{role: roleOperator}
	case s.shows(r, t.viewer, "viewer.tokenFile", c.Viewer.TokenFile):
		return &viewer{role: roleViewer, namespaces: c.Viewer.Namespaces}
	}
	return nil
}

// proxied is who asks, as a proxy that is believed says it; "" where none does. Who says it twice is not believed: one of
// the two may be from outside.
func (s *Server) proxied(r *http.Request) string {
	said := r.Header.Values(s.config.Proxy.Header)
	if s.config.Proxy.Header == "" || len(said) != 1 || len(said[0]) > mostBy {
		return ""
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !slices.ContainsFunc(s.trust.proxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap().WithZone("")) }) {
		return ""
	}
	return said[0]
}

// shows reports whether a request shows a token.
func (s *Server) shows(r *http.Request, t *tlsfiles.Token, key, file string) bool {
	if t == nil {
		return false
	}
	token := t.Get()
	if len(token) < shortestToken {
		s.trouble(key)(fmt.Errorf("%s holds %d characters now, want at least %d: nobody is let in by it", file, len(token), shortestToken))
		return false
	}
	return tlsfiles.Authorizes(r.Header.Get("Authorization"), token)
}

// mayChange answers those who may not change what detectors learn and what alerts. It wants the token also on loopback.
func (s *Server) mayChange(w http.ResponseWriter, r *http.Request, what string) bool {
	switch v := viewerOf(r); {
	case v.changes():
		return true
	case v.role == roleAnonymous:
		http.Error(w, what+" is taken with a token only: set tokenFile of the sink api", http.StatusForbidden)
	default:
		http.Error(w, what+" is for operators: this token, or this user, only looks", http.StatusForbidden)
	}
	return false
}

// withViewer remembers who asks.
func withViewer(r *http.Request, v *viewer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), viewerKey{}, v))
}
