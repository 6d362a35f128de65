// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

// A model is a file below the model directory, whatever a Device calls it; with a directory for each namespace, below
// that of its own.
func TestModelsStayInTheirDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"ours/good": "1", "ours/deep/good": "2", "theirs/good": "3", "good": "4"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../theirs/good", filepath.Join(dir, "ours", "out")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, namespace, model string
		refused               string // by Bind
		trouble               string // told while it waits for the model
	}{
		{dir, "ours", "good", "", ""},
		{dir, "ours", "ours/deep/good", "", ""},
		{dir + "/{namespace}", "ours", "good", "", ""},
		{dir + "/{namespace}", "ours", "deep/good", "", ""},
		{dir + "/{namespace}", "ours", "out", "", "escapes"},
		{dir + "/{namespace}", "ours", "none", "", "no such file"},
		{dir + "/{namespace}", "ours", "../theirs/good", "below the model directory", ""},
		{dir + "/{namespace}", "ours", "/etc/passwd", "below the model directory", ""},
		{dir + "/{namespace}", "..", "good", "the namespace is not the name of a directory", ""},
		{dir + "/{namespace}", "ours/../theirs", "good", "the namespace is not the name of a directory", ""},
		{"", "ours", "good", "no model directory", ""},
	} {
		var told []string
		h := sinktest.Handler(t, pipeline.Options{
			Drivers: driver.NewRegistry(offsets()), ModelDir: c.dir,
			Hooks: admethod.Hooks{State: func(_ string, err error) { told = append(told, err.Error()) }},
		})
		config, err := admethod.Layers{Device: map[string]any{"detector": "offset", "model": c.model}}.Parse()
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Bind(driver.Key{Namespace: c.namespace, Device: "d", Property: "p"}, config, admethod.Meta{})
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%+v: error %v", c, err)
		}
		if got := strings.Join(told, "\n"); c.trouble == "" && got != "" || !strings.Contains(got, c.trouble) {
			t.Errorf("%+v: told %q", c, got)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
