// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin_test

import (
	"encoding"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// TestSimpleDetectorsExplain: each detector that is chosen by name says what is wrong in one sentence, in both languages,
// also after a restart.
func TestSimpleDetectorsExplain(t *testing.T) {
	level := func(_ int, x float64) float64 { return x + 40 }
	for _, test := range []struct {
		detector         string
		config           map[string]any
		fault            func(i int, x float64) float64 // of the readings from 3,000 on
		english, chinese string
	}{
		{
			"ewma", nil, level, "is 59.66 °C, 39.59 °C above 20.07 °C as expected, which had room up to 24.27 °C; 1 in 8000 readings is outside by chance",
			"为 59.66 °C，比预期的 20.07 °C 高 39.59 °C，正常上限为 24.27 °C；每 8000 个读数约有 1 个偶然超出",
		},
		{"mad", nil, level, "", ""},
		{"forecast", nil, level, "", ""},
		{
			"range", map[string]any{"lower": 0, "upper": 50}, level, "is 59.66 °C, above the limit of 50 °C", "为 59.66 °C，高于上限 50 °C",
		},
		{
			"freeze", nil, func(int, float64) float64 { return 20 }, "stands still at 20 °C for 6 readings; it never did for more than 1",
			"停留在 20 °C 已 6 个读数；此前静止从未超过 1 个读数",
		},
		{
			"knn", nil, level, "is 59.66 °C, at the end of readings that are unlike those before; by chance that comes with 1 in over 1000000 readings",
			"为 59.66 °C，最近的读数与以往不同；偶然出现的概率约为 超过 1000000 个读数一次",
		},
	} {
		t.Run(test.detector, func(t *testing.T) {
			open := func() driver.Detector {
				s := driver.Settings{Members: []driver.Member{{
					Key: driver.Key{Device: "hall", Property: "roof"}, Unit: "°C", Minimum: math.NaN(), Maximum: math.NaN(),
				}}}
				d, err := driver.Default.Open(test.detector, s, test.config)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			d := open()
			r := rand.New(rand.NewPCG(1, 2))
			row := make(driver.Row, 1)
			var out driver.Result
			for i := range 4000 {
				x := 20 + r.NormFloat64()
				if i >= 3000 {
					x = test.fault(i, x)
				}
				row[0] = driver.Sample{At: time.Unix(1_700_000_000+int64(i), 0), Value: x}
				judge(d, row, &out)
				if i >= 3000 && out.Severity.Anomalous() {
					break
				}
			}
			if !out.Severity.Anomalous() {
				t.Fatal("the fault is not told")
			}
			english, chinese := d.(driver.Explainer).Explain(&out, driver.English), d.(driver.Explainer).Explain(&out, driver.Chinese)
			t.Log(english)
			t.Log(chinese)
			if test.english != "" && (english != test.english || chinese != test.chinese) {
				t.Errorf("got\n%s\n%s\nwant\n%s\n%s", english, chinese, test.english, test.chinese)
			}
			if w, o := restored(t, d, open()).Explain(&out, driver.English), english; w != o {
				t.Errorf("after a restart %q, before it %q", w, o)
			}
			out.Severity = driver.Normal
			if said := d.(driver.Explainer).Explain(&out, driver.English); said != "" {
				t.Errorf("of a normal reading it says %q", said)
			}
		})
	}
}

// restored is the detector to after it has taken from's snapshot, if there is one.
func restored(t *testing.T, from, to driver.Detector) driver.Explainer {
	t.Helper()
	m, ok := from.(encoding.BinaryMarshaler)
	if !ok {
		return to.(driver.Explainer)
	}
	data, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := to.(encoding.BinaryUnmarshaler).UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	return to.(driver.Explainer)
}
