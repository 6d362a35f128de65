// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package page_test looks at the page for operators as they do: in a real Chromium. Without one the tests are left out,
// unless PAGE_REQUIRED is set.
package page_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
)

// browser opens a page that is gone when the test ends. Errors on its console are the test's.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("PAGE_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skip("no chromium: ", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-quic", true), chromedp.WindowSize(1200, 900), chromedp.Env("LANGUAGE=en"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() { // waits until the browser has gone, with its directory
		_ = chromedp.Cancel(ctx) // it may be gone already
		cancel()
	})
	var mu sync.Mutex
	var bad []string
	chromedp.ListenTarget(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			bad = append(bad, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				bad = append(bad, fmt.Sprint(e.Args))
			}
		}
	})
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, text := range bad {
			t.Error("console: ", text)
		}
	})
	return ctx
}

func do(ctx context.Context, t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// patience is for a machine that has much else to do: the page shows what comes within half a second.
const patience = 15 * time.Second

// says waits until the page says a text.
func says(ctx context.Context, t *testing.T, selector, want string) {
	t.Helper()
	var text string
	start := time.Now()
	err := chromedp.Run(ctx, chromedp.Poll(fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, want), nil,
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	if err != nil {
		_ = chromedp.Run(ctx, chromedp.Text(selector, &text))
		t.Fatalf("after %v %s does not say %q but\n%s", time.Since(start), selector, want, text)
	}
}

// serve starts the API at an address, or any where that is "".
func serve(t *testing.T, c httpapi.Config) *httpapi.Server {
	t.Helper()
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	s, err := httpapi.New(c, new(httpapi.Routes))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.WithoutCancel(t.Context())) }) // a test may have ended it
	return s
}

func address(s *httpapi.Server, path string) string {
	return "http://" + s.Addr().String() + "/" + path
}

var start = time.Now().Add(-time.Minute)

func verdict(device string, severity driver.Severity, at time.Duration) driver.Result {
	return driver.Result{
		Key: driver.Key{Namespace: "plant", Device: device, Property: "temperature"}, At: start.Add(at),
		Severity: severity, Score: 0.1, Value: 21.5, Expected: 21.4, Lower: 20, Upper: 23, Threshold: 0.95, Detector: "auto", Config: "4711",
	}
}

// freeze is a verdict within an incident, or that it is over.
func freeze(device string, phase driver.Phase, at time.Duration) driver.Result {
	r := verdict(device, driver.Critical, at)
	r.Kind, r.Score, r.Message = driver.KindFreeze, 0.999, "stands still at 21.67 °C for 14 min; it has moved within 12 s at any time"
	r.Incident = driver.Incident{ID: 0xabc, Phase: phase, Start: start, Severity: driver.Critical, Kind: driver.KindFreeze, Score: 0.999}
	if !phase.Open() {
		r.Severity, r.Kind, r.Message, r.Incident.End = driver.Normal, driver.KindNone, "", r.At
	}
	return r
}

func tell(t *testing.T, s *httpapi.Server, results ...driver.Result) {
	t.Helper()
	if err := s.Write(t.Context(), results); err != nil {
		t.Fatal(err)
	}
}

func TestOverview(t *testing.T) {
	ctx, s := browser(t), serve(t, httpapi.Config{})
	tell(t, s, verdict("boiler-1", driver.Normal, 0), verdict("boiler-3", driver.Normal, 0))
	do(ctx, t, chromedp.Navigate(address(s, "")))
	says(ctx, t, "main", "Nothing is wrong")
	says(ctx, t, ".devices", "boiler-3")

	tell(t, s, freeze("boiler-3", driver.Began, time.Second))
	says(ctx, t, ".incidents li.critical", "boiler-3 temperature: stands still at 21.67 °C for 14 min")
	says(ctx, t, ".devices li:first-child", "boiler-3") // the worst comes first
	tell(t, s, freeze("boiler-3", driver.Returned, 2*time.Second))
	says(ctx, t, "main", "Nothing is wrong")
	says(ctx, t, "main section:last-child", "stands still at 21.67 °C")

	do(ctx, t, chromedp.SendKeys("input[type=search]", "BOILER-1"))
	says(ctx, t, "main", "1 of 2 devices")
	do(ctx, t, chromedp.Click("#language"))
	says(ctx, t, "main", "一切正常")
}

func TestProperty(t *testing.T) {
	ctx, s := browser(t), serve(t, httpapi.Config{})
	tell(t, s, verdict("boiler-3", driver.Normal, 0))
	see := s.Hooks().Verdict
	do(ctx, t, chromedp.Navigate(address(s, "")), chromedp.Click(".devices a"), chromedp.WaitVisible("canvas"))
	says(ctx, t, "dl.facts", "20 and 23")
	feed := func(v float64, at time.Duration) {
		r := verdict("boiler-3", driver.Normal, at)
		r.Value = v
		see(&r)
	}
	tick := time.NewTicker(120 * time.Millisecond)
	defer tick.Stop()
	for i := range 20 {
		<-tick.C
		feed(21+math.Sin(float64(i)/3), time.Duration(i+1)*time.Second)
	}
	for range 3 { // a busy machine has ticks that come late, and the next one soon after
		<-tick.C
	}
	feed(22.25, 21*time.Second)
	says(ctx, t, "dl.facts", "22.25")
	r := freeze("boiler-3", driver.Began, 22*time.Second)
	see(&r)
	says(ctx, t, "main", "stands still at 21.67 °C")
	says(ctx, t, ".incidents li.critical", "stands still")
	do(ctx, t, chromedp.Click(".say button"))
	says(ctx, t, ".says", "tokenFile") // who may say so is told

	// A phone, in the dark.
	var wide bool
	do(ctx, t, chromedp.EmulateViewport(390, 800), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}),
		chromedp.Poll("document.querySelector('canvas')?.clientWidth < 390", nil), chromedp.Evaluate("document.documentElement.scrollWidth > innerWidth", &wide))
	if wide {
		t.Error("a phone has to scroll sideways")
	}
	var color string
	if do(ctx, t, chromedp.Evaluate("getComputedStyle(document.body).backgroundColor", &color)); color != "rgb(13, 17, 23)" {
		t.Error("the dark is ", color)
	}
	do(ctx, t, chromedp.WaitVisible("canvas")) // drawn anew in its colours
}

// TestAccessible has axe-core look for what a keyboard or a screen reader cannot use, and for what is hard to read.
func TestAccessible(t *testing.T) {
	path := os.Getenv("PAGE_AXE")
	if path == "" {
		t.Skip("PAGE_AXE names no axe.min.js")
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		ctx, s := browser(t), serve(t, httpapi.Config{})
		tell(t, s, freeze("boiler-3", driver.Began, 0), verdict("boiler-1", driver.Normal, 0))
		do(ctx, t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}), chromedp.Navigate(address(s, "")))
		check := func(shown string) {
			var violations []string
			do(ctx, t, chromedp.Evaluate(string(axe)+";0", nil), chromedp.Evaluate(
				"axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(', ')))", &violations,
				func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
			for _, v := range violations {
				t.Errorf("%s, %s: %s", scheme, shown, v)
			}
		}
		says(ctx, t, ".devices", "boiler-3")
		check("all devices")
		do(ctx, t, chromedp.Click(".devices a"), chromedp.WaitVisible("canvas"))
		check("a property")
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, s := browser(t), serve(t, httpapi.Config{TokenFile: file})
	tell(t, s, verdict("boiler-1", driver.Normal, 0))
	do(ctx, t, chromedp.Navigate(address(s, "")), chromedp.WaitVisible("#token"))
	var text string
	if do(ctx, t, chromedp.Text("body", &text)); strings.Contains(text, "boiler-1") {
		t.Error("devices are shown to whom has no token")
	}
	do(ctx, t, chromedp.SendKeys("#token", "no\r"))
	says(ctx, t, "[role=alert]", "not the token")
	do(ctx, t, chromedp.SendKeys("#token", "0123456789abcdef\r"))
	says(ctx, t, ".devices", "boiler-1")
}

func TestAwayAndBack(t *testing.T) {
	ctx, s := browser(t), serve(t, httpapi.Config{})
	tell(t, s, verdict("boiler-1", driver.Normal, 0))
	do(ctx, t, chromedp.Navigate(address(s, "")))
	says(ctx, t, ".devices", "boiler-1")
	at := s.Addr().String()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	says(ctx, t, "#status", "does not answer")
	s = serve(t, httpapi.Config{Address: at})
	tell(t, s, verdict("boiler-2", driver.Warning, 0))
	says(ctx, t, ".devices", "boiler-2")
}

// TestManyDevices holds what a wall of 10,000 devices costs.
func TestManyDevices(t *testing.T) {
	const n = 10_000
	ctx, s := browser(t), serve(t, httpapi.Config{})
	for i := range n {
		tell(t, s, verdict(fmt.Sprintf("sensor-%05d", i), driver.Normal, 0))
	}
	begin := time.Now()
	do(ctx, t, chromedp.Navigate(address(s, "")))
	says(ctx, t, "main", "10000 devices")
	paint := time.Since(begin)
	begin = time.Now()
	do(ctx, t, chromedp.SendKeys("input[type=search]", "sensor-09999"))
	says(ctx, t, "main", "1 of 10000 devices")
	filtered := time.Since(begin) / time.Duration(len("sensor-09999"))
	var heap float64
	do(ctx, t, chromedp.Evaluate("performance.memory?.usedJSHeapSize ?? 0", &heap))
	t.Logf("%d devices are there after %v, a letter of the filter takes %v, in %.0f MiB", n, paint, filtered, heap/(1<<20))
	if heap > 150<<20 {
		t.Errorf("the tab takes %.0f MiB", heap/(1<<20))
	}
}
