// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"
)

// Go is the version of the language that the library needs.
const goVersion = "1.25.0"

// moved are packages that the framework of v1.23 takes from elsewhere than older ones.
var moved = map[string]string{
	kubeedge + "/pkg/apis/dmi/v1beta1": kubeedgeAPI + "/apis/dmi/v1beta1",
}

// patchImports takes moved packages from where they are now.
func (m *mapper) patchImports(Options) error {
	for _, p := range m.goFiles() {
		if !strings.Contains(string(m.files[p]), kubeedge+"/") {
			continue
		}
		s, err := parse(m.name(p), m.files[p])
		if err != nil {
			return err
		}
		for _, spec := range s.file.Imports {
			old, _ := strconv.Unquote(spec.Path.Value)
			if to, ok := moved[old]; ok {
				s.replace(s.offset(spec.Path.Pos()), s.offset(spec.Path.End()), strconv.Quote(to))
			} else if strings.HasPrefix(old, kubeedge+"/") {
				return s.at(spec.Pos(), "imports %s; generated mappers need no package of it but those of the DMI, which are in %s now", old, kubeedgeAPI)
			}
		}
		if m.files[p], err = s.edited(); err != nil {
			return s.at(s.file.Package, "%v", err)
		}
	}
	return nil
}

const (
	methodsFile = "device/devicemethod.go"
	methodsHead = `package device

import "errors"

var errNoMethods = errors.New("this mapper has no device methods")
`
)

// methods are those that the framework of v1.23 wants of a DevPanel and older templates do not have.
var methods = []struct{ name, code string }{
	{"WriteDevice", `
// WriteDevice would write a property by a method of the device.
func (d *DevPanel) WriteDevice(deviceMethodName, deviceID, propertyName, data string) error {
	return errNoMethods
}
`},
	{"GetDeviceMethod", `
// GetDeviceMethod would return the methods of a device and the types of their properties.
func (d *DevPanel) GetDeviceMethod(deviceID string) (map[string][]string, map[string]string, error) {
	return nil, nil, errNoMethods
}
`},
}

// patchMethods adds the methods that the framework has come to want of a DevPanel.
func (m *mapper) patchMethods(Options) error {
	has := make(map[string]bool)
	var panel *source
	var declared token.Pos
	for _, p := range m.goFiles() {
		if path.Dir(p) != path.Dir(methodsFile) || strings.HasSuffix(p, "_test.go") {
			continue
		}
		s, err := parse(m.name(p), m.files[p])
		if err != nil {
			return err
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && len(d.Recv.List) == 1 && isPanel(d.Recv.List[0].Type) {
					has[d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok && t.Name.Name == "DevPanel" {
						panel, declared = s, t.Pos()
					}
				}
			}
		}
	}
	var code strings.Builder
	for _, method := range methods {
		if !has[method.name] {
			code.WriteString(method.code)
		}
	}
	if panel == nil || code.String() == "" {
		return nil // a mapper with a panel of its own kind builds or not, as before
	}
	if _, ok := m.files[methodsFile]; ok {
		return panel.at(declared, "DevPanel needs the methods WriteDevice and GetDeviceMethod of the framework's interface, and %s is there already", methodsFile)
	}
	m.files[methodsFile] = []byte(methodsHead + code.String())
	return nil
}

func isPanel(receiver ast.Expr) bool {
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.Name == "DevPanel"
}

// patchPrintf gives a verb to each argument of a log.Printf without one, which go vet, and so go test, refuses.
func (m *mapper) patchPrintf(Options) error {
	const file = "device/devicestatus.go"
	old, ok := m.files[file]
	if !ok {
		return nil
	}
	s, err := parse(m.name(file), old)
	if err != nil {
		return err
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 || call.Ellipsis.IsValid() {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || f.Sel.Name != "Printf" {
			return true
		}
		format, ok := call.Args[0].(*ast.BasicLit)
		if x, isLog := f.X.(*ast.Ident); !ok || !isLog || x.Name != "log" || format.Kind != token.STRING || strings.Contains(format.Value, "%") {
			return true
		}
		end := s.offset(format.End()) - 1 // before the closing quote
		s.replace(end, end, strings.Repeat(" %v", len(call.Args)-1))
		return true
	})
	edited, err := s.edited()
	if err != nil {
		return s.at(s.file.Package, "%v", err)
	}
	m.files[file] = edited
	return nil
}

var golangImage = regexp.MustCompile(`(?m)^(FROM[ \t]+(?:--platform=\S+[ \t]+)?(?:\S+/)?golang:)(\d+\.\d+(?:\.\d+)?)(-alpine)?\S*`)

// runtimeImage has a libc that is older than that of libc.
var runtimeImage = regexp.MustCompile(`(?m)^(FROM[ \t]+(?:--platform=\S+[ \t]+)?)(?:ubuntu:(?:1\d|20|22)\.\d\d|debian:(?:stretch|buster|bullseye)\S*)`)

// libc is the release of Debian that a mapper is built on which needs a libc, and runs on.
const libc = "bookworm"

// patchDockerfiles takes a Go that is new enough. A program that is linked against the libc of its builder, as one with
// video streams is, needs one at least as new where it runs.
func (m *mapper) patchDockerfiles(Options) error {
	for p, data := range m.files {
		if !strings.HasPrefix(path.Base(p), "Dockerfile") {
			continue
		}
		linked := false
		data = golangImage.ReplaceAllFunc(data, func(line []byte) []byte {
			part := golangImage.FindSubmatch(line)
			alpine := string(part[3])
			linked = linked || alpine == ""
			if semver.Compare("v"+string(part[2]), "v"+goVersion) >= 0 {
				return line
			}
			if alpine == "" {
				alpine = "-" + libc
			}
			return []byte(string(part[1]) + semver.MajorMinor("v" + goVersion)[1:] + alpine)
		})
		if linked && !strings.Contains(string(data), "CGO_ENABLED=0") {
			data = runtimeImage.ReplaceAll(data, []byte("${1}debian:"+libc))
		}
		m.files[p] = data
	}
	return nil
}
