// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"

	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
)

func budgeted(t *testing.T, b pipeline.Budget) *pipeline.Handler {
	t.Helper()
	h := sinktest.Handler(t, pipeline.Options{Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{}, Budget: b})
	return h
}

func device(t *testing.T, settings map[string]any) admethod.ADMethodConfig {
	t.Helper()
	c, err := admethod.Layers{Device: settings}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A namespace gets what its budget has room for, is told what takes how much, and takes nothing from others. What is
// closed, replaced or refused is given back.
func TestBudget(t *testing.T) {
	forest := map[string]any{"detector": "iforest", "detector.trees": 300, "detector.sample": 1024, "detector.trainRows": 1024} // 11 MiB
	h := budgeted(t, pipeline.Budget{Bytes: 64 << 20, Of: map[string]int64{"large": -1, "small": 1 << 20}})
	bind := func(namespace string, i int, settings map[string]any) error {
		_, err := h.Bind(driver.Key{Namespace: namespace, Device: "d", Property: fmt.Sprint("p", i)}, device(t, settings), admethod.Meta{})
		return err
	}
	for round := range 3 { // the same properties again, each with another configuration: nothing adds up
		forest["threshold"] = 0.9 + float64(round)/100
		bound := 0
		var last error
		for i := range 12 {
			if err := bind("ns", i, forest); err == nil {
				bound++
			} else {
				last = err
			}
		}
		if bound != 5 {
			t.Errorf("round %d: %d series of 11 MiB fit in 64 MiB, want 5", round, bound)
		}
		var wrong *params.Error
		if !errors.As(last, &wrong) || wrong.Key != "detector.trees" || !strings.Contains(last.Error(), `"ns" has`) || !strings.Contains(last.Error(), "of its 64.0 MiB") {
			t.Errorf("refused with %v, want the parameter, what it takes and what there is", last)
		}
	}
	if err := bind("other", 0, forest); err != nil {
		t.Errorf("another namespace has a budget of its own: %v", err)
	}
	if err := bind("small", 0, forest); err == nil {
		t.Error("11 MiB fit in a budget of 1 MiB")
	}
	if err := bind("small", 0, map[string]any{"detector": "ewma"}); err != nil {
		t.Errorf("a cheap detector does not fit in 1 MiB: %v", err)
	}
	for i := range 12 {
		if err := bind("large", i, forest); err != nil {
			t.Errorf("no bound: %v", err)
		}
	}
}

// The members of a group are one stream, which is opened anew when one more joins.
func TestBudgetOfAGroup(t *testing.T) {
	h := budgeted(t, pipeline.Budget{Bytes: 2 << 20})
	config := device(t, map[string]any{"detector": "knn", "group": "g", "detector.windows": 4096, "detector.lag": 8})
	bound := 0
	var refused error
	for i := range 12 { // 320 KiB each
		key := driver.Key{Namespace: "ns", Device: "d", Property: fmt.Sprint("p", i)}
		if _, err := h.Bind(key, config, admethod.Meta{DataType: "double"}); err != nil {
			refused = err
			break
		}
		bound++
	}
	if bound < 4 || bound > 6 || refused == nil || !strings.Contains(refused.Error(), "detector.windows") {
		t.Errorf("%d members fit in 2 MiB, the next is refused with %v", bound, refused)
	}
}

// A client of a server has one, over its namespaces.
func TestBudgetOfATenant(t *testing.T) {
	h := budgeted(t, pipeline.Budget{Bytes: 24 << 20})
	config := device(t, map[string]any{"detector": "iforest", "detector.trees": 300, "detector.sample": 1024, "detector.trainRows": 1024})
	attach := func(tenant, namespace string) (*pipeline.Attachment, error) {
		return h.Attach(pipeline.AttachSettings{
			Members: []driver.Member{{Key: driver.Key{Namespace: namespace, Device: "d", Property: "p"}}}, Config: config, Tenant: tenant,
			Answer: func(uint64, *driver.Result, driver.Row) {},
		})
	}
	var open []*pipeline.Attachment
	for _, namespace := range []string{"a", "b"} {
		a, err := attach("mapper", namespace)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, a)
	}
	if _, err := attach("mapper", "c"); err == nil || !strings.Contains(err.Error(), `"mapper" has`) {
		t.Errorf("33 MiB in a budget of 24: error %v", err)
	}
	if a, err := attach("other", "c"); err != nil {
		t.Error(err)
	} else {
		a.Close()
	}
	open[0].Close()
	open[0].Close()
	a, err := attach("mapper", "c")
	if err != nil {
		t.Errorf("what was closed is not given back: %v", err)
	} else {
		open = append(open, a)
	}
	for _, a := range open {
		a.Close()
	}
}
