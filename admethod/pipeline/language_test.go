// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"context"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// The language of the sinks' own words is the operator's, English where there is none.
func TestSinkLanguage(t *testing.T) {
	for language, want := range map[driver.Language]driver.Language{"": driver.English, driver.Chinese: driver.Chinese} {
		sinks := new(admethod.SinkRegistry)
		var told driver.Language
		sinks.Register("memory", admethod.SinkFactory{Name: "memory", New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			told = s.Language
			return nil, context.Canceled
		}})
		h, err := pipeline.NewHandler(pipeline.Options{Sinks: sinks, DefaultSinks: []string{"memory"}, Language: language, Replay: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		config, err := admethod.ParseSettings(map[string]any{"detector": "range", "detector.upper": 1})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = h.Bind(driver.Key{Namespace: "default", Device: "light-1", Property: "power"}, config, admethod.Meta{})
		if err := h.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		if told != want {
			t.Errorf("%q: the sink was told %q, want %q", language, told, want)
		}
	}
	if _, err := pipeline.NewHandler(pipeline.Options{Language: "fr"}); err == nil {
		t.Error("a language that nobody speaks is taken")
	}
}
