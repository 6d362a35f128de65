// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"strconv"
	"strings"
)

const (
	shutdownFile = "shutdown.go" // beside main
	shutdownCall = "go shutdownOnSignal()"
)

// shutdownCode ends the mapper. admethod is what it links.
const shutdownCode = `package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	admethod %s
)

// shutdownOnSignal keeps what anomaly detection has learned when the mapper is told to end.
func shutdownOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	if err := admethod.Shutdown(ctx); err != nil {
		klog.Error(err)
	}
	klog.Flush()
	os.Exit(0)
}
`

// patchMain ends detection when the mapper is told to end, and lets warnings reach the log.
func (m *mapper) patchMain(o Options) error {
	var main *source
	var body *ast.BlockStmt
	var file string
	for _, p := range m.goFiles() {
		if path.Dir(p) != "cmd" || strings.HasSuffix(p, "_test.go") {
			continue
		}
		s, err := parse(m.name(p), m.files[p])
		if err != nil {
			return err
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "main" && f.Body != nil && s.file.Name.Name == "main" {
				main, body, file = s, f.Body, p
			}
		}
		if strings.Contains(string(m.files[p]), "admethod.Shutdown(") {
			return m.patchThreshold(main, file) // somebody does it already
		}
	}
	switch {
	case main == nil:
		o.note("there is no cmd/main.go: call admethod.Shutdown before the mapper ends, so that what was learned is kept")
		return nil
	case strings.Contains(string(m.files[file]), "signal.Notify"):
		o.note(fmt.Sprintf("%s handles signals itself: call admethod.Shutdown there, so that what was learned is kept", m.name(file)))
	case m.files[path.Join("cmd", shutdownFile)] != nil:
		return main.at(body.Pos(), "%s is there already and does not call admethod.Shutdown", path.Join("cmd", shutdownFile))
	default:
		at := main.offset(body.Lbrace) + 1
		main.replace(at, at, "\n\t"+shutdownCall)
		m.files[path.Join("cmd", shutdownFile)] = fmt.Appendf(nil, shutdownCode, strconv.Quote(linked(o.Link)))
	}
	return m.patchThreshold(main, file)
}

// threshold is what a main of KubeEdge after v1.23 switches off, so that only errors reach stderr.
const threshold = "legacy_stderr_threshold_behavior"

// patchThreshold lets all of the log reach stderr again, verdicts among it.
func (m *mapper) patchThreshold(s *source, file string) error {
	if s == nil {
		return nil
	}
	if text := string(m.files[file]); strings.Contains(text, threshold) && !strings.Contains(text, `"stderrthreshold"`) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			block, ok := n.(*ast.BlockStmt)
			if !ok {
				return true
			}
			for _, statement := range block.List {
				if set := setsThreshold(statement); set != "" {
					at := s.lineEnd(statement.End())
					s.replace(at, at, indented(s.indent(statement.Pos()),
						"// or INFO and WARNING, verdicts of anomaly detection among them, do not reach the log",
						"_ = "+set+`.Set("stderrthreshold", "INFO")`))
				}
			}
			return true
		})
	}
	edited, err := s.edited()
	if err != nil {
		return s.at(s.file.Package, "%v", err)
	}
	m.files[file] = edited
	return nil
}

// setsThreshold finds X of X.Set("legacy_stderr_threshold_behavior", …) at the top of a statement.
func setsThreshold(statement ast.Stmt) (set string) {
	ast.Inspect(statement, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			return false
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || f.Sel.Name != "Set" || len(n.Args) != 2 {
				return true
			}
			x, isName := f.X.(*ast.Ident)
			name, isText := n.Args[0].(*ast.BasicLit)
			if isName && isText && name.Kind == token.STRING && strings.Trim(name.Value, "\"`") == threshold {
				set = x.Name
			}
		}
		return true
	})
	return set
}

// ownMethod is what the template of v1.23 has for an author to fill in.
const ownMethod = "AnomalyDetectionProcess"

// ownDetection says whether the author has filled in the template's method of detection, and tells so.
func (m *mapper) ownDetection(o Options) bool {
	for _, p := range m.goFiles() {
		if path.Dir(p) != "driver" {
			continue
		}
		s, err := parse(m.name(p), m.files[p])
		if err != nil {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != ownMethod || f.Body == nil || len(f.Body.List) == 0 {
				continue
			}
			if _, returns := f.Body.List[0].(*ast.ReturnStmt); returns && len(f.Body.List) == 1 {
				continue // as it was generated
			}
			o.note(fmt.Sprintf("%s:%d: %s is the author's own: it is kept, and still called beside this library, on a ticker of its own",
				s.name, s.fset.Position(f.Pos()).Line, ownMethod))
			return true
		}
	}
	return false
}
