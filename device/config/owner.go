// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// names reads a list of sinks; nil where there is none.
func (p *parser) names(key string, v any) []string {
	switch v := v.(type) {
	case nil:
	case string:
		return splitList(v)
	case []any:
		names := make([]string, 0, len(v))
		for i, s := range v {
			name, ok := s.(string)
			if !ok {
				p.fail(fmt.Sprintf("%s[%d]", key, i), s, "the name of a sink")
			}
			names = append(names, name)
		}
		return names
	default:
		p.fail(key, v, "a list of names")
	}
	return nil
}

// budget reads the memory that the detectors of each namespace may take, in MiB: of all, and of some by name.
func (p *parser) budget(prefix string, all, some any) (b pipeline.Budget) {
	mebibytes := func(key string, v any) int64 {
		n, err := strconv.ParseInt(fmt.Sprint(v), 10, 32)
		if err != nil || n < -1 || n == 0 {
			p.fail(key, v, "a number of MiB, or -1 for no bound")
			return 0
		}
		return n << 20
	}
	if all != nil {
		b.Bytes = mebibytes(prefix+"budget", all)
	}
	for namespace, v := range p.mapping(prefix+"budgets", some) {
		if b.Of == nil {
			b.Of = make(map[string]int64)
		}
		b.Of[namespace] = mebibytes(prefix+"budgets."+namespace, v)
	}
	return b
}

// SinksForDevices are the sinks that a Device may name: those of deviceSinks or, where the file has no such list, those
// that the operator uses: sinks, and what defaults and routes name. nil means the handler's default.
func (a *AnomalyDetection) SinksForDevices() []string {
	if a.DeviceSinks != nil {
		return a.DeviceSinks
	}
	sinks := slices.Clone(a.Sinks)
	add := func(settings map[string]any) {
		for _, name := range params.List(settings["sinks"]) {
			if sinks == nil {
				sinks = []string{"log"}
			}
			if !slices.Contains(sinks, name) {
				sinks = append(sinks, name)
			}
		}
	}
	add(a.Defaults)
	for i := range a.Routes {
		add(a.Routes[i].Settings)
	}
	return sinks
}
