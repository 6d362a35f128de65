// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
)

// A property that is healthy and one that nobody watches differ in the log: each is told when it begins to be watched,
// and all together once, a minute after the start.
func TestLogTellsWhatIsWatched(t *testing.T) {
	journal := logstest.Capture(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pipeline.Options{}, over)
		b.bind(t, "a", "over", nil, admethod.Meta{})
		b.bind(t, "b", "over", nil, admethod.Meta{})
		for _, wrong := range []string{"c", "d", "d", "e"} {
			if _, err := b.tryBind(wrong, "nothing", nil, admethod.Meta{}); err == nil {
				t.Error("no error for a detector that does not exist")
			}
		}
		b.bind(t, "e", "over", nil, admethod.Meta{}) // is put right
		b.Forget(keyOf("c"))
		time.Sleep(5 * time.Minute) //nolint:forbidigo // in a bubble
	})
	text := journal.String()
	for line, want := range map[string]int{
		`"Property is watched" property="default/sensor-1/a" detector="over" adapter="inprocess"`: 1,
		`"Property is watched" property="default/sensor-1/e"`:                                     1,
		"watching 3 properties of 1 devices; 1 refused":                                           1,
	} {
		if n := strings.Count(text, line); n != want {
			t.Errorf("%q stands %d times in the log, want %d:\n%s", line, n, want, text)
		}
	}
}
