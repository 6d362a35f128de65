// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"context"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
)

// hover puts the pointer on a chart, at a share of its width, and returns what the legend says.
func hover(ctx context.Context, t *testing.T, chart string, share float64) string {
	t.Helper()
	do(ctx, t, chromedp.WaitVisible(chart+" canvas"), frames)
	return evaluate[string](ctx, t, `(() => {
		const chart = document.querySelector(`+"`"+chart+"`"+`), o = chart.querySelector(".u-over"), r = o.getBoundingClientRect();
		o.dispatchEvent(new MouseEvent("mousemove", { bubbles: true, clientX: r.left + `+strconv.FormatFloat(share, 'f', -1, 64)+` * r.width, clientY: r.top + 5 }));
		return chart.querySelector(".u-legend").textContent;
	})()`)
}

// What was expected of readings of the past is on the chart and in its legend; why it is expected is said in words, in both
// languages, and so is why an incident is one, with its numbers.
func TestSeasonInWords(t *testing.T) {
	const period = 120
	p, ctx := newPlant(t, 40*period, nil), browser(t)
	b := p.bind(t, "boiler-3", "temperature", "°C", nil)
	season := func(i int) float64 { return 62 + 5*math.Sin(2*math.Pi*float64(i)/period) + 0.1*p.rng.NormFloat64() }
	p.read(t, b, 40*period, season)
	p.enter(ctx, t, viewerToken, boilerPath)
	says(ctx, t, "dl.facts", "a season of 12 s was found")
	if legend := hover(ctx, t, ".chart", 0.7); !regexp.MustCompile(`Expected[56]\d\.\d+ °C.*between[56]\d\.\d+ … [67]\d\.\d+ °C$`).MatchString(legend) {
		t.Error("of the past it says ", legend)
	}
	shot(ctx, t, "season")
	p.read(t, b, 45, func(int) float64 { return 90 })
	tick := time.NewTicker(2 * pace)
	defer tick.Stop()
	for range 15 { // the page is told ten a second
		<-tick.C
		p.read(t, b, 1, func(int) float64 { return 90 })
	}
	says(ctx, t, ".incidents li", "90 °C")
	do(ctx, t, chromedp.Click("#language"))
	says(ctx, t, "dl.facts", "发现 12 秒 的周期")
	says(ctx, t, ".answer", "停留在 90 °C")
	says(ctx, t, ".incidents li", "停留在 90 °C")
	if text := evaluate[string](ctx, t, `document.querySelector(".incidents li p").innerText`); !strings.Contains(text, "停留在 90 °C 已 6 秒") {
		t.Error("in Chinese it says ", text)
	}
	accessible(ctx, t, "Chinese")
	shot(ctx, t, "season-zh")
}

// A property of words is drawn as its states, in steps, those of the past as those of now.
func TestStates(t *testing.T) {
	p, ctx := newPlant(t, 3000, nil), browser(t)
	b := p.bindText(t, "door-1", "state", map[string]any{})
	for i := range 3000 {
		b.ObserveAny(p.now, []string{"CLOSED", "OPEN"}[i/750%2])
		p.now = p.now.Add(pace)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.enter(ctx, t, viewerToken, "#/property?namespace=plant&device=door-1&property=state")
	says(ctx, t, "dl.facts", "OPEN")
	for share, want := range map[float64]string{0.1: "ReadingCLOSED", 0.35: "ReadingOPEN", 0.6: "ReadingCLOSED", 0.9: "ReadingOPEN"} {
		if legend := hover(ctx, t, ".chart", share); !strings.Contains(legend, want) {
			t.Errorf("at %v it says %s, want %s", share, legend, want)
		}
	}
	accessible(ctx, t, "states")
	shot(ctx, t, "states")
}

// Whom a group blames comes first, and alone: who contradicts it is told with it. What an incident says is what is so now, and
// of what is over the last comes first.
func TestBlameAndReasonsOfNow(t *testing.T) {
	ctx, s := browser(t), serve(t, httpapi.Config{})
	sensor, light := freeze("sensor-1", driver.Began, 0), freeze("light-2", driver.Began, 0)
	sensor.Severity, sensor.Incident.Severity = driver.Warning, driver.Warning
	sensor.Incident.ID, light.Incident.ID = 1, 2
	causes := []driver.Cause{{Key: sensor.Key, Weight: 1}}
	sensor.Causes, light.Causes, sensor.Message = causes, causes, "stands still for 1 s"
	tell(t, s, sensor, light)
	do(ctx, t, chromedp.Navigate(address(s, "")))
	says(ctx, t, ".incidents li", "sensor-1 temperature: stands still for 1 s")
	says(ctx, t, ".incidents li", "Looks wrong because of it: light-2 temperature")
	if n := evaluate[int](ctx, t, `document.querySelectorAll(".incidents li").length`); n != 1 {
		t.Errorf("%d are wrong", n)
	}
	shot(ctx, t, "blame")
	see := s.Hooks().Verdict
	sensor.At, sensor.Incident.Phase, sensor.Message = sensor.At.Add(13*time.Second), driver.Lasts, "stands still for 13 s"
	see(&sensor)
	says(ctx, t, ".incidents li", "stands still for 13 s")
	accessible(ctx, t, "blame")
	for i, device := range []string{"boiler-1", "boiler-2", "boiler-3"} {
		r := freeze(device, driver.Returned, time.Duration(i)*time.Second)
		r.Incident.ID, r.Incident.Severity = uint64(10+i), []driver.Severity{driver.Critical, driver.Warning, driver.Warning}[i]
		tell(t, s, r)
	}
	says(ctx, t, "main section:last-child", "boiler-3")
	if got := evaluate[string](ctx, t, `[...document.querySelectorAll("main section:last-child li a")].map((a) => a.innerText.split(" ")[0]).join()`); got != "boiler-3,boiler-2,boiler-1" {
		t.Error("what was wrong: ", got)
	}
}

// Devices are filtered by their node, as by their namespace and model, and by their labels.
func TestNode(t *testing.T) {
	sink, err := httpapi.Factory().New(admethod.SinkSettings{
		Options: map[string]any{"address": "127.0.0.1:0"}, Stats: func() admethod.Stats { return admethod.Stats{} },
		About: func(k driver.Key) admethod.About {
			return admethod.About{Node: "edge-" + k.Device[len(k.Device)-1:], Labels: map[string]string{"hall": strings.Split(k.Device, "-")[0]}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := sink.(*httpapi.Server)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.WithoutCancel(t.Context())) })
	ctx := browser(t)
	tell(t, s, verdict("boiler-1", driver.Normal, 0), verdict("pump-1", driver.Normal, 0), verdict("pump-2", driver.Normal, 0))
	do(ctx, t, chromedp.Navigate(address(s, "")), chromedp.WaitVisible(`select[aria-label="Node"]`), chromedp.SetValue(`select[aria-label="Node"]`, "edge-2"),
		chromedp.Evaluate(`document.querySelector('select[aria-label="Node"]').dispatchEvent(new Event("change"))`, nil))
	says(ctx, t, "main", "1 of 3 devices")
	says(ctx, t, ".devices", "pump-2")
	accessible(ctx, t, "node")
	do(ctx, t, chromedp.Evaluate(`(() => { const node = document.querySelector('select[aria-label="Node"]'); node.value = ""; node.dispatchEvent(new Event("change")); })()`, nil),
		chromedp.SendKeys("input[type=search]", "hall=boil"))
	says(ctx, t, ".devices", "boiler-1")
	says(ctx, t, "main", "1 of 3 devices")
}
