// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	_ "github.com/kubeedge/edge-anomaly/admethod/source/all"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

// What the guide shows is right, but for the files that it names, and every source has a section in it.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := certtest.New().Issue(t, t.TempDir(), "detector")
	shown := make(map[string]bool)
	for i, part := range strings.Split(string(guide), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		var c struct {
			Sources []struct {
				Name    string
				Type    string
				Options map[string]any
			}
		}
		if err := yaml.UnmarshalStrict([]byte(text), &c); err != nil {
			t.Errorf("block %d: %v", i+1, err)
		}
		for _, s := range c.Sources {
			for _, key := range []string{"tokenFile", "passwordFile", "dsnFile"} {
				if s.Options[key] != nil {
					s.Options[key] = secret
				}
			}
			if s.Options["tls"] != nil {
				s.Options["tls"] = map[string]any{"cert": files.Cert, "key": files.Key}
				if s.Type == "sql" {
					s.Options["tls"] = map[string]any{"ca": files.CA}
				}
			}
			f, err := source.Sources.Lookup("source", s.Type)
			if err != nil {
				t.Errorf("block %d: %v", i+1, err)
				continue
			}
			shown[s.Type] = true
			if _, err := f.New(source.Settings{Name: s.Type, Options: s.Options, Report: func(string, string, error) {}}); err != nil {
				t.Errorf("block %d: %v", i+1, err)
			}
		}
	}
	for _, name := range []string{"file", "kubernetes", "mqtt", "otlp", "prometheus", "remotewrite", "sql"} {
		if !shown[name] {
			t.Errorf("there is no example of %s", name)
		}
	}
}
