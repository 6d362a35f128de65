// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/group"
	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

// autogroupWords are the sentences of autogroup in one language.
type autogroupWords struct {
	learning, near, level, since, and       string
	relation, shape, still, noise, away, is string
}

var (
	autogroupEnglish = autogroupWords{
		learning: "learning: %d of %d rows",
		near:     "every member is near the level it held, and all agree as they did",
		level:    "%s left its level %s (%s to %s), at last with %s",
		since:    ", for %s",
		and:      "; ",
		relation: "%s is %s, not where the other members let it expect",
		shape:    "%s, last %s, moves in a shape unlike any before",
		still:    "%s stands still at %s for %d readings, longer than it does",
		noise:    "%s scatters more than it does, about %s; its usual moves are about %s",
		away:     "%s is %s, %s from %s before; it usually moves by %s in that time",
		is:       "%s is %s, away from the level it held",
	}
	autogroupChinese = autogroupWords{
		learning: "学习中：%d / %d 行",
		near:     "各成员都在其正常水平附近，相互关系也与以往一致",
		level:    "%s 偏离了其水平 %s（正常 %s 至 %s），最新值 %s",
		since:    "，已持续 %s",
		and:      "；",
		relation: "%s 为 %s，与其他成员所预示的不符",
		shape:    "%s（最新值 %s）的变化形态与以往任何时候都不同",
		still:    "%s 停留在 %s 已 %d 个读数，长于平常",
		noise:    "%s 波动大于平常，在 %s 附近；平常的变动约为 %s",
		away:     "%s 为 %s，偏离 %s（此前为 %s）；平常在这段时间内的变动为 %s",
		is:       "%s 为 %s，偏离了其原有水平",
	}
)

// Explain implements driver.Explainer.
func (d *autogroupDetector) Explain(r *driver.Result, in driver.Language) string {
	say := &autogroupEnglish
	if in == driver.Chinese {
		say = &autogroupChinese
	}
	switch {
	case r.Severity == driver.Unknown && d.seen <= uint64(d.config.TrainRows):
		return fmt.Sprintf(say.learning, d.seen, d.config.TrainRows)
	case !r.Severity.Anomalous() && !r.Ongoing:
		return say.near
	}
	var parts []string
	for _, cause := range r.Causes {
		if j := slices.Index(d.columns.keys, cause.Key); j >= 0 {
			parts = append(parts, d.tell(j, say, in))
		}
	}
	said := strings.Join(parts, say.and)
	if since := d.last.Sub(d.from); said != "" && since > 0 {
		said += fmt.Sprintf(say.since, words{in, ""}.duration(since))
	}
	return said
}

// tell says what is unusual about member j.
func (d *autogroupDetector) tell(j int, say *autogroupWords, in driver.Language) string {
	number := words{in, d.units[j]}.number
	name, now := d.columns.keys[j].String(), number(d.values[j])
	alone := d.monitor.Alone(j)
	switch sign, _ := d.monitor.Evidence(j); {
	case d.monitor.Charted(j):
		level, lower, upper := d.monitor.Expected(j)
		return fmt.Sprintf(say.level, name, number(level), number(lower), number(upper), now)
	case alone.Open && alone.Kind == watch.Freeze:
		return fmt.Sprintf(say.still, name, now, alone.Rows)
	case alone.Open && alone.Kind == watch.Noise:
		return fmt.Sprintf(say.noise, name, number(alone.Base), number(alone.Usual))
	case sign == group.Shape:
		return fmt.Sprintf(say.shape, name, now)
	case sign == group.Relation:
		return fmt.Sprintf(say.relation, name, now)
	case sign == group.Alone && alone.Usual > 0:
		return fmt.Sprintf(say.away, name, now, number(math.Abs(d.values[j]-alone.Base)), number(alone.Base), number(alone.Usual))
	}
	return fmt.Sprintf(say.is, name, now)
}
