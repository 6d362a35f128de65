// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"strconv"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/discrete"
)

// teller explains the verdicts of a detector that keeps no incident, from the verdict alone. It is the unit of what is
// read.
type teller string

func tellerOf(s driver.Settings) teller { return teller(s.Members[0].Unit) }

// Explain implements driver.Explainer.
func (t teller) Explain(r *driver.Result, in driver.Language) string {
	if !r.Severity.Anomalous() {
		return ""
	}
	w := words{in, string(t)}
	now, expected := w.number(r.Value), w.number(r.Expected)
	banded := r.Lower <= r.Upper
	switch {
	case r.Kind == driver.KindRange:
		return w.outside(r)
	case math.IsNaN(r.Expected) && r.Kind == driver.KindSpike:
		return w.say("is %[1]s, which no reading before comes near", "为 %[1]s，以往读数均与之相去甚远", now)
	case banded && r.Value >= r.Lower && r.Value <= r.Upper && r.Kind != driver.KindPattern:
		return w.say("is back at %[1]s, within %[2]s to %[3]s", "已回到 %[1]s，处于 %[2]s 至 %[3]s 之内", now, w.number(r.Lower), w.number(r.Upper))
	case banded && r.Value > r.Expected:
		return w.say("is %[1]s, %[2]s above %[3]s as expected, which had room up to %[4]s; %[5]s",
			"为 %[1]s，比预期的 %[3]s 高 %[2]s，正常上限为 %[4]s；%[5]s",
			now, w.number(r.Value-r.Expected), expected, w.number(r.Upper), w.few(r.Threshold))
	case banded:
		return w.say("is %[1]s, %[2]s below %[3]s as expected, which had room down to %[4]s; %[5]s",
			"为 %[1]s，比预期的 %[3]s 低 %[2]s，正常下限为 %[4]s；%[5]s",
			now, w.number(r.Expected-r.Value), expected, w.number(r.Lower), w.few(r.Threshold))
	case r.Kind == driver.KindPattern:
		return w.say("is %[1]s, at the end of readings that are unlike those before; %[2]s",
			"为 %[1]s，最近的读数与以往不同；%[2]s", now, w.chance(r.Score))
	}
	return w.say("is %[1]s; %[2]s", "为 %[1]s；%[2]s", now, w.chance(r.Score))
}

// few says of how many readings one is outside by chance.
func (w words) few(threshold float64) string {
	return w.say("1 in %[1]s readings is outside by chance", "每 %[1]s 个读数约有 1 个偶然超出", w.oneIn(driver.TailProbability(threshold)))
}

// chance says how often a score comes by chance.
func (w words) chance(score float64) string {
	return w.say("by chance that comes with 1 in %[1]s readings", "偶然出现的概率约为 %[1]s 个读数一次", w.oneIn(driver.TailProbability(score)))
}

// oneIn is 1/p with two digits, a million at most.
func (w words) oneIn(p float64) string {
	const most = 1e6
	if !(p > 1/most) {
		return w.say("over %[1]d", "超过 %[1]d", int(most))
	}
	n := 1 / p
	unit := math.Pow(10, math.Max(math.Floor(math.Log10(n))-1, 0))
	return strconv.FormatFloat(math.Round(n/unit)*unit, 'f', -1, 64)
}

func (d *freezeDetector) explain(r *driver.Result, w words) string {
	return w.say("stands still at %[1]s for %[2]d readings; it never did for more than %[3]d",
		"停留在 %[1]s 已 %[2]d 个读数；此前静止从未超过 %[3]d 个读数",
		w.number(r.Value), int(d.rests.Repeats())+1, int(d.rests.Longest())+1)
}

// Explain implements driver.Explainer.
func (d *statesDetector) Explain(r *driver.Result, in driver.Language) string {
	w := words{in, string(d.teller)}
	now := w.number(r.Value)
	if math.IsNaN(r.Value) { // its name is in the reading
		now = w.say("this state", "此状态")
	}
	switch d.event {
	case discrete.NewState:
		return w.say("is %[1]s, a state that was never met before", "为 %[1]s，此状态从未出现过", now)
	case discrete.Transition:
		return w.say("is %[1]s, a state that does not follow the one before", "为 %[1]s，此状态不应紧随前一状态出现", now)
	case discrete.TooShort:
		return w.say("is %[1]s; the state before ended sooner than it does", "为 %[1]s；前一状态结束得比平常早", now)
	case discrete.TooLong:
		return w.say("is %[1]s for longer than it ever is", "为 %[1]s，持续时间超过以往", now)
	case discrete.Flapping:
		return w.say("is %[1]s and changes too often", "为 %[1]s，状态变化过于频繁", now)
	}
	return ""
}
