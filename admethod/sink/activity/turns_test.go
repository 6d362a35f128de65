// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"slices"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Namespaces take turns: the run of one does not wait behind all that wait of another, nor behind those that hang.
func TestNamespacesTakeTurns(t *testing.T) {
	for name, c := range map[string]struct {
		hang bool // no run ends
		want []string
	}{
		"that end":  {false, []string{"loud", "modest", "quiet", "loud", "modest", "loud", "loud"}},
		"that hang": {true, []string{"loud", "loud", "modest", "quiet"}}, // two workers, and two for those of which none runs
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(setup(t, "activities: [{name: a, match: {}, command: {shell_file: a.sh}}]", map[string]string{"a.sh": ""}))
			config.Concurrency = 2
			s, err := newSink(config, "", new(httpapi.Routes))
			if err != nil {
				t.Fatal(err)
			}
			add := func(namespace string, n int) {
				for range n {
					s.waiting[namespace]++
					s.queued++
					s.enqueue(job{result: driver.Result{Key: driver.Key{Namespace: namespace}}})
				}
			}
			var got []string
			take := func() {
				j, _ := s.next()
				if s.taken(&j); !c.hang {
					s.ended(&j)
				}
				got = append(got, j.result.Key.Namespace)
			}
			add("loud", 4)
			if c.hang {
				take()
				take()
			}
			add("modest", 2)
			add("quiet", 1)
			for len(got) < len(c.want) {
				take()
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("they run in the order %v, want %v", got, c.want)
			}
			if left := s.queued; left != 7-len(c.want) || !c.hang && len(s.lined)+len(s.turns)+len(s.waiting)+len(s.running)+s.busy != 0 {
				t.Errorf("%d, %v, %v, %v, %v are left", left, s.lined, s.turns, s.waiting, s.running)
			}
		})
	}
}
