// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package incidents

import (
	"fmt"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Ending says how an incident ended, as in "new normal after 6 h"; "" while it lasts.
func Ending(i *driver.Incident, in driver.Language) string {
	lasted := Lasted(i.Duration(i.End), in)
	var format string
	switch i.Phase {
	case driver.Returned:
		format = either(in, "back to normal after %s", "持续 %s后恢复正常")
	case driver.NewNormal:
		format = either(in, "new normal after %s", "持续 %s后成为新常态")
	case driver.Abandoned:
		format = either(in, "no longer followed after %s", "持续 %s后不再跟踪")
	default:
		return ""
	}
	return fmt.Sprintf(format, lasted)
}

// Summary names an incident in one line: what of which property, and how it ended if it did.
func Summary(key driver.Key, i *driver.Incident, in driver.Language) string {
	what := strings.TrimSpace(severityWord(i.Severity, in) + " " + string(i.Kind))
	if ending := Ending(i, in); ending != "" {
		return fmt.Sprintf(either(in, "%v: %s: %s", "%v：%s：%s"), key, what, ending)
	}
	return fmt.Sprintf(either(in, "%v: %s", "%v：%s"), key, what)
}

// NotWatched is why an incident is abandoned whose property is gone.
func NotWatched(in driver.Language) string { return either(in, "no longer watched", "不再监测") }

func severityWord(s driver.Severity, in driver.Language) string {
	if in != driver.Chinese {
		return s.String()
	}
	switch s {
	case driver.Warning:
		return "警告"
	case driver.Critical:
		return "严重"
	case driver.Normal:
		return "正常"
	}
	return "未知"
}

func either(in driver.Language, english, chinese string) string {
	if in == driver.Chinese {
		return chinese
	}
	return english
}

// Lasted is a duration for people, in its two largest units: 45 s, 12 min, 6 h, 1 d 3 h.
func Lasted(d time.Duration, in driver.Language) string {
	units := []struct {
		name, chinese string
		of            time.Duration
	}{
		{"d", "天", 24 * time.Hour}, {"h", "小时", time.Hour}, {"min", "分钟", time.Minute}, {"s", "秒", time.Second},
	}
	if d < 10*time.Second {
		return fmt.Sprintf("%.2g %s", d.Seconds(), either(in, "s", "秒"))
	}
	for i, u := range units {
		if d < u.of {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.of, either(in, u.name, u.chinese))
		if i+1 < len(units) {
			next := units[i+1]
			if n := d % u.of / next.of; n > 0 {
				text += fmt.Sprintf(" %d %s", n, either(in, next.name, next.chinese))
			}
		}
		return text
	}
	return ""
}
