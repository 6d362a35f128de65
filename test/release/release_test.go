// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const root = "../.."

func load(t *testing.T) config.Project {
	t.Helper()
	project, err := config.Load(filepath.Join(root, ".goreleaser.yaml")) // strict: an unknown key is an error
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// variable is one of the Makefile's.
func variable(t *testing.T, name string) []string {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` := (.*)$`).FindSubmatch(makefile)
	if m == nil {
		t.Fatalf("the Makefile has no %s", name)
	}
	return strings.Fields(string(m[1]))
}

// The programs and platforms that make cross builds are those that are released.
func TestBuilds(t *testing.T) {
	project := load(t)
	var programs, platforms []string
	for _, b := range project.Builds {
		programs = append(programs, b.Main)
		if b.Binary != filepath.Base(b.Main) || b.ID != b.Binary {
			t.Errorf("%s: id %q, binary %q", b.Main, b.ID, b.Binary)
		}
		if !slices.Contains(b.Env, "CGO_ENABLED=0") || !slices.Contains(b.Flags, "-trimpath") || !slices.Equal(b.Goos, []string{"linux"}) {
			t.Errorf("%s: env %v, flags %v, goos %v", b.ID, b.Env, b.Flags, b.Goos)
		}
		platforms = nil
		for _, arch := range b.Goarch {
			if arch == "arm" {
				for _, v := range b.Goarm {
					platforms = append(platforms, arch+"/"+v)
				}
				continue
			}
			platforms = append(platforms, arch)
		}
		if want := variable(t, "PLATFORMS"); !slices.Equal(platforms, want) {
			t.Errorf("%s is built for %v, make cross builds for %v", b.ID, platforms, want)
		}
		if mains, err := filepath.Glob(filepath.Join(root, b.Main, "main.go")); err != nil || len(mains) != 1 {
			t.Errorf("%s has no main.go", b.Main)
		}
	}
	if want := variable(t, "PROGRAMS"); !slices.Equal(programs, want) {
		t.Errorf("programs %v, make cross builds %v", programs, want)
	}
}

// Each program has an archive, and what goes into it exists.
func TestArchives(t *testing.T) {
	project := load(t)
	var archived []string
	for _, a := range project.Archives {
		archived = append(archived, a.IDs...)
		for _, f := range a.Files {
			if found, err := filepath.Glob(filepath.Join(root, f.Source)); err != nil || len(found) == 0 {
				t.Errorf("archive %s: nothing is at %s", a.ID, f.Source)
			}
		}
	}
	for _, b := range project.Builds {
		if !slices.Contains(archived, b.ID) {
			t.Errorf("%s is in no archive", b.ID)
		}
	}
	if project.Checksum.NameTemplate == "" || len(project.SBOMs) != 1 || project.SBOMs[0].Cmd != "cyclonedx-gomod" || project.SBOMs[0].Artifacts != "binary" {
		t.Errorf("checksums %q, bills of materials %+v", project.Checksum.NameTemplate, project.SBOMs)
	}
}

// bill is what a bill of materials must have.
type bill struct {
	Format   string `json:"bomFormat"`
	Metadata struct {
		Component struct{ PURL string }
	}
	Components []struct{ Name, Version string }
}

// What make cross and make sbom have made is static and complete. Without them there is nothing to check.
func TestBinaries(t *testing.T) {
	dist := filepath.Join(root, "dist")
	binaries, err := filepath.Glob(filepath.Join(dist, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range binaries {
		if strings.HasSuffix(path, ".json") {
			continue
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		n++
		arch := ""
		for _, s := range info.Settings {
			if s.Key == "GOARCH" {
				arch = s.Value
			}
			if s.Key == "CGO_ENABLED" && s.Value != "0" {
				t.Errorf("%s is built with cgo", path)
			}
		}
		raw, err := os.ReadFile(path + ".cdx.json")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var b bill
		if err := json.Unmarshal(raw, &b); err != nil || b.Format != "CycloneDX" {
			t.Errorf("%s.cdx.json: format %q, %v", path, b.Format, err)
		}
		if purl := b.Metadata.Component.PURL; !strings.Contains(purl, "goarch="+arch+"&goos=linux") {
			t.Errorf("%s.cdx.json is of %s", path, purl)
		}
		for _, m := range info.Deps {
			if !slices.ContainsFunc(b.Components, func(c struct{ Name, Version string }) bool { return c.Name == m.Path && c.Version == m.Version }) {
				t.Errorf("%s.cdx.json has no %s %s", path, m.Path, m.Version)
			}
		}
	}
	if n == 0 {
		t.Skip("no binaries: make cross sbom makes them")
	}
}
