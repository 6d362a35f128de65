// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// It is said in words by what auto knows what to expect of a stream.
func TestAutoDescribes(t *testing.T) {
	for _, tt := range []struct {
		name             string
		stream           signal
		readings         int
		english, chinese string
	}{
		{"a few readings", gaussian(81), 50, "learning: 50 of 100 readings", "50 / 100"},
		{"noise", gaussian(81), 4000, "no season was found", "没有发现周期"},
		{"season", rhythm(82), 8 * 1440, "a season of 24 min was found", "发现 24 分钟 的周期"},
		{"modes", multiMode(83), 8000, "some levels of its own", "固有水平"},
		{"counter", counter(84), 4000, "it counts", "累计值"},
		{"states", schedule(85), 8 * 1440, "a few states", "少数几种状态"},
	} {
		f := newFeeder(open(t, autoName, nil))
		for i := range tt.readings {
			f.feed(tt.stream(i))
		}
		d := f.d.(driver.Describer)
		if english, chinese := d.Describe(driver.English), d.Describe(driver.Chinese); !strings.Contains(english, tt.english) || !strings.Contains(chinese, tt.chinese) {
			t.Errorf("%s: %s; %s", tt.name, english, chinese)
		}
	}
}
