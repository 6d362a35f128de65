// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Namespaces take turns: the run of one does not wait behind all that wait of another.
func TestNamespacesTakeTurns(t *testing.T) {
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: a.sh}}]",
		map[string]string{"a.sh": `echo "$ANOMALY_NAMESPACE" >> order; while ! [ -e go ]; do sleep 0.01; done`})
	s := start(t, dir, func(c *Config) { c.Concurrency = 1 })
	results := make([]driver.Result, 0, 24)
	for i := range 20 {
		results = append(results, verdict("light-"+strconv.Itoa(i), driver.Critical))
		results[i].Key.Namespace = "loud"
	}
	for i, namespace := range []string{"modest", "modest", "quiet"} {
		r := verdict("door-"+strconv.Itoa(i), driver.Critical)
		r.Key.Namespace = namespace
		results = append(results, r)
	}
	s.put(t, results...)
	sinktest.Eventually(t, "the first runs", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.status["a"].Running == 1 })
	write(t, s.folder+"/go", "")
	s.awaitRuns(t, "a", len(results))
	order := strings.Fields(read(t, s.folder+"/order"))
	want := []string{"loud", "modest", "quiet", "loud", "modest", "loud"}
	if len(order) != len(results) || !slices.Equal(order[:len(want)], want) {
		t.Errorf("ran in the order %v, want %v first", order, want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lined)+len(s.turns)+len(s.waiting) != 0 {
		t.Errorf("%v, %v, %v are left", s.lined, s.turns, s.waiting)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
