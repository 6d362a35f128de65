// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// unpublished are modules that KubeEdge's ask for in versions that do not exist.
var unpublished = []string{"component-helpers", "controller-manager", "dynamic-resource-allocation"}

const unpublishedAs = "v0.32.10"

// patchModule adds what go.mod needs.
func (m *mapper) patchModule(o Options) error {
	name := m.name("go.mod")
	file, err := modfile.Parse(name, m.files["go.mod"], nil)
	if err != nil {
		return err
	}
	required := make(map[string]*modfile.Require)
	for _, r := range file.Require {
		required[r.Mod.Path] = r
	}
	needs := required[framework]
	if needs == nil {
		return fmt.Errorf("%s:1: does not require %s: it is no mapper that KubeEdge generated; adctl new writes one", name, framework)
	}
	if v := needs.Mod.Version; v != "v0.0.0" && (semver.Compare(v, oldest) < 0 || semver.MajorMinor(v) > semver.MajorMinor(upstream)) {
		return fmt.Errorf("%s:%d: requires %s %s, want %s to %s: generate the mapper anew with KubeEdge %s and take its driver over", name, needs.Syntax.Start.Line, framework, v, oldest, upstream, upstream)
	}
	version := o.SDKVersion
	if o.SDKPath != "" {
		version = "v0.0.0"
	}
	if has := required[SDK]; has == nil {
		if o.SDKPath != "" {
			if err := file.AddReplace(SDK, "", o.SDKPath, ""); err != nil {
				return err
			}
		}
		if err := file.AddRequire(SDK, version); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, path := range []string{kubeedgeAPI, framework} {
		if has := required[path]; has != nil && semver.Compare(has.Mod.Version, upstream) >= 0 {
			continue
		}
		if err := file.AddRequire(path, upstream); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if required[kubeedge] != nil { // older mappers took the DMI from it
		if err := file.DropRequire(kubeedge); err != nil {
			return err
		}
	}
	if err := m.dropReplaces(file); err != nil {
		return err
	}
	for _, name := range unpublished {
		if err := file.AddReplace("k8s.io/"+name, "", "k8s.io/"+name, unpublishedAs); err != nil {
			return err
		}
	}
	if file.Go == nil || semver.Compare("v"+file.Go.Version, "v"+goVersion) < 0 {
		if err := file.AddGoStmt(goVersion); err != nil {
			return err
		}
		file.DropToolchainStmt()
	}
	file.Cleanup()
	m.files["go.mod"], err = file.Format()
	return err
}

// dropReplaces removes the replaces that generate.sh leaves: they point beside KubeEdge's own tree, where the mapper was
// generated. Where nothing is there they break the build, and a framework before v1.23 has no anomalyDetection.
func (m *mapper) dropReplaces(file *modfile.File) error {
	for _, r := range append([]*modfile.Replace(nil), file.Replace...) {
		keep := true
		target := r.New.Path
		if r.New.Version == "" && !filepath.IsAbs(target) {
			target = filepath.Join(m.dir, filepath.FromSlash(target))
		}
		switch r.Old.Path {
		case kubeedge:
			keep = false
		case kubeedgeAPI:
			// An API of before v1.23 beside ours does not build.
			keep = r.New.Version != "" && semver.Compare(r.New.Version, upstream) >= 0 ||
				r.New.Version == "" && holds(filepath.Join(target, "apis", "devices", "v1beta1", "device_instance_types.go"), "AnomalyDetectionConfig")
		case framework:
			if r.New.Version != "" && semver.Compare(r.New.Version, upstream) < 0 {
				return fmt.Errorf("%s:%d: replaces %s by %s %s, want %s", m.name("go.mod"), r.Syntax.Start.Line, framework, r.New.Path, r.New.Version, upstream)
			}
			keep = r.New.Version != "" || holds(filepath.Join(target, "pkg", "common", "configmaptype.go"), "AnomalyDetectionConfig")
		}
		if !keep {
			if err := file.DropReplace(r.Old.Path, r.Old.Version); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds says whether there is a file that holds a text.
func holds(path, text string) bool {
	data, err := os.ReadFile(path)
	return err == nil && bytes.Contains(data, []byte(text))
}
