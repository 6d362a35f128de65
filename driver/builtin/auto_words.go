// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

// Explain implements driver.Explainer.
func (d *autoDetector) Explain(r *driver.Result, in driver.Language) string {
	w := words{in, d.member.Unit}
	if !r.Severity.Anomalous() {
		return ""
	}
	if r.Kind == driver.KindRange {
		return w.outside(r)
	}
	v := &d.verdict
	lasts := time.Duration(v.Rows) * d.stream.Interval()
	moved := math.Abs(r.Value - v.Base)
	switch r.Kind {
	case driver.KindFreeze:
		usual := time.Duration(d.stream.UsualRest() * float64(d.stream.Interval()))
		return w.say("stands still at %[1]s for %[2]s; 99 of 100 of its rests end within %[3]s",
			"停留在 %[1]s 已 %[2]s；其静止 100 次中有 99 次不超过 %[3]s", w.number(r.Value), w.duration(lasts), w.duration(usual))
	case driver.KindNoise:
		return w.say("scatters more than it does, for %[1]s, about %[2]s; usual moves are about %[3]s",
			"波动大于平常，已 %[1]s，在 %[2]s 附近；平常的变动约为 %[3]s", w.duration(lasts), w.number(v.Base), w.number(v.Usual))
	case driver.KindDrift:
		return w.say("went from %[1]s to %[2]s within %[3]s; it usually moves by %[4]s in that time",
			"在 %[3]s 内由 %[1]s 变为 %[2]s；平常在这段时间内的变动为 %[4]s", w.number(v.Base), w.number(r.Value), w.duration(lasts), w.number(v.Usual))
	case driver.KindLevel:
		return w.say("is at %[1]s for %[2]s, %[3]s from %[4]s before; it usually moves by %[5]s in that time",
			"处于 %[1]s 已 %[2]s，与此前的 %[4]s 相差 %[3]s；平常在这段时间内的变动为 %[5]s",
			w.number(r.Value), w.duration(lasts), w.number(moved), w.number(v.Base), w.number(v.Usual))
	case driver.KindPattern:
		return w.say("is %[1]s where %[2]s was to be expected, between %[3]s and %[4]s, and does not follow its rhythm for %[5]s",
			"为 %[1]s，而预期为 %[2]s（%[3]s 至 %[4]s），已 %[5]s 不符合其规律",
			w.number(r.Value), w.number(r.Expected), w.number(r.Lower), w.number(r.Upper), w.duration(lasts))
	case driver.KindState:
		return w.say("is %[1]s, a state that it never had or that it has for longer or shorter than it does, for %[2]s",
			"为 %[1]s，此状态从未出现，或持续时间异常，已 %[2]s", w.number(r.Value), w.duration(lasts))
	}
	return w.say("is %[1]s, %[2]s from %[3]s before; it usually moves by %[4]s",
		"为 %[1]s，与此前的 %[3]s 相差 %[2]s；平常的变动为 %[4]s", w.number(r.Value), w.number(moved), w.number(v.Base), w.number(v.Usual))
}

// Describe implements driver.Describer.
func (d *autoDetector) Describe(in driver.Language) string {
	w := words{in, d.member.Unit}
	if d.n <= d.needed {
		return w.say("learning: %[1]d of %[2]d readings", "学习中：%[1]d / %[2]d 个读数", d.n, d.needed)
	}
	switch structure, _ := d.Shows(); structure {
	case "season":
		return w.say("a season of %[1]s was found: what is expected is what was at that time of it", "发现 %[1]s 的周期：按周期中同一时刻的读数预期",
			w.duration(d.stream.Cycle()))
	case "counter":
		return w.say("it counts: steps like those before are expected", "为累计值：预期其增量与以往相同")
	case "modes":
		return w.say("it keeps to some levels of its own: one of them is expected", "在若干固有水平之间切换：预期为其中之一")
	case "states":
		return w.say("it has a few states: those that it had are expected, for as long as they lasted", "只有少数几种状态：预期为出现过的状态，持续时间与以往相同")
	}
	return w.say("no season was found: what is expected is near the readings before, by the moves that are usual", "没有发现周期：按平常的变动，预期在此前读数附近")
}

// Accept implements driver.Learner: a departure of the same shape begins no incident any more.
func (d *autoDetector) Accept(span driver.Span) error {
	var points []watch.Point
	before := math.NaN()
	if span.Rows == nil {
		points = d.stream.Remembered(d.clock.of(span.From), d.clock.of(span.To))
	} else {
		for row := range span.Rows {
			switch x, ok := reading(row); {
			case !ok || row[0].At.After(span.To):
			case row[0].At.Before(span.From):
				before = x
			default:
				points = append(points, watch.Point{X: x, At: d.clock.of(row[0].At)})
			}
		}
	}
	if len(points) == 0 {
		return fmt.Errorf("detector %q: no readings from %s to %s are remembered, want them with the span",
			autoName, span.From.Format(time.RFC3339), span.To.Format(time.RFC3339))
	}
	if !math.IsNaN(before) {
		return d.stream.AcceptAfter(before, points)
	}
	return d.stream.Accept(points)
}

// words makes sentences in a language, of numbers with a unit.
type words struct {
	in   driver.Language
	unit string
}

func (w words) say(english, chinese string, args ...any) string {
	if w.in == driver.Chinese {
		return fmt.Sprintf(chinese, args...)
	}
	return fmt.Sprintf(english, args...)
}

func (w words) number(x float64) string {
	s := strconv.FormatFloat(x, 'g', 4, 64)
	if a := math.Abs(x); a >= 1e4 && a < 1e15 {
		s = strconv.FormatFloat(x, 'f', 0, 64)
	}
	if w.unit != "" {
		s += " " + w.unit
	}
	return s
}

// duration is a time with the largest unit that it has some of.
func (w words) duration(d time.Duration) string {
	units := [...]struct {
		of               time.Duration
		english, chinese string
	}{
		{48 * time.Hour, " d", " 天"}, {2 * time.Hour, " h", " 小时"}, {2 * time.Minute, " min", " 分钟"}, {time.Second, " s", " 秒"},
	}
	for i, u := range units {
		if d >= u.of || i == len(units)-1 {
			one := [...]time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second}[i]
			n := strconv.FormatFloat(float64(d)/float64(one), 'g', 3, 64)
			if d >= 10*one {
				n = strconv.FormatFloat(math.Round(float64(d)/float64(one)), 'f', -1, 64)
			}
			if w.in == driver.Chinese {
				return n + u.chinese
			}
			return n + u.english
		}
	}
	return d.String()
}

// outside tells of a reading outside of fixed limits.
func (w words) outside(r *driver.Result) string {
	switch {
	case r.Value > r.Upper:
		return w.say("is %[1]s, above the limit of %[2]s", "为 %[1]s，高于上限 %[2]s", w.number(r.Value), w.number(r.Upper))
	case r.Value < r.Lower:
		return w.say("is %[1]s, below the limit of %[2]s", "为 %[1]s，低于下限 %[2]s", w.number(r.Value), w.number(r.Lower))
	}
	return w.say("is %[1]s, outside of its limits", "为 %[1]s，超出限值", w.number(r.Value))
}
