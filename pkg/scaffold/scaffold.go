// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package scaffold writes new mapper projects. It knows them as text only.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"golang.org/x/mod/semver"
)

// SDK is the module that generated mappers are written on.
const SDK = "github.com/kubeedge/edge-anomaly"

//go:embed all:templates
var templates embed.FS

// Adapters are the values of Options.Adapter.
var Adapters = []string{"inprocess", "grpc", "http"}

// Options say what project is wanted. Fields without a value get the default that is given.
type Options struct {
	Name       string     // of the mapper, its image and its Deployment: a DNS label; required
	Module     string     // Go module path; default example.com/NAME
	Protocol   string     // protocolName of the Devices, a DNS label; default NAME
	Properties []Property // default temperature:double:ro
	Detector   string     // default auto
	Adapter    string     // one of Adapters; default inprocess
	Address    string     // where the detector of an adapter other than inprocess is; default localhost:6804 for grpc, localhost:6805 for http
	SDKPath    string     // absolute path of a checkout that replaces the SDK; "" uses SDKVersion
	SDKVersion string     // version of the SDK; required without SDKPath

	Link string            // LinkAuto, the default, or LinkAll: what a patched mapper links
	Note func(text string) // gets what a person should know of a patch; may be nil
}

func (o *Options) note(text string) {
	if o.Note != nil {
		o.Note(text)
	}
}

// Property is one property of the DeviceModel.
type Property struct {
	Name     string
	Type     string // int, float, double, boolean or string
	Writable bool
	Detect   bool // has anomalyDetection; set by Render
}

// Numeric says whether the property has numbers for values.
func (p Property) Numeric() bool { return p.Type == "int" || p.Type == "float" || p.Type == "double" }

var (
	dnsLabel     = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	propertyName = regexp.MustCompile(`^[A-Za-z]([-_A-Za-z0-9]*[A-Za-z0-9])?$`)
	detectorName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	address      = regexp.MustCompile(`^[-A-Za-z0-9_.:/\[\]%~]*$`) // nothing that YAML would take for something else in quotes
	types        = []string{"int", "float", "double", "boolean", "string"}
)

// ParseProperties reads name:type:access, separated by commas. The type defaults to double, the access, ro or rw, to ro.
func ParseProperties(s string) ([]Property, error) {
	var all []Property
	var errs []error
	for item := range strings.SplitSeq(s, ",") {
		parts := strings.Split(strings.TrimSpace(item), ":")
		p := Property{Name: parts[0], Type: "double"}
		if len(parts) > 1 {
			p.Type = strings.ToLower(parts[1])
		}
		access := "ro"
		if len(parts) > 2 {
			access = strings.ToLower(parts[2])
		}
		p.Writable = access == "rw"
		switch {
		case len(parts) > 3:
			errs = append(errs, fmt.Errorf("property %q: want name:type:access", item))
		case len(p.Name) > 63 || !propertyName.MatchString(p.Name):
			errs = append(errs, fmt.Errorf("property %q: the name must begin with a letter, end with a letter or digit and have letters, digits, - and _ between, 63 at most", item))
		case !slices.Contains(types, p.Type):
			errs = append(errs, fmt.Errorf("property %q: type %q, want one of %s", item, p.Type, strings.Join(types, ", ")))
		case access != "ro" && access != "rw":
			errs = append(errs, fmt.Errorf("property %q: access %q, want ro or rw", item, access))
		case slices.ContainsFunc(all, func(q Property) bool { return q.Name == p.Name }):
			errs = append(errs, fmt.Errorf("property %q is there twice", p.Name))
		}
		all = append(all, p)
	}
	return all, errors.Join(errs...)
}

func (o *Options) defaults() {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&o.Module, "example.com/"+o.Name)
	set(&o.Protocol, o.Name)
	set(&o.Detector, "auto")
	set(&o.Adapter, Adapters[0])
	switch o.Adapter {
	case "grpc":
		set(&o.Address, "localhost:6804")
	case "http":
		set(&o.Address, "localhost:6805")
	}
	if len(o.Properties) == 0 {
		o.Properties = []Property{{Name: "temperature", Type: "double"}}
	}
	o.Properties = slices.Clone(o.Properties)
	// What the cloud writes changes for good reason; it is watched only where there is nothing else to watch.
	writable := !slices.ContainsFunc(o.Properties, func(p Property) bool { return p.Numeric() && !p.Writable })
	for i := range o.Properties {
		p := &o.Properties[i]
		p.Detect = p.Numeric() && p.Writable == writable
	}
}

// validate joins everything that is wrong with options that have their defaults.
func (o *Options) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	errs = append(errs, checkName("name", o.Name), checkName("protocol", o.Protocol), checkModule(o.Module))
	if !detectorName.MatchString(o.Detector) {
		wrong("detector %q: want the name of a detector, such as auto", o.Detector)
	}
	if !slices.Contains(Adapters, o.Adapter) {
		wrong("adapter %q: want one of %s", o.Adapter, strings.Join(Adapters, ", "))
	}
	switch {
	case o.Adapter == Adapters[0] && o.Address != "":
		wrong("address %q: the adapter %s has none", o.Address, o.Adapter)
	case !address.MatchString(o.Address):
		wrong("address %q: want host:port, unix:PATH or an https:// URL", o.Address)
	}
	if !slices.ContainsFunc(o.Properties, Property.Numeric) {
		wrong("properties: want at least one of type int, float or double, to be watched")
	}
	return errors.Join(append(errs, o.checkSDK())...)
}

func checkName(what, name string) error {
	// Objects that are called after it have suffixes of up to 13 bytes.
	if len(name) > 50 || !dnsLabel.MatchString(name) {
		return fmt.Errorf("%s %q: want a Kubernetes name: lower case letters, digits and -, beginning with a letter, ending with a letter or digit, 50 at most", what, name)
	}
	return nil
}

func (o *Options) checkSDK() error {
	switch {
	case o.SDKPath != "" && (!filepath.IsAbs(o.SDKPath) || strings.ContainsAny(o.SDKPath, "\"`\n\r")):
		return fmt.Errorf("SDK path %q: want an absolute path without quotes", o.SDKPath)
	case o.SDKPath == "" && (!semver.IsValid(o.SDKVersion) || semver.Build(o.SDKVersion) != ""):
		return fmt.Errorf("SDK version %q: want a published version, or the path of a checkout", o.SDKVersion)
	}
	return nil
}

// File is one file of a project.
type File struct {
	Path string // slash-separated, below the project's directory
	Data []byte
	Mode fs.FileMode // 0 is 0644
}

// Render makes the files of a project, in the order of their paths. The error joins everything that is wrong.
func Render(o Options) ([]File, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	var files []File
	err := fs.WalkDir(templates, "templates", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := templates.ReadFile(path)
		if err != nil {
			return err
		}
		t, err := template.New(path).Delims("[[", "]]").Funcs(template.FuncMap{"upper": strings.ToUpper}).Parse(string(raw))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, o); err != nil {
			return err
		}
		f := File{Path: strings.TrimSuffix(strings.TrimPrefix(path, "templates/"), ".tmpl"), Data: out.Bytes()}
		if strings.HasSuffix(f.Path, ".go") {
			if f.Data, err = format.Source(f.Data); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
		}
		files = append(files, f)
		return nil
	})
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}

// Write puts files into a directory, which it makes where it is missing. It overwrites nothing: where a file is there
// already, nothing is written and the error, which wraps fs.ErrExist, names it. Where one cannot be written, those that
// were are removed.
func Write(dir string, files []File) error {
	var errs []error
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if _, err := os.Lstat(path); err == nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, fs.ErrExist))
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, f := range files {
		if err := create(filepath.Join(dir, filepath.FromSlash(f.Path)), f.Data, f.Mode); err != nil {
			for _, written := range files[:i] {
				err = errors.Join(err, os.Remove(filepath.Join(dir, filepath.FromSlash(written.Path))))
			}
			return err
		}
	}
	return nil
}

func create(path string, data []byte, mode fs.FileMode) error {
	if mode == 0 {
		mode = 0o644
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
