// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/viper"

	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// settings are the keys of the file with one value each. The environment overrides them, see [variable].
type settings struct {
	Listen string `param:"listen" doc:"host:port of the gRPC endpoint; empty: none. With sources or a bus, and no other endpoint, it is empty where it is not given"`
	HTTP   struct {
		Listen string `param:"listen" doc:"host:port of the HTTP endpoint; empty: none"`
	} `param:"http"`
	TLS struct {
		CA   string `param:"ca" doc:"PEM file with the authorities that certificates of clients must come from"`
		Cert string `param:"cert" doc:"PEM file with the server's certificate and its chain"`
		Key  string `param:"key" doc:"PEM file with the key of the server's certificate"`
	} `param:"tls"`
	Insecure  bool     `param:"insecure" doc:"plaintext, in which anybody may send for every namespace"`
	Anonymous []string `param:"anonymous" max:"65536" doc:"namespaces that anybody may send for who is none of the clients"`
	Limits    struct {
		Streams   int           `param:"streams" min:"1" max:"100000" doc:"of all clients, at one time"`
		Series    int           `param:"series" min:"1" max:"1000000" doc:"properties that are judged at one time"`
		Pending   int           `param:"pending" min:"1" max:"10000" doc:"connections from one address that are being set up"`
		Handshake time.Duration `param:"handshake" min:"100ms" max:"10m" doc:"that a connection takes to be set up"`
		Deadline  time.Duration `param:"deadline" min:"100ms" max:"1h" doc:"after which a reading is answered without a verdict"`
		Idle      time.Duration `param:"idle" min:"1s" max:"8760h" doc:"without readings, after which a property is no longer judged"`
		Handover  time.Duration `param:"handover" min:"1s" max:"8760h" doc:"without readings, after which another client may send for a property"`
		Snapshot  time.Duration `param:"snapshot" min:"1s" max:"24h" doc:"between two times that what was learned is written to the state directory"`
	} `param:"limits"`
	ClientLimits clientLimits `param:"clientLimits"`
	Bus          busSettings  `param:"bus"`
}

// clientLimits are for each client that has none of its own.
type clientLimits struct {
	Streams  int           `param:"streams" min:"1" max:"100000" doc:"at one time"`
	Series   int           `param:"series" min:"1" max:"1000000" doc:"properties that are judged at one time"`
	Rate     float64       `param:"rate" min:"0.001" max:"1e9" doc:"readings a second, over all streams"`
	Burst    int           `param:"burst" min:"0" max:"1000000000" doc:"readings beyond the rate at one time; 0: those of a second"`
	Memory   int           `param:"memory" min:"-1" max:"1048576" doc:"MiB that its detectors may take, by what they declare; -1 is no bound"`
	Patience time.Duration `param:"patience" min:"1s" max:"1h" doc:"for which a client that is too fast is slowed down before it is refused"`
}

func defaults() (s settings) {
	s.Listen = "0.0.0.0:6804"
	l := &s.Limits
	l.Streams, l.Series, l.Pending = 1024, 10_000, 32
	l.Handshake, l.Deadline, l.Idle, l.Handover, l.Snapshot = 10*time.Second, 5*time.Second, time.Hour, time.Minute, 5*time.Minute
	s.Bus = busDefaults()
	s.ClientLimits = clientLimits{Streams: 16, Series: 4000, Rate: 200_000, Memory: 512, Patience: 30 * time.Second}
	return s
}

// client may send for some namespaces.
type client struct {
	Name         string       `param:"name"`
	Certificates []string     `param:"certificates" max:"65536"` // names in them, one of which it must show; its own name if it needs no token
	Token        string       `param:"token"`                    // file with a token that it must show
	Namespaces   []string     `param:"namespaces" max:"65536"`   // "*" is every one
	Limits       clientLimits `param:"limits"`
}

// callback is where a client may have verdicts posted to. Its fields are those of [detectserver.Callback].
type callback struct {
	Client   string         `param:"client"`
	URL      string         `param:"url"`
	Token    string         `param:"token"`
	TLS      tlsfiles.Files `param:"tls"`
	Insecure bool           `param:"insecure"`
}

// configuration is the file.
type configuration struct {
	settings
	Clients   []client
	Callbacks []callback
	Sources   []origin
	Detection config.AnomalyDetection // without routes
	Routes    []detectserver.Route

	idle error // what of it never counts
}

// load reads the file, and lays the environment and the flags over it. The error joins everything that is wrong, each
// part with its key.
func load(file string, flags map[string]any) (*configuration, error) {
	raw, err := regular.Read(file, regular.MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := parse(raw, flags)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", file, located(raw, err))
	}
	if idle := c.uncounted(); idle != nil {
		c.idle = fmt.Errorf("configuration %s: %w", file, located(raw, idle))
	}
	return c, nil
}

func parse(raw []byte, flags map[string]any) (*configuration, error) {
	tree, err := config.ParseTree(raw)
	if err != nil {
		return nil, err
	}
	c := &configuration{settings: defaults()}
	flat := make(map[string]any)
	errs := []error{c.parseDetection(tree["anomalyDetection"])}
	clients, callbacks, sources := tree["clients"], tree["callbacks"], tree["sources"]
	sections := []string{"anomalyDetection", "clients", "callbacks", "sources"}
	for _, section := range sections {
		delete(tree, section)
	}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if near := params.Nearest(key, sections); near != "" {
			errs = append(errs, &params.Error{Key: key, Want: fmt.Sprintf("unknown section; did you mean %q?", near)})
			delete(tree, key)
		}
	}
	plain, err := params.Flatten(tree)
	errs = append(errs, err)
	environment, err := fromEnvironment()
	errs = append(errs, err)
	for _, layer := range []map[string]any{plain, environment, flags} {
		maps.Copy(flat, layer)
	}
	decoded := params.Decode(&c.settings, flat)
	errs = append(errs, decoded, c.parseClients(clients), c.parseCallbacks(callbacks), c.parseSources(sources))
	if _, given := flat["listen"]; !given && (len(c.Sources) > 0 || c.Bus.on()) && c.HTTP.Listen == "" {
		c.Listen = ""
	}
	if decoded == nil {
		errs = append(errs, c.validate(), c.validateBus())
	}
	errs = append(errs, c.checkDetection(), c.checkSinks(), c.openSources())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// variable is the environment variable that overrides a key: EDGE_ANOMALY_TLS_CERT for tls.cert.
func variable(key string) string {
	return "EDGE_ANOMALY_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func fromEnvironment() (map[string]any, error) {
	v := viper.New()
	set := make(map[string]any)
	for _, key := range params.Keys(defaults()) {
		if err := v.BindEnv(key, variable(key)); err != nil {
			return nil, err
		}
		if value := v.GetString(key); value != "" {
			set[key] = value
		}
	}
	return set, nil
}

// validate finds what bounds of single keys cannot express.
func (c *configuration) validate() error {
	var errs []error
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
	}
	for _, l := range []struct{ key, address string }{{"listen", c.Listen}, {"http.listen", c.HTTP.Listen}} {
		if l.address == "" {
			continue
		}
		// An address without a host would listen on every interface, by oversight.
		if host, _, err := net.SplitHostPort(l.address); err != nil || host == "" {
			fail(l.key, l.address, "host:port, such as 127.0.0.1:6804; 0.0.0.0 for every interface")
		}
	}
	if c.Listen == "" && c.HTTP.Listen == "" {
		if len(c.Sources) == 0 && !c.Bus.on() {
			fail("listen", nil, "required without sources: nothing would come in")
		}
		if len(c.Clients) > 0 {
			fail("clients", nil, "an endpoint for them: listen or http.listen")
		}
		return errors.Join(errs...)
	}
	if c.Insecure {
		if c.TLS.CA+c.TLS.Cert+c.TLS.Key != "" || len(c.Clients) > 0 {
			fail("insecure", true, "no tls.* and no clients beside it: nobody is known by name in plaintext")
		}
		return errors.Join(errs...)
	}
	for _, f := range []struct{ key, file string }{{"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key}} {
		if f.file == "" {
			fail(f.key, nil, "required; or insecure: true for plaintext")
		}
	}
	if c.TLS.CA == "" && slices.ContainsFunc(c.Clients, func(c client) bool { return len(c.Certificates) > 0 }) {
		fail("tls.ca", nil, "required for clients that are known by the name of their certificate")
	}
	if len(c.Clients)+len(c.Anonymous) == 0 {
		fail("clients", nil, "at least one, or anonymous: nobody may send otherwise")
	}
	return errors.Join(errs...)
}

func (c *configuration) parseClients(list any) error {
	return params.Each("clients", list, func(settings map[string]any) error {
		one := client{Limits: c.ClientLimits}
		errs := []error{params.Decode(&one, settings)}
		fail := func(key string, value any, want string) {
			errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
		}
		if one.Name == "" {
			fail("name", nil, "required")
		}
		if slices.ContainsFunc(c.Clients, func(other client) bool { return other.Name == one.Name }) {
			fail("name", one.Name, "another one for each client")
		}
		if len(one.Namespaces) == 0 {
			fail("namespaces", nil, `at least one; "*" is every one`)
		}
		if len(one.Certificates) == 0 && one.Token == "" {
			one.Certificates = []string{one.Name}
		}
		c.Clients = append(c.Clients, one)
		return errors.Join(errs...)
	})
}

func (c *configuration) parseCallbacks(list any) error {
	return params.Each("callbacks", list, func(settings map[string]any) error {
		var one callback
		errs := []error{params.Decode(&one, settings)}
		for _, f := range []struct{ key, value string }{{"client", one.Client}, {"url", one.URL}} {
			if f.value == "" {
				errs = append(errs, &params.Error{Key: f.key, Want: "required"})
			}
		}
		c.Callbacks = append(c.Callbacks, one)
		return errors.Join(errs...)
	})
}

// parseDetection reads the section anomalyDetection. It is that of a mapper but for its routes, which match clients
// instead of the models of devices, and for adapters, as there is only one.
func (c *configuration) parseDetection(v any) error {
	const section = "anomalyDetection"
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return &params.Error{Key: section, Value: v, Want: "a mapping"}
	}
	m = maps.Clone(m)
	var errs []error
	if options, ok := m["adapterOptions"]; ok {
		errs = append(errs, &params.Error{Key: section + ".adapterOptions", Value: options, Want: "nothing: it is for mappers"})
	}
	routes, ok := m["routes"].([]any)
	if !ok && m["routes"] != nil {
		errs = append(errs, &params.Error{Key: section + ".routes", Value: m["routes"], Want: "a list of routes"})
	}
	delete(m, "routes")
	var err error
	c.Detection, err = config.ParseSection(m)
	errs = append(errs, err)
	for i, item := range routes {
		key := fmt.Sprintf("%s.routes[%d]", section, i)
		r, err := parseRoute(item)
		errs = append(errs, params.Prefix(key+".", err))
		c.Routes = append(c.Routes, r)
	}
	return errors.Join(errs...)
}

func parseRoute(v any) (r detectserver.Route, err error) {
	m, _ := v.(map[string]any)
	match, isMap := m["match"].(map[string]any)
	given, hasSettings := m["settings"].(map[string]any)
	if len(m) != 2 || !isMap || !hasSettings {
		return r, &params.Error{Key: "match", Want: "match and settings, a mapping each, and nothing else"}
	}
	var patterns struct {
		Namespace string `param:"namespace"`
		Device    string `param:"device"`
		Property  string `param:"property"`
		Client    string `param:"client"`
		Model     string `param:"model"`
	}
	match = maps.Clone(match)
	labels, ok := match["labels"].(map[string]any)
	var errs []error
	if given, has := match["labels"]; has && !ok {
		errs = append(errs, &params.Error{Key: "match.labels", Value: given, Want: "a mapping of labels to patterns"})
	}
	delete(match, "labels")
	all := make(map[string]string)
	for name, pattern := range labels {
		text, ok := pattern.(string)
		if !ok {
			text = fmt.Sprint(pattern)
		}
		if r.Labels == nil {
			r.Labels = make(map[string]string)
		}
		r.Labels[name], all["labels."+name] = text, text
	}
	errs = append(errs, params.Prefix("match.", params.Decode(&patterns, match)))
	r.Namespace, r.Device, r.Property, r.Client, r.Model = patterns.Namespace, patterns.Device, patterns.Property, patterns.Client, patterns.Model
	maps.Copy(all, map[string]string{"namespace": r.Namespace, "device": r.Device, "property": r.Property, "client": r.Client, "model": r.Model})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pattern := all[name]
		if _, err := path.Match(pattern, ""); err != nil {
			errs = append(errs, &params.Error{Key: "match." + name, Value: pattern, Want: `a pattern such as "room-*"`})
		}
	}
	r.Settings, err = params.Flatten(given)
	return r, errors.Join(append(errs, params.Prefix("settings.", err))...)
}
