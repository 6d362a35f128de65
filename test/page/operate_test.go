// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
)

// frames waits until the page has drawn.
var frames = chromedp.Evaluate(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`, nil,
	func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) })

// evaluate runs a script of the page.
func evaluate[T any](ctx context.Context, t *testing.T, script string) (value T) {
	t.Helper()
	do(ctx, t, chromedp.Evaluate(script, &value))
	return value
}

// evaluateLater runs a script that promises something.
func evaluateLater[T any](ctx context.Context, t *testing.T, script string) (value T) {
	t.Helper()
	do(ctx, t, chromedp.Evaluate(script, &value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return value
}

// During a fault the chart moves, and the incident is on the page within two seconds of the verdict.
func TestLiveFault(t *testing.T) {
	p, ctx := newPlant(t, 3000, nil), browser(t)
	b := p.bind(t, "boiler-3", "temperature", "°C", nil)
	p.read(t, b, 3000, p.around(62))
	p.enter(ctx, t, viewerToken, boilerPath)
	says(ctx, t, "dl.facts", "°C")
	tick := time.NewTicker(pace)
	defer tick.Stop()
	feed := func(until func() bool, value float64) {
		t.Helper()
		for range 600 {
			<-tick.C
			p.read(t, b, 1, p.around(value))
			if until() {
				return
			}
		}
		t.Fatal("it does not come")
	}
	n := 0
	before := evaluate[string](ctx, t, `document.querySelector("dl.facts").textContent`)
	feed(func() bool { n++; return n >= 15 }, 62)
	if after := evaluate[string](ctx, t, `document.querySelector("dl.facts").textContent`); after == before {
		t.Error("nothing moves")
	}
	called := p.pager.called()
	feed(func() bool { return p.pager.called() > called }, 80)
	told := time.Now()
	says(ctx, t, ".incidents li", "boiler-3 temperature")
	if took := time.Since(told); took > 2*time.Second {
		t.Errorf("the incident is there after %v", took)
	} else {
		t.Logf("the incident is there %v after the verdict", took)
	}
	says(ctx, t, "main", "It was never so high since")
	shot(ctx, t, "live")
}

// What was called normal by somebody raises no alarm again, and what is different does. Who said it and when is kept.
func TestFeedbackStopsTheRepeat(t *testing.T) {
	p, ctx := newPlant(t, 4000, nil), browser(t)
	b := p.bind(t, "boiler-3", "temperature", "°C", nil)
	p.read(t, b, 2000, p.around(62))
	cleaning := func() { p.read(t, b, 60, p.around(75)); p.read(t, b, 300, p.around(62)) }
	calls := p.pager.called()
	cleaning()
	if p.pager.called() != calls+1 {
		t.Fatalf("%d calls", p.pager.called()-calls)
	}
	p.enter(ctx, t, operatorToken, boilerPath)
	says(ctx, t, ".incidents", "boiler-3 temperature")
	do(ctx, t, chromedp.SendKeys(`.say input[autocomplete="name"]`, "Ada"), chromedp.SendKeys(`.say input[maxlength="200"]`, "is cleaned"), chromedp.Click(".say button"))
	says(ctx, t, ".says", "takes it for normal")
	accessible(ctx, t, "feedback")
	shot(ctx, t, "feedback")
	cleaning()
	if p.pager.called() != calls+1 {
		t.Error("it alerts again")
	}
	p.read(t, b, 60, p.around(40))
	if p.pager.called() != calls+2 {
		t.Error("something else does not alert")
	}
	said, err := labels.Read(p.dir + "/state")
	if err != nil || len(said) != 1 || said[0].By != "Ada" || said[0].Said.IsZero() || said[0].Label != "normal" {
		t.Errorf("%+v %v", said, err)
	}
	do(ctx, t, chromedp.Click("#audit"))
	says(ctx, t, "table", "Ada")
	says(ctx, t, "table", "said it was normal")
	accessible(ctx, t, "audit")
	shot(ctx, t, "audit")
}

// Who mutes is asked, what is muted is said on the first page, and nobody is called.
func TestMute(t *testing.T) {
	p, ctx := newPlant(t, 3000, nil), browser(t)
	b := p.bind(t, "boiler-3", "temperature", "°C", nil)
	p.read(t, b, 2000, p.around(62))
	p.enter(ctx, t, operatorToken, boilerPath)
	do(ctx, t, chromedp.Click("#mute"))
	says(ctx, t, ".say", "until")
	calls := p.pager.called()
	p.read(t, b, 60, p.around(80))
	says(ctx, t, ".incidents li", "boiler-3 temperature") // on the page it is
	if p.pager.called() != calls {
		t.Error("somebody was called")
	}
	do(ctx, t, chromedp.Click("header h1 a"))
	says(ctx, t, "ul.mutes", "boiler-3 temperature")
	accessible(ctx, t, "muted")
	shot(ctx, t, "muted")
	do(ctx, t, chromedp.Click("ul.mutes a"))
	do(ctx, t, chromedp.Click(`//button[text()="Alert again"]`))
	says(ctx, t, "main", "Alert nobody for a while")
	if len(p.Mutes()) != 0 {
		t.Error(p.Mutes())
	}
}

// Other settings are tried on what is recorded; the page says what would change, and what to write.
func TestTry(t *testing.T) {
	p, ctx := newPlant(t, 6000, nil), browser(t)
	b := p.bind(t, "boiler-3", "temperature", "°C", map[string]any{"detector": "ewma", "threshold": 0.9})
	p.read(t, b, 6000, func(i int) float64 {
		v := p.around(62)(i)
		switch {
		case i > 600 && i%500 == 0:
			v += 2.4
		case i == 3333:
			v += 30
		}
		return v
	})
	at := p.now.Add(-(6000 - 3333) * pace)
	err := labels.Add(p.dir+"/state", labels.Label{Namespace: "plant", Device: "boiler-3", From: at.Add(-time.Millisecond), To: at.Add(pace / 2), Label: "anomaly", Said: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	p.enter(ctx, t, viewerToken, boilerPath)
	do(ctx, t, chromedp.SendKeys("form.try input", "0.9995"), chromedp.Click("#try"))
	says(ctx, t, "p.answer strong", "instead of")
	says(ctx, t, "main", "1 of your 1 confirmed faults still found")
	says(ctx, t, "pre", "threshold: 0.9995")
	if n := evaluate[int](ctx, t, `document.querySelectorAll(".both canvas").length`); n != 2 {
		t.Errorf("%d charts", n)
	}
	accessible(ctx, t, "try")
	shot(ctx, t, "try")
	do(ctx, t, chromedp.Click("#language"))
	says(ctx, t, "main", "更改之前先试")
	do(ctx, t, chromedp.SendKeys("form.try input", "0.9995"), chromedp.Click("#try"))
	says(ctx, t, "p.answer strong", "报警")
	accessible(ctx, t, "try-zh")
	shot(ctx, t, "try-zh")
}

// What is recorded is shown as far back as it goes; a part that is chosen is asked for anew, in full.
func TestZoom(t *testing.T) {
	p, ctx := newPlant(t, 20000, nil), browser(t)
	b := p.bind(t, "boiler-3", "temperature", "°C", nil)
	p.read(t, b, 20000, p.around(62))
	p.enter(ctx, t, operatorToken, boilerPath)
	do(ctx, t, chromedp.Click(`//button[text()="all"]`))
	says(ctx, t, `button[aria-pressed="true"]`, "all")
	do(ctx, t, chromedp.WaitVisible(".u-over"), chromedp.ScrollIntoView(".u-over"))
	r := evaluate[map[string]float64](ctx, t, `(() => { const { left, top, width } = document.querySelector(".u-over").getBoundingClientRect(); return { left, top, width }; })()`)
	at := func(share float64) (x, y float64) { return r["left"] + share*r["width"], r["top"] + 50 }
	for _, step := range []struct {
		kind  input.MouseType
		share float64
	}{{input.MouseMoved, 0.3}, {input.MousePressed, 0.3}, {input.MouseMoved, 0.35}, {input.MouseMoved, 0.4}, {input.MouseReleased, 0.4}} {
		x, y := at(step.share)
		do(ctx, t, input.DispatchMouseEvent(step.kind, x, y).WithButton(input.Left).WithClickCount(1), frames)
	}
	says(ctx, t, "main", "Live")
	says(ctx, t, ".say legend", "What was it from")
	accessible(ctx, t, "zoomed")
	shot(ctx, t, "zoomed")
	for _, press := range []string{`[aria-label="earlier"]`, `[aria-label="later"] + button`} { // which are drawn anew all the time
		if !evaluate[bool](ctx, t, fmt.Sprintf(`(() => { const b = document.querySelector(%q); b?.click(); return !!b; })()`, press)) {
			t.Error("there is no ", press)
		}
	}
	do(ctx, t, chromedp.WaitNotPresent(`button[aria-label="later"]`))
}

// A viewer's token looks: what is said and muted is refused, and says why.
func TestViewerLooks(t *testing.T) {
	p, ctx := newPlant(t, 100, map[string]any{"viewer.namespaces": "office"}), browser(t)
	b := p.bind(t, "boiler-3", "temperature", "°C", nil)
	p.read(t, b, 100, p.around(62))
	p.enter(ctx, t, viewerToken, "")
	says(ctx, t, "main", "No property has been judged yet")
	says(ctx, t, "#status", "may look at office")
	if text := evaluate[string](ctx, t, "document.body.innerText"); strings.Contains(text, "boiler") {
		t.Error("it sees ", text)
	}
	do(ctx, t, chromedp.Navigate(address(p.api, boilerPath)))
	says(ctx, t, "main", "not for you to see")
	shot(ctx, t, "refused")
}
