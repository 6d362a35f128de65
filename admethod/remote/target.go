// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// book is what the mapper's operator says of an adapter.
//
// A target is a detector with all that belongs to it: its address, and what is shown to it. A Device names one, and
// nothing that was given for one target is ever shown to another.
type book struct {
	usual    map[string]any // of every target
	fallback map[string]any // parameters of the usual fallback
	targets  map[string]named
	allow    map[string][]string // addresses that Devices may name, by namespace; both are patterns
}

// named is a target under its name.
type named struct {
	settings, fallback map[string]any
	namespaces         []string // whose Devices may use it, patterns; nil means all
}

// plaintext before the pattern of an address allows it without TLS.
const plaintext = "plaintext:"

// mostAllowed bounds the connections to addresses that the Devices of one namespace name.
const mostAllowed = 8

// readBook reads the mapper's options of an adapter.
func readBook(options map[string]any) (book, error) {
	b := book{usual: make(map[string]any), targets: make(map[string]named), allow: make(map[string][]string)}
	var errs []error
	for key, value := range options {
		first, rest, _ := strings.Cut(key, ".")
		switch first {
		default:
			b.usual[key] = value
		case "allow":
			if _, err := path.Match(rest, ""); err != nil || rest == "" {
				errs = append(errs, &params.Error{Key: key, Want: "allow.NAMESPACE: a namespace or a pattern such as team-*"})
			}
			for _, pattern := range params.List(value) {
				if _, err := path.Match(pattern, ""); err != nil {
					errs = append(errs, &params.Error{Key: key, Value: pattern, Want: "a host or host:port such as *.svc:443"})
				}
				b.allow[rest] = append(b.allow[rest], pattern)
			}
		case "targets":
			name, setting, ok := strings.Cut(rest, ".")
			if !ok || name == "" {
				errs = append(errs, &params.Error{Key: key, Want: "want targets.NAME.KEY"})
				continue
			}
			t, known := b.targets[name]
			if !known {
				t = named{settings: make(map[string]any)}
			}
			if setting == "namespaces" {
				t.namespaces = params.List(value)
				for _, pattern := range t.namespaces {
					if _, err := path.Match(pattern, ""); err != nil {
						errs = append(errs, &params.Error{Key: key, Value: pattern, Want: "a namespace or a pattern such as team-*"})
					}
				}
			} else {
				t.settings[setting] = value
			}
			b.targets[name] = t
		}
	}
	for name, t := range b.targets {
		t.settings, t.fallback = splitFallback(t.settings)
		b.targets[name] = t
	}
	b.usual, b.fallback = splitFallback(b.usual)
	return b, errors.Join(errs...)
}

// names lists the targets that Devices of the namespace may use.
func (b *book) names(namespace string) []string {
	var names []string
	for name, t := range b.targets {
		if t.open(namespace) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (t *named) open(namespace string) bool {
	return t.namespaces == nil || slices.ContainsFunc(t.namespaces, func(pattern string) bool { return matches(pattern, namespace) })
}

func matches(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

// resolved is what a stream's settings come to.
type resolved struct {
	settings map[string]any // of the adapter; without target
	fallback map[string]any // parameters of the fallback that settings name
	allowed  bool           // the address is the Device's
}

// resolve finds the settings for a stream of the namespace. bound tells which keys belong to one peer.
func (b *book) resolve(kind string, namespace string, c *admethod.ADMethodConfig, bound func(key string) bool, urls bool) (r resolved, err error) {
	own, parameters := splitFallback(c.Options[kind])
	own = maps.Clone(own)
	name := fmt.Sprint(own["target"])
	if own["target"] == nil {
		name = ""
	}
	delete(own, "target")
	unbound := func(m map[string]any, but ...string) {
		maps.DeleteFunc(m, func(key string, _ any) bool { return bound(key) && !slices.Contains(but, key) })
	}
	r.settings = maps.Clone(b.usual)
	fallback := b.fallback
	usual := b.usual["fallback"]
	switch address := own["address"]; {
	case c.FromDevice(kind+".address") && c.FromDevice(kind+".target"):
		return r, &params.Error{Key: "target", Value: name, Want: "either target or address, not both"}
	case c.FromDevice(kind + ".address"):
		plain, err := b.allows(kind, namespace, fmt.Sprint(address), urls)
		if err != nil {
			return r, err
		}
		// The authority that a certificate must come from is nothing to hide; all else was given for another peer.
		unbound(r.settings, "tls.ca")
		unbound(own, "tls.ca", "address")
		if plain {
			unbound(r.settings)
			unbound(own, "address")
			own["insecure"] = true
		}
		r.allowed = true
	case name != "":
		t, ok := b.targets[name]
		if !ok || !t.open(namespace) {
			want := "a target that the mapper's configuration has (adapterOptions." + kind + ".targets)"
			if names := b.names(namespace); len(names) > 0 {
				want += ": " + strings.Join(names, ", ")
			}
			return r, &params.Error{Key: "target", Value: name, Want: want}
		}
		if address != nil && !c.FromDevice(kind+".target") {
			return r, &params.Error{Key: "target", Value: name, Want: "either target or address, not both"}
		}
		unbound(r.settings)
		unbound(own)
		maps.Copy(r.settings, t.settings)
		if t.settings["fallback"] != nil || len(t.fallback) > 0 {
			fallback, usual = t.fallback, t.settings["fallback"]
		}
	default:
		if names := b.names(namespace); address == nil && b.usual["address"] == nil && len(names) > 0 {
			return r, &params.Error{Key: "target", Want: "must be set: " + strings.Join(names, ", ")}
		}
	}
	maps.Copy(r.settings, own)
	r.fallback = make(map[string]any)
	if usual != nil && fmt.Sprint(r.settings["fallback"]) == fmt.Sprint(usual) {
		maps.Copy(r.fallback, fallback)
	}
	maps.Copy(r.fallback, parameters)
	return r, nil
}

// allows looks whether the operator allows the addresses, separated by commas, to Devices of the namespace, and whether
// in plaintext.
func (b *book) allows(kind, namespace, addresses string, urls bool) (plain bool, err error) {
	refused := admethod.NotDevice("address", fmt.Sprintf(
		"write %s.target: NAME, a target that the mapper's configuration has as adapterOptions.%[1]s.targets.NAME; or the operator allows the address to the namespace, as adapterOptions.%[1]s.allow.%s", kind, namespace))
	for i, address := range strings.Split(addresses, ",") {
		host, port, ok := hostOf(strings.TrimSpace(address), urls)
		if !ok {
			return false, refused
		}
		inPlain, found := false, false
		for namespaces, patterns := range b.allow {
			if !matches(namespaces, namespace) {
				continue
			}
			for _, pattern := range patterns {
				pattern, p := strings.CutPrefix(pattern, plaintext)
				if matchesHost(pattern, host, port) {
					found, inPlain = true, inPlain || p
				}
			}
		}
		if !found || i > 0 && inPlain != plain {
			return false, refused
		}
		plain = inPlain
	}
	return plain, nil
}

// hostOf takes the host and the port out of an address that a Device names: host:port or, with urls, a URL. Sockets and
// the like are no hosts.
func hostOf(address string, urls bool) (host, port string, ok bool) {
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' || r == '\\' || r == '@' }) {
		return "", "", false
	}
	if urls && strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			return "", "", false
		}
		return strings.ToLower(u.Hostname()), u.Port(), u.Hostname() != ""
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if host, _, err = net.SplitHostPort(address + ":0"); err != nil {
			return "", "", false
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); port != "" && err != nil || strings.HasPrefix(host, "unix") || strings.ContainsAny(host, "/?#") {
		return "", "", false
	}
	return strings.ToLower(host), port, host != ""
}

// matchesHost compares with a pattern such as "*.svc", "10.0.0.7:6804" or "[fd00::7]:443".
func matchesHost(pattern, host, port string) bool {
	want, wantPort, err := net.SplitHostPort(pattern)
	if err != nil {
		want, wantPort = strings.Trim(pattern, "[]"), ""
	}
	return matches(strings.ToLower(want), host) && (wantPort == "" || wantPort == "*" || wantPort == port)
}
