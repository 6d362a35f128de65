// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
)

const (
	framework    = "github.com/kubeedge/mapper-framework"
	kubeedgeAPI  = "github.com/kubeedge/api"
	kubeedge     = "github.com/kubeedge/kubeedge"
	upstream     = "v1.23.0" // of the framework and the API
	oldest       = "v1.18.0" // of the framework, of which a mapper can be patched
	admethodAll  = SDK + "/admethod/all"
	admethodAuto = SDK + "/admethod/auto"
)

// What a patched mapper links: what detection inside the mapper needs, or everything that the library has.
const (
	LinkAuto = "auto"
	LinkAll  = "all"
)

func linked(link string) string {
	if link == LinkAll {
		return admethodAll
	}
	return admethodAuto
}

// Change is one file that a patch changes or adds.
type Change struct {
	Path     string // slash-separated, below the mapper's directory
	Old, New []byte // Old is nil for a file that is added
}

// Patch says what adds detection to a mapper that KubeEdge v1.18 to v1.23 generated: the import and the handler's line
// in device/device.go, the end on a signal in cmd, the requirements in go.mod, and what keeps a mapper of that version
// from building and passing go vet with the framework of v1.23. It writes nothing. A mapper that has all of it needs no change; one that is not as
// KubeEdge generates it is an error that says where. Of o, SDKPath and SDKVersion count.
func Patch(dir string, o Options) ([]Change, error) {
	files, err := load(dir)
	if err != nil {
		return nil, err
	}
	m := newMapper(dir, files)
	if err := m.patch(o); err != nil {
		return nil, err
	}
	return m.changes(), nil
}

// mapper is a generated mapper in memory.
type mapper struct {
	dir      string            // where it is, or will be
	from     string            // where it was read: for errors
	original map[string][]byte // by slash-separated path
	files    map[string][]byte
	modes    map[string]fs.FileMode
}

func newMapper(dir string, files map[string][]byte) *mapper {
	return &mapper{dir: dir, from: dir, original: files, files: maps.Clone(files)}
}

// name is the path of a file as a person would write it.
func (m *mapper) name(file string) string { return filepath.Join(m.from, filepath.FromSlash(file)) }

func (m *mapper) patch(o Options) error {
	var errs []error
	for _, required := range []string{"go.mod", deviceFile} {
		if _, ok := m.files[required]; !ok {
			errs = append(errs, fmt.Errorf("not a generated mapper: %s: %w; give the directory that make generate of KubeEdge wrote, or write a mapper anew with adctl new", m.name(required), fs.ErrNotExist))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, step := range []func(Options) error{m.patchDevice, m.patchMain, m.patchImports, m.patchMethods, m.patchPrintf, m.patchModule, m.patchDockerfiles} {
		if err := step(o); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// goFiles are the paths of the mapper's Go files, in order.
func (m *mapper) goFiles() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.files)), func(p string) bool { return path.Ext(p) != ".go" })
}

func (m *mapper) changes() []Change {
	var all []Change
	for _, p := range slices.Sorted(maps.Keys(m.files)) {
		if old, ok := m.original[p]; !ok || !bytes.Equal(old, m.files[p]) {
			all = append(all, Change{Path: p, Old: old, New: m.files[p]})
		}
	}
	return all
}

// load reads what a patch may change: Go code, go.mod and Dockerfiles.
func load(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if p != dir && skipped(entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if name := entry.Name(); filepath.Ext(name) != ".go" && rel != "go.mod" && !strings.HasPrefix(name, "Dockerfile") {
			return nil
		}
		info, err := os.Stat(p) // follows links
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)] = data
		return nil
	})
	if err != nil {
		return nil, unread(dir, err)
	}
	return files, nil
}

// skipped says of a directory that nothing of the mapper's own is in it.
func skipped(name string) bool {
	return name == "vendor" || name == "testdata" || strings.HasPrefix(name, ".")
}

// Apply writes changes, all or none: where one cannot be written, those that were are taken back. A file that is not as
// it was when the changes were made is an error, and nothing is written.
func Apply(dir string, changes []Change) error { return apply(dir, changes, os.Rename) }

func apply(dir string, changes []Change, rename func(from, to string) error) (err error) {
	type file struct {
		path, temp string
		mode       fs.FileMode
		done       bool
		*Change
	}
	files := make([]*file, 0, len(changes))
	defer func() {
		for _, f := range files {
			_ = os.Remove(f.temp) // gone where it was renamed
			if err == nil || !f.done {
				continue
			}
			if f.Old == nil {
				err = errors.Join(err, os.Remove(f.path))
			} else if back := os.WriteFile(f.path, f.Old, f.mode); back != nil {
				err = errors.Join(err, fmt.Errorf("%s is changed and cannot be taken back: %w", f.path, back))
			}
		}
	}()
	for i := range changes {
		f := &file{path: filepath.Join(dir, filepath.FromSlash(changes[i].Path)), mode: 0o644, Change: &changes[i]}
		if f.Old != nil {
			if f.path, err = filepath.EvalSymlinks(f.path); err != nil {
				return err
			}
			info, err := os.Stat(f.path)
			if err != nil {
				return err
			}
			f.mode = info.Mode().Perm()
			if now, err := os.ReadFile(f.path); err != nil {
				return err
			} else if !bytes.Equal(now, f.Old) {
				return fmt.Errorf("%s has changed meanwhile", f.path)
			}
		} else if _, err := os.Lstat(f.path); err == nil {
			return fmt.Errorf("%s: %w", f.path, fs.ErrExist)
		} else if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return err
		}
		f.temp, err = atomicfile.Prepare(f.path, f.mode, func(w io.Writer) error {
			_, err := w.Write(f.New)
			return err
		})
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	for _, f := range files {
		if err := rename(f.temp, f.path); err != nil {
			return err
		}
		f.done = true
	}
	return nil
}
