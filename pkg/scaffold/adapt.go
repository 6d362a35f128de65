// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// templateName stands in KubeEdge's template for the name of the mapper; generate.sh replaces it.
const templateName = "Template"

// Adapt makes the files of a new project from a mapper in dir that KubeEdge v1.18 to v1.23 generated, or from its
// template itself, with detection added as [Patch] does it. The project is meant for the directory to, where relative
// replaces of go.mod are looked up; nothing is written. Of the template, the variant without streams is taken. Of o,
// Name, Module, Link, Note, SDKPath and SDKVersion count; without Module the last element of the mapper's becomes Name, of
// the template's as of a generated one's, and so does the name in its configuration and its socket.
func Adapt(dir, to string, o Options) ([]File, error) {
	if err := o.validateNames(); err != nil {
		return nil, err
	}
	files, modes, err := loadAll(dir)
	if err != nil {
		return nil, err
	}
	m := newMapper(to, files)
	m.from, m.modes = dir, modes
	old := modfile.ModulePath(m.files["go.mod"])
	if path.Base(old) == templateName {
		o.Module = cmp.Or(o.Module, path.Join(path.Dir(old), o.Name))
		m.nameTemplate(old, o)
	} else if old != "" {
		if err := m.rename(old, cmp.Or(o.Module, path.Join(path.Dir(old), o.Name))); err != nil {
			return nil, err
		}
		m.renameConfig(path.Base(old), o.Name)
	}
	if err := m.patch(o); err != nil {
		return nil, err
	}
	all := make([]File, 0, len(m.files))
	for _, p := range slices.Sorted(maps.Keys(m.files)) {
		all = append(all, File{Path: p, Data: m.files[p], Mode: m.modes[p]})
	}
	return all, nil
}

// loadAll reads a mapper but for its version control and vendored modules.
func loadAll(dir string) (files map[string][]byte, modes map[string]fs.FileMode, err error) {
	files, modes = make(map[string][]byte), make(map[string]fs.FileMode)
	err = filepath.WalkDir(dir, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); p != dir && (name == "vendor" || name == ".git") {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a directory, and is not copied", p)
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		modes[rel] = info.Mode().Perm()
		files[rel], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		return nil, nil, unread(dir, err)
	}
	if _, ok := files["go.mod"]; !ok {
		return nil, nil, fmt.Errorf("not a generated mapper: %s: %w", filepath.Join(dir, "go.mod"), fs.ErrNotExist)
	}
	return files, modes, nil
}

// nameTemplate puts names into the template.
func (m *mapper) nameTemplate(old string, o Options) {
	const stream, without = "data/stream/handler.go", "data/stream/handler_nostream.go"
	if handler, ok := m.files[without]; ok {
		for p := range maps.Clone(m.files) {
			if path.Dir(p) == path.Dir(stream) {
				delete(m.files, p)
			}
		}
		m.files[stream], m.modes[stream] = handler, m.modes[without]
		delete(m.files, "Dockerfile_stream")
	}
	for p, data := range m.files {
		if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
			continue
		}
		data = bytes.ReplaceAll(data, []byte(old), []byte(o.Module))
		data = bytes.ReplaceAll(data, []byte(templateName), []byte(identifier(o.Name)))
		if path.Ext(p) == ".yaml" {
			data = noProtocol.ReplaceAll(data, []byte("${1} "+o.Name))
		}
		m.files[p] = data
	}
}

var (
	noProtocol   = regexp.MustCompile(`(?m)^([ \t]+protocol:)[ \t]*(?:#.*)?$`) // which no mapper registers without
	configName   = regexp.MustCompile(`(?m)^(\s*common:[ \t]*\n(?:[ \t]+.*\n)*?[ \t]+name:[ \t]*)\S+`)
	configSocket = regexp.MustCompile(`(?m)^(\s*socket_path:[ \t]*(?:\S*/)?)[^\s/]+\.sock`)
)

// renameConfig puts the new name where generate.sh put the old one: into YAML files, the name of the mapper and its
// socket, and as a word into what is neither Go nor YAML.
func (m *mapper) renameConfig(old, name string) {
	was := []string{identifier(old), old}
	word := regexp.MustCompile(`\b(?:` + regexp.QuoteMeta(was[0]) + `|` + regexp.QuoteMeta(was[1]) + `)\b`)
	for p, data := range m.files {
		switch base := path.Base(p); {
		case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		case path.Ext(p) == ".yaml" || path.Ext(p) == ".yml":
			data = configName.ReplaceAll(data, []byte("${1}"+identifier(name)+"-mapper"))
			m.files[p] = configSocket.ReplaceAll(data, []byte("${1}"+identifier(name)+".sock"))
		case strings.HasPrefix(base, "Dockerfile") || base == "Makefile" || path.Ext(p) == ".sh":
			m.files[p] = word.ReplaceAll(data, []byte(name))
		}
	}
}

// identifier is a name as a Go identifier: my-mapper is MyMapper.
func identifier(name string) string {
	var out strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		for i, r := range part {
			if i == 0 {
				r = unicode.ToUpper(r)
			}
			out.WriteRune(r)
		}
	}
	return out.String()
}

// rename gives the mapper another module path.
func (m *mapper) rename(old, to string) error {
	file, err := modfile.Parse(m.name("go.mod"), m.files["go.mod"], nil)
	if err != nil {
		return err
	}
	if err := file.AddModuleStmt(to); err != nil {
		return err
	}
	if m.files["go.mod"], err = file.Format(); err != nil {
		return err
	}
	var errs []error
	for _, p := range m.goFiles() {
		s, err := parse(m.name(p), m.files[p])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if rest, ok := strings.CutPrefix(imported, old); ok && (rest == "" || rest[0] == '/') {
				s.replace(s.offset(spec.Path.Pos()), s.offset(spec.Path.End()), strconv.Quote(to+rest))
			}
		}
		if m.files[p], err = s.edited(); err != nil {
			errs = append(errs, s.at(s.file.Package, "%v", err))
		}
	}
	return errors.Join(errs...)
}

// validateNames joins what is wrong with the options that Adapt takes.
func (o *Options) validateNames() error {
	var errs []error
	if err := checkName("name", o.Name); err != nil {
		errs = append(errs, err)
	}
	if o.Module != "" {
		errs = append(errs, checkModule(o.Module))
	}
	return errors.Join(append(errs, o.checkSDK())...)
}

func checkModule(path string) error {
	if err := module.CheckPath(path); err != nil {
		return fmt.Errorf("module: %w", err)
	}
	if path == SDK || strings.HasPrefix(path, SDK+"/") {
		return fmt.Errorf("module %q: is that of the library", path)
	}
	return nil
}

// unread says why the files of a mapper cannot be read.
func unread(dir string, err error) error {
	if _, gone := os.Stat(dir); errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("there is no directory %s; give the one that make generate of KubeEdge wrote", dir)
	}
	return fmt.Errorf("read the mapper: %w", err)
}
