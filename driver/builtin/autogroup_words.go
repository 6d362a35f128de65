// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/group"
)

// autogroupWords are the sentences of autogroup in one language.
type autogroupWords struct {
	learning, near, level, since, and string
	signs                             map[group.Sign]string
}

var (
	autogroupEnglish = autogroupWords{
		learning: "learning: %d of %d rows",
		near:     "every member is near the level it held, and all agree as they did",
		level:    "%s left its level %s (%s to %s), at last with %s",
		since:    ", for %v",
		and:      "; ",
		signs: map[group.Sign]string{
			group.Value:    "%s is %s, rarely so far from where it mostly is",
			group.Level:    "%s is %s, away from the level it held",
			group.Relation: "%s is %s, not where the other members let it expect",
			group.Shape:    "%s, last %s, moves in a shape unlike any before",
		},
	}
	autogroupChinese = autogroupWords{
		learning: "学习中：%d / %d 行",
		near:     "各成员都在其正常水平附近，相互关系也与以往一致",
		level:    "%s 偏离了其水平 %s（正常 %s 至 %s），最新值 %s",
		since:    "，已持续 %v",
		and:      "；",
		signs: map[group.Sign]string{
			group.Value:    "%s 为 %s，极少偏离常见值这么远",
			group.Level:    "%s 为 %s，偏离了其原有水平",
			group.Relation: "%s 为 %s，与其他成员所预示的不符",
			group.Shape:    "%s（最新值 %s）的变化形态与以往任何时候都不同",
		},
	}
)

// Explain implements driver.Explainer.
func (d *autogroupDetector) Explain(r *driver.Result, in driver.Language) string {
	words := &autogroupEnglish
	if in == driver.Chinese {
		words = &autogroupChinese
	}
	switch {
	case r.Severity == driver.Unknown && d.seen <= uint64(d.config.TrainRows):
		return fmt.Sprintf(words.learning, d.seen, d.config.TrainRows)
	case !r.Severity.Anomalous() && !r.Ongoing:
		return words.near
	}
	var parts []string
	for _, cause := range r.Causes {
		j := slices.Index(d.columns.keys, cause.Key)
		if j < 0 {
			continue
		}
		unit := d.units[j]
		number := func(x float64) string { return strings.TrimSpace(fmt.Sprintf("%.4g %s", x, unit)) }
		if d.monitor.Alarmed(j) {
			level, lower, upper := d.monitor.Expected(j)
			parts = append(parts, fmt.Sprintf(words.level, cause.Key, number(level), number(lower), number(upper), number(d.values[j])))
			continue
		}
		sign, _ := d.monitor.Evidence(j)
		if sign == group.None {
			sign = group.Level
		}
		parts = append(parts, fmt.Sprintf(words.signs[sign], cause.Key, number(d.values[j])))
	}
	said := strings.Join(parts, words.and)
	if since := d.last.Sub(d.from); said != "" && since > 0 {
		said += fmt.Sprintf(words.since, since)
	}
	return said
}
