// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package incidents_test

import (
	"fmt"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
)

func ExampleSummary() {
	start := time.Unix(0, 0)
	i := driver.Incident{ID: 1, Phase: driver.Lasts, Start: start, Severity: driver.Critical, Kind: driver.KindLevel}
	fmt.Println(incidents.Summary(key, &i, driver.English))
	for _, phase := range []driver.Phase{driver.Returned, driver.NewNormal, driver.Abandoned} {
		i.Phase, i.End = phase, start.Add(6*time.Hour+20*time.Minute)
		fmt.Println(incidents.Summary(key, &i, driver.English))
	}
	fmt.Println(incidents.Summary(key, &i, driver.Chinese))
	// Output:
	// default/light-1/power: critical level
	// default/light-1/power: critical level: back to normal after 6 h 20 min
	// default/light-1/power: critical level: new normal after 6 h 20 min
	// default/light-1/power: critical level: no longer followed after 6 h 20 min
	// default/light-1/power：严重 level：持续 6 小时 20 分钟后不再跟踪
}

func ExampleLasted() {
	for _, d := range []time.Duration{
		0, 400 * time.Millisecond, 9 * time.Second, 45 * time.Second, 12 * time.Minute, 6 * time.Hour, 27*time.Hour + time.Minute, 800 * time.Hour,
	} {
		fmt.Println(incidents.Lasted(d, driver.English))
	}
	fmt.Println(incidents.Lasted(90*time.Minute, driver.Chinese))
	// Output:
	// 0 s
	// 0.4 s
	// 9 s
	// 45 s
	// 12 min
	// 6 h
	// 1 d 3 h
	// 33 d 8 h
	// 1 小时 30 分钟
}
