// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command protogen compiles .proto files and runs protoc plugins on them, as
// protoc does, but pinned by this module's go.mod and without a C++ toolchain.
//
//	protogen -root DIR [-check] -plugin PATH… FILE.proto…
//
// Imports and outputs are relative to the root. With -check nothing is
// written; the exit status is 1 if a file on disk is not what would be written.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	root := flag.String("root", ".", "`directory` of imports and outputs")
	check := flag.Bool("check", false, "compare with the files on disk instead of writing them")
	var plugins []string
	flag.Func("plugin", "`path` of a protoc plugin; may be repeated", func(s string) error {
		plugins = append(plugins, s)
		return nil
	})
	flag.Parse()
	if err := run(context.Background(), *root, plugins, flag.Args(), *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, plugins, names []string, check bool) error {
	if len(plugins) == 0 || len(names) == 0 {
		return errors.New("want at least one -plugin and one .proto file")
	}
	request, err := compile(ctx, root, names)
	if err != nil {
		return err
	}
	var stale []error
	for _, plugin := range plugins {
		files, err := generate(ctx, plugin, request)
		if err != nil {
			return err
		}
		for _, f := range files {
			path := filepath.Join(root, filepath.FromSlash(f.GetName()))
			if !check {
				if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
					return err
				}
				continue
			}
			old, err := os.ReadFile(path)
			if err != nil {
				stale = append(stale, err)
			} else if !bytes.Equal(old, []byte(f.GetContent())) {
				stale = append(stale, fmt.Errorf("%s is not what its .proto file generates; run make generate", path))
			}
		}
	}
	return errors.Join(stale...)
}

// compile returns the request that protoc would send to a plugin.
func compile(ctx context.Context, root string, names []string) ([]byte, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		// Plugins copy comments into what they generate.
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("paths=source_relative"),
	}
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		// A file comes after all that it imports.
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protodesc.ToFileDescriptorProto(fd))
	}
	for _, fd := range compiled {
		add(fd)
	}
	return proto.Marshal(request)
}

// generate runs a plugin and returns the files that it made.
func generate(ctx context.Context, plugin string, request []byte) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, plugin)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", plugin, err, strings.TrimSpace(stderr.String()))
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(stdout.Bytes(), &response); err != nil {
		return nil, fmt.Errorf("%s: response: %w", plugin, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, response.GetError())
	}
	return response.GetFile(), nil
}
