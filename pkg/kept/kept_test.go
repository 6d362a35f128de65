// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kept_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/kept"
)

// What is saved is there for the next one, once in a while, and at the end; what makes no sense is told.
func TestFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	f, got := kept.New(dir, "place.json", time.Hour), 0
	if found, err := f.Load(&got); found || err != nil {
		t.Errorf("the first start: %v, %v", found, err)
	}
	for _, c := range []struct {
		value int
		now   bool
		want  int
	}{{1, false, 1}, {2, false, 1}, {3, true, 3}} {
		if err := f.Save(c.value, c.now); err != nil {
			t.Fatal(err)
		}
		if found, err := kept.New(dir, "place.json", time.Hour).Load(&got); !found || err != nil || got != c.want {
			t.Errorf("after %d: %d, %v, %v; want %d", c.value, got, found, err, c.want)
		}
	}
	path := filepath.Join(dir, "place.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := f.Load(&got); found || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that makes no sense: %v, %v", found, err)
	}
	if err := kept.New("", "place.json", 0).Save(1, true); err != nil {
		t.Errorf("nowhere to keep it: %v", err)
	}
}
