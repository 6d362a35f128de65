// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

const (
	deviceFile   = "device/device.go"
	handlerLine  = "admethod.AnomalyDetectionHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)"
	handlerName  = "AnomalyDetectionHandler"
	ownHandler   = "adHandler" // of v1.23: reads the device once more, and has no place for what it finds
	newDataModel = "dataModel := common.NewDataModel(dev.Instance.Name, twin.Property.PropertyName, dev.Instance.Namespace, common.WithType(twin.ObservedDesired.Metadata.Type))"
)

// source is a parsed file, which edits replace parts of.
type source struct {
	name  string
	old   []byte
	fset  *token.FileSet
	file  *ast.File
	edits []edit // by place, not overlapping
}

type edit struct {
	from, to int
	text     string
}

func parse(name string, old []byte) (*source, error) {
	s := &source{name: name, old: old, fset: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.fset, name, old, parser.ParseComments)
	return s, err
}

func (s *source) at(pos token.Pos, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", s.name, s.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

func (s *source) offset(p token.Pos) int { return s.fset.Position(p).Offset }

// lineEnd is where the line after that of p begins.
func (s *source) lineEnd(p token.Pos) int {
	if i := bytes.IndexByte(s.old[s.offset(p):], '\n'); i >= 0 {
		return s.offset(p) + i + 1
	}
	return len(s.old)
}

func (s *source) replace(from, to int, text string) {
	s.edits = append(s.edits, edit{from, to, text})
}

// indent is the white space that the line of p begins with.
func (s *source) indent(p token.Pos) string {
	line := s.old[s.lineStart(p):]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// lineStart is where the line of p begins.
func (s *source) lineStart(p token.Pos) int {
	return bytes.LastIndexByte(s.old[:s.offset(p)], '\n') + 1
}

// indented puts white space in front of each line.
func indented(indent string, lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

// edited is the file after the edits, formatted where it was; elsewhere only what the edits hold is new.
func (s *source) edited() ([]byte, error) {
	if len(s.edits) == 0 {
		return s.old, nil
	}
	var out bytes.Buffer
	last := 0
	for _, e := range s.edits {
		out.Write(s.old[last:e.from])
		out.WriteString(e.text)
		last = e.to
	}
	out.Write(s.old[last:])
	if formatted, err := format.Source(s.old); err == nil && bytes.Equal(formatted, s.old) {
		return format.Source(out.Bytes())
	}
	if _, err := parser.ParseFile(token.NewFileSet(), s.name, out.Bytes(), 0); err != nil {
		return nil, fmt.Errorf("cannot be edited: %w", err)
	}
	return out.Bytes(), nil
}

// addImport adds an import behind the last one, in the parentheses that it stands in if any.
func (s *source) addImport(last *ast.ImportSpec, name, path string) {
	at := s.lineEnd(last.End())
	line := "\n\t" + strings.TrimSpace(name+" "+strconv.Quote(path)) + "\n"
	for _, d := range s.file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT && !g.Lparen.IsValid() && g.Pos() <= last.Pos() && last.End() <= g.End() {
			line = "import " + strings.TrimSpace(line) + "\n"
		}
	}
	s.replace(at, at, line)
}

// patchDevice adds the import and the call to device/device.go.
func (m *mapper) patchDevice(o Options) error {
	s, err := parse(m.name(deviceFile), m.files[deviceFile])
	if err != nil {
		return err
	}
	last, imported, err := s.checkImports()
	if err != nil {
		return err
	}
	body, fault := twinLoop(s.file)
	if body == nil {
		return s.at(fault, "want dataHandler(ctx, dev) as KubeEdge generates it: one loop over dev.Instance.Twins with twin and visitorConfig")
	}
	calls, err := s.calls(body)
	switch {
	case err != nil:
		return err
	case calls.ours != imported:
		return s.at(body.Pos(), "has the import or the call of detection, but not both")
	case calls.ours:
		return nil
	case len(calls.own) > 1:
		return s.at(calls.own[1].Pos(), "calls %s a second time; v1.23 generates one call", ownHandler)
	}
	s.addImport(last, "admethod", linked(o.Link))
	indent := s.indent(body.Rbrace) + "\t"
	lines := []string{handlerLine}
	switch {
	case len(calls.own) == 1 && m.ownDetection(o):
		if !declares(body, "dataModel", body.Rbrace) {
			lines = []string{"{", "\t" + newDataModel, "\t" + handlerLine, "}"}
		}
		lines = append([]string{"// handle anomaly detection, beside the author's own"}, lines...)
	case len(calls.own) == 1:
		own := calls.own[0]
		if !declares(body, "dataModel", own.Pos()) {
			lines = []string{newDataModel, handlerLine}
		}
		lines = append([]string{"// in place of " + ownHandler + ", which this mapper need not have any more"}, lines...)
		text := indented(s.indent(own.Pos()), lines...)
		s.replace(s.offset(own.Pos()), s.offset(own.End()), strings.TrimSpace(text))
		lines = nil
	default:
		if !declares(body, "dataModel", body.Rbrace) {
			lines = []string{"{", "\t" + newDataModel, "\t" + handlerLine, "}"}
		}
		lines = append([]string{"// handle anomaly detection"}, lines...)
	}
	if lines != nil {
		end := s.lineStart(body.Rbrace)
		if before := s.old[end:s.offset(body.Rbrace)]; len(bytes.TrimSpace(before)) > 0 { // the brace is not alone
			end = s.offset(body.Rbrace)
			s.replace(end, end, "\n"+indented(indent, lines...)+s.indent(body.Rbrace))
		} else {
			s.replace(end, end, indented(indent, lines...))
		}
	}
	edited, err := s.edited()
	if err != nil {
		return s.at(body.Pos(), "%v", err)
	}
	m.files[deviceFile] = edited
	return nil
}

// checkImports finds the last import and whether detection is among them.
func (s *source) checkImports() (last *ast.ImportSpec, imported bool, err error) {
	common := false
	for _, spec := range s.file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		switch {
		case p == admethodAll || p == admethodAuto:
			imported = true
		case p == framework+"/pkg/common" && spec.Name == nil:
			common = true
		case strings.HasSuffix(p, "/pkg/common"):
			return nil, false, s.at(spec.Pos(), "generated by a KubeEdge before v1.18 (%s instead of %s/pkg/common): generate the mapper anew with v1.23", p, framework)
		case spec.Name != nil && spec.Name.Name == "admethod":
			return nil, false, s.at(spec.Pos(), "the name admethod is taken by %s", p)
		}
		last = spec
	}
	if !common || last == nil {
		return nil, false, s.at(s.file.Package, "does not import %s/pkg/common", framework)
	}
	return last, imported, nil
}

// calls are those of detection.
type calls struct {
	ours bool
	own  []*ast.ExprStmt // of the template's own handler, in the loop over twins
}

func (s *source) calls(body *ast.BlockStmt) (found calls, err error) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, _ := selector.X.(*ast.Ident)
		if selector.Sel.Name == handlerName && x != nil && x.Name == "admethod" {
			found.ours = true
		}
		if selector.Sel.Name == "NewDataModel" && len(call.Args) < 4 && err == nil {
			err = s.at(call.Pos(), "generated by a KubeEdge before v1.18 (NewDataModel without namespace): generate the mapper anew with v1.23")
		}
		return true
	})
	ast.Inspect(body, func(n ast.Node) bool {
		statement, ok := n.(*ast.ExprStmt)
		if !ok {
			return true
		}
		if call, ok := statement.X.(*ast.CallExpr); ok {
			if name, ok := call.Fun.(*ast.Ident); ok && name.Name == ownHandler {
				found.own = append(found.own, statement)
			}
		}
		return true
	})
	return found, err
}

// twinLoop finds the body of the loop over twins in dataHandler, or where it should be.
func twinLoop(file *ast.File) (body *ast.BlockStmt, fault token.Pos) {
	fault = file.Package
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || f.Name.Name != "dataHandler" || f.Body == nil {
			continue
		}
		fault = f.Pos()
		var params []string
		for _, p := range f.Type.Params.List {
			for _, n := range p.Names {
				params = append(params, n.Name)
			}
		}
		if strings.Join(params, ",") != "ctx,dev" {
			return nil, fault
		}
		for _, s := range f.Body.List {
			loop, ok := s.(*ast.RangeStmt)
			if !ok {
				continue
			}
			fault = loop.Pos()
			v, ok := loop.Value.(*ast.Ident)
			if body != nil || !ok || v.Name != "twin" || !declares(loop.Body, "visitorConfig", loop.Body.Rbrace) {
				return nil, fault
			}
			body = loop.Body
		}
	}
	return body, fault
}

// declares says whether a block has variable name at its top level, before a place.
func declares(block *ast.BlockStmt, name string, before token.Pos) bool {
	for _, s := range block.List {
		if s.End() > before {
			break
		}
		switch s := s.(type) {
		case *ast.AssignStmt:
			for _, left := range s.Lhs {
				if v, ok := left.(*ast.Ident); ok && v.Name == name && s.Tok == token.DEFINE {
					return true
				}
			}
		case *ast.DeclStmt:
			g, ok := s.Decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for _, n := range v.Names {
						if n.Name == name {
							return true
						}
					}
				}
			}
		}
	}
	return false
}
