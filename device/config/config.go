// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config reads the configuration file of a mapper: the sections grpc_server and common as mapper-framework has
// them, and anomalyDetection, the defaults and routes for the properties of all devices:
//
//	grpc_server:
//	  socket_path: /etc/kubeedge/room.sock
//	common:
//	  name: room-mapper
//	  protocol: room
//	  edgecore_sock: /etc/kubeedge/dmi.sock
//	anomalyDetection:
//	  stateDir: /var/lib/edge-anomaly
//	  sinks: log                 # and those that a Device may name, where deviceSinks does not list them
//	  adapterOptions:
//	    grpc: {targets: {plant-a: {address: "detector.edge:6804"}}}    # a Device writes grpc.target: plant-a
//	  defaults:                  # beneath what routes and Devices say
//	    threshold: 0.95
//	  routes:                    # switch detection on where the Device does not speak of it
//	  - match: {device: "room-*", property: temperature}
//	    settings: {detector: ewma, detector.window: 60}
//
// Precedence, low to high: built-in defaults, anomalyDetection.defaults, every matching route in order, the Device's own
// settings. Environment variables override the file: see [Variables].
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/viper"
	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

// Config is a mapper's configuration file.
type Config struct {
	GRPCServer       GRPCServer
	Common           Common
	AnomalyDetection AnomalyDetection
}

// GRPCServer says where EdgeCore reaches the mapper.
type GRPCServer struct {
	SocketPath string // unix socket of the mapper's DMI server
}

// Common says who the mapper is and where EdgeCore is.
type Common struct {
	Name         string // of the mapper; required
	Version      string // of the mapper
	APIVersion   string // of the mapper's API
	Protocol     string // protocolName of the Devices that the mapper takes; required
	Address      string // of the node
	EdgeCoreSock string // unix socket of EdgeCore
	HTTPPort     string // taken for the sake of existing files: there is no REST API
}

// AnomalyDetection is the section that is read again while the mapper runs. Settings are flat, under dotted keys.
type AnomalyDetection struct {
	StateDir       string                    // directory for learned state; "" keeps none
	ModelDir       string                    // directory of trained models
	Sinks          []string                  // for properties that name none
	DeviceSinks    []string                  // that a Device may name; see SinksForDevices
	SinkOptions    map[string]map[string]any // by sink
	AdapterOptions map[string]map[string]any // by adMethodName
	Budget         pipeline.Budget           // memory of the detectors of each namespace
	Defaults       map[string]any            // settings of every watched property
	Routes         []Route
}

// Route gives settings to the properties that match.
type Route struct {
	Match    Match
	Settings map[string]any
}

// Match holds patterns as path.Match has them, such as "room-*". An empty pattern matches everything.
type Match struct{ Namespace, Device, Model, Property string }

// Target is a property to be matched.
type Target struct{ Namespace, Device, Model, Property string }

func (m Match) matches(t Target) bool {
	for _, p := range [...][2]string{
		{m.Namespace, t.Namespace}, {m.Device, t.Device}, {m.Model, t.Model}, {m.Property, t.Property},
	} {
		if p[0] == "" {
			continue
		}
		if ok, err := path.Match(p[0], p[1]); err != nil || !ok {
			return false
		}
	}
	return true
}

// scalar is a key of the file with one value.
type scalar struct {
	key, env, fallback string
	required           bool
	field              func(*Config) *string
}

var scalars = []scalar{
	{"grpc_server.socket_path", "SOCKET_PATH", "", true, func(c *Config) *string { return &c.GRPCServer.SocketPath }},
	{"common.name", "NAME", "", true, func(c *Config) *string { return &c.Common.Name }},
	{"common.version", "VERSION", "v1.0.0", false, func(c *Config) *string { return &c.Common.Version }},
	{"common.api_version", "API_VERSION", "v1.0.0", false, func(c *Config) *string { return &c.Common.APIVersion }},
	{"common.protocol", "PROTOCOL", "", true, func(c *Config) *string { return &c.Common.Protocol }},
	{"common.address", "ADDRESS", "127.0.0.1", false, func(c *Config) *string { return &c.Common.Address }},
	{"common.edgecore_sock", "EDGECORE_SOCK", "/etc/kubeedge/dmi.sock", false, func(c *Config) *string { return &c.Common.EdgeCoreSock }},
	{"common.http_port", "HTTP_PORT", "", false, func(c *Config) *string { return &c.Common.HTTPPort }},
	{"anomalyDetection.stateDir", "STATE_DIR", "", false, func(c *Config) *string { return &c.AnomalyDetection.StateDir }},
	{"anomalyDetection.modelDir", "MODEL_DIR", "", false, func(c *Config) *string { return &c.AnomalyDetection.ModelDir }},
}

// The environment variables of the settings that are not text: a comma-separated list, and JSON objects.
const (
	envPrefix   = "EDGE_ANOMALY_"
	envSinks    = envPrefix + "SINKS"
	envDefaults = envPrefix + "DEFAULTS"
	envAdapters = envPrefix + "ADAPTER_OPTIONS"
)

// Load reads a configuration file and overrides it from the environment. The error joins everything that is wrong, each
// part with its path in the file.
func Load(file string) (*Config, error) {
	c, _, err := load(file)
	return c, err
}

func load(file string) (c *Config, raw []byte, err error) {
	if raw, err = regular.Read(file, regular.MaxConfig); err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	if c, err = Parse(raw); err != nil {
		return nil, nil, fmt.Errorf("configuration %s: %w", file, err)
	}
	return c, raw, nil
}

// ParseTree reads YAML whose top is a mapping. Numbers are kept as they are written, as [json.Number].
func ParseTree(raw []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.UseNumber() // 3 stays 3
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("want a mapping: %w", err)
	}
	return tree, nil
}

// Parse is [Load] on the content of a file.
func Parse(raw []byte) (*Config, error) {
	tree, err := ParseTree(raw)
	if err != nil {
		return nil, err
	}
	p := parser{values: make(map[string]any)}
	// dev_init belongs to older templates; it says nothing that still matters.
	p.keys("", tree, "grpc_server", "common", "anomalyDetection", "dev_init")
	return p.parse(tree, "grpc_server", "common", "anomalyDetection")
}

// ParseSection reads the section anomalyDetection alone, for programs that are no mappers and have it in a file of their
// own. section is what JSON made of it, with numbers as json.Number. The environment overrides it as in [Load].
func ParseSection(section any) (AnomalyDetection, error) {
	p := parser{values: make(map[string]any)}
	c, err := p.parse(map[string]any{"anomalyDetection": section}, "anomalyDetection")
	if err != nil {
		return AnomalyDetection{}, err
	}
	return c.AnomalyDetection, nil
}

// parse reads some of the sections of a tree.
func (p *parser) parse(tree map[string]any, sections ...string) (*Config, error) {
	c := new(Config)
	for _, section := range sections {
		p.section(section, tree[section], c)
	}
	// viper folds keys to lower case, but the keys of detectors are free: only the fixed keys go through it.
	v := viper.New()
	errs := p.errs
	if err := v.MergeConfigMap(p.values); err != nil {
		errs = append(errs, err)
	}
	for _, s := range scalars {
		if section, _, _ := strings.Cut(s.key, "."); !slices.Contains(sections, section) {
			continue
		}
		v.SetDefault(s.key, s.fallback)
		if err := v.BindEnv(s.key, envPrefix+s.env); err != nil {
			errs = append(errs, err)
		}
		value := v.GetString(s.key)
		if value == "" && s.required {
			errs = append(errs, &params.Error{Key: s.key, Want: "required"})
		}
		*s.field(c) = value
	}
	errs = append(errs, c.AnomalyDetection.environment())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

func (a *AnomalyDetection) environment() error {
	if sinks := os.Getenv(envSinks); sinks != "" {
		a.Sinks = splitList(sinks)
	}
	flat, defaultsErr := environmentObject(envDefaults)
	if a.Defaults == nil {
		a.Defaults = make(map[string]any, len(flat))
	}
	maps.Copy(a.Defaults, flat)
	flat, adaptersErr := environmentObject(envAdapters)
	for key, value := range flat {
		if name, option, ok := strings.Cut(key, "."); ok {
			if a.AdapterOptions[name] == nil {
				if a.AdapterOptions == nil {
					a.AdapterOptions = make(map[string]map[string]any)
				}
				a.AdapterOptions[name] = make(map[string]any)
			}
			a.AdapterOptions[name][option] = value
		}
	}
	return errors.Join(defaultsErr, adaptersErr)
}

// environmentObject is the JSON object of a variable, flat; nil where it is not set.
func environmentObject(name string) (map[string]any, error) {
	text := os.Getenv(name)
	if text == "" {
		return nil, nil
	}
	var nested map[string]any
	if err := json.Unmarshal([]byte(text), &nested); err != nil {
		return nil, fmt.Errorf("%s: want a JSON object: %w", name, err)
	}
	flat, err := params.Flatten(nested)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return flat, nil
}

// parser walks the tree of a file and collects everything that is wrong.
type parser struct {
	values map[string]any // of the scalars, nested as viper has them
	errs   []error
}

func (p *parser) fail(key string, value any, want string) {
	p.errs = append(p.errs, &params.Error{Key: key, Value: value, Want: want})
}

// keys reports every key that is not known.
func (p *parser) keys(prefix string, m map[string]any, known ...string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, key) {
			err := params.Unknown(key, known)
			err.Key = prefix + key
			p.errs = append(p.errs, err)
		}
	}
}

func (p *parser) mapping(key string, v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		p.fail(key, v, "a mapping")
	}
	return m
}

func (p *parser) section(section string, v any, c *Config) {
	m := p.mapping(section, v)
	known := []string{}
	for _, s := range scalars {
		name, ok := strings.CutPrefix(s.key, section+".")
		if !ok {
			continue
		}
		known = append(known, name)
		p.scalar(section, name, m[name])
	}
	if section == "anomalyDetection" {
		known = append(known, "sinks", "deviceSinks", "budget", "budgets", "sinkOptions", "adapterOptions", "defaults", "routes")
		p.anomalyDetection(m, &c.AnomalyDetection)
	}
	p.keys(section+".", m, known...)
}

func (p *parser) scalar(section, name string, v any) {
	switch v := v.(type) {
	case nil:
		return
	case string, json.Number:
		m, ok := p.values[section].(map[string]any)
		if !ok {
			m = make(map[string]any)
			p.values[section] = m
		}
		m[name] = fmt.Sprint(v)
	default: // YAML takes n, no and off for a boolean
		p.fail(section+"."+name, v, "text, in quotes if need be")
	}
}

func (p *parser) anomalyDetection(m map[string]any, a *AnomalyDetection) {
	const prefix = "anomalyDetection."
	a.Sinks = p.names(prefix+"sinks", m["sinks"])
	a.DeviceSinks = p.names(prefix+"deviceSinks", m["deviceSinks"])
	a.Budget = p.budget(prefix, m["budget"], m["budgets"])
	a.SinkOptions = p.optionsByName(prefix+"sinkOptions", m["sinkOptions"])
	a.AdapterOptions = p.optionsByName(prefix+"adapterOptions", m["adapterOptions"])
	a.Defaults = p.settings(prefix+"defaults", m["defaults"])
	routes, ok := m["routes"].([]any)
	if !ok && m["routes"] != nil {
		p.fail(prefix+"routes", m["routes"], "a list of routes")
	}
	for i, r := range routes {
		a.Routes = append(a.Routes, p.route(fmt.Sprintf("%sroutes[%d]", prefix, i), r))
	}
}

// Language is that of what sinks say in their own words: the one that defaults give to the properties.
func (a *AnomalyDetection) Language() driver.Language {
	language, _ := a.Defaults["language"].(string)
	return driver.Language(language)
}

func (p *parser) route(key string, v any) Route {
	m := p.mapping(key, v)
	p.keys(key+".", m, "match", "settings")
	match := p.mapping(key+".match", m["match"])
	p.keys(key+".match.", match, "namespace", "device", "model", "property")
	pattern := func(name string) string {
		v, ok := match[name]
		if !ok {
			return ""
		}
		s, ok := v.(string)
		if _, err := path.Match(s, ""); !ok || err != nil {
			p.fail(key+".match."+name, v, `a pattern such as "room-*"`)
		}
		return s
	}
	return Route{
		Match: Match{
			Namespace: pattern("namespace"), Device: pattern("device"), Model: pattern("model"), Property: pattern("property"),
		},
		Settings: p.settings(key+".settings", m["settings"]),
	}
}

func (p *parser) settings(key string, v any) map[string]any {
	flat, err := params.Flatten(p.mapping(key, v))
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", key, err))
	}
	return flat
}

func (p *parser) optionsByName(key string, v any) map[string]map[string]any {
	out := make(map[string]map[string]any)
	for name, options := range p.mapping(key, v) {
		out[name] = p.settings(key+"."+name, options)
	}
	return out
}

func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
