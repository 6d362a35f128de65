// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// yamlBlock is a block of YAML in a guide.
var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The program's configurations that guides have, whose first line says "# config.yaml", have no error.
func TestConfigurationsOfGuides(t *testing.T) {
	files, err := filepath.Glob("../../docs/*/*.md")
	must(t, err)
	checked := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		for _, m := range yamlBlock.FindAllSubmatch(raw, -1) {
			if !strings.HasPrefix(string(m[1]), "# config.yaml\n") {
				continue
			}
			checked++
			config := filepath.Join(t.TempDir(), "config.yaml")
			must(t, os.WriteFile(config, m[1], 0o600))
			var told strings.Builder
			if err := run(t.Context(), []string{"--config", config, "--check"}, &told); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if checked == 0 {
		t.Error("no guide has a configuration")
	}
}
