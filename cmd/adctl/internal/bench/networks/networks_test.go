// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package networks_test

import (
	"testing"
	"time"

	_ "github.com/kubeedge/edge-anomaly/driver/builtin"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/networks"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

func TestNetworksAreValid(t *testing.T) {
	for nodes, n := range map[int]*bayes.Network{3: networks.Room(), 10: networks.Random(10), 37: networks.Random(37)} {
		if err := n.Validate(); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		if len(n.Nodes) != nodes || len(n.Edges()) < nodes/2 {
			t.Errorf("%s has %d nodes and %d arcs", n.Name, len(n.Nodes), len(n.Edges()))
		}
	}
}

func TestQueryCostsNoMemory(t *testing.T) {
	for _, n := range []*bayes.Network{networks.Room(), networks.Random(37)} {
		q, err := networks.MeasureQuery(n, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if q.Allocs > 0.01 || q.Likelihood <= 0 || q.Judge <= 0 || q.Posterior <= 0 {
			t.Errorf("%+v: want times, and no allocations", q)
		}
	}
	if _, err := networks.MeasureQuery(&bayes.Network{Nodes: []bayes.Node{{Name: "n"}}}, time.Millisecond); err == nil {
		t.Error("a node without states: no error")
	}
}

func TestTraining(t *testing.T) {
	r, err := networks.MeasureTraining(t.Context(), "bayesnet", 2000, 5)
	if err != nil || r.Rows != 2000 || r.Columns != 5 || r.Seconds <= 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, detector := range []string{"ewma", "nobody"} {
		if _, err := networks.MeasureTraining(t.Context(), detector, 100, 1); err == nil {
			t.Errorf("%s: no error", detector)
		}
	}
}
