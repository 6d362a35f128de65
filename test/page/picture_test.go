// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
)

// TestPicture makes the picture of the README, at the path in PAGE_PICTURE: a boiler's thermometer that drops, and a pump
// that is noisier than usual.
func TestPicture(t *testing.T) {
	path := os.Getenv("PAGE_PICTURE")
	if path == "" {
		t.Skip("PAGE_PICTURE names no file")
	}
	ctx, s := browser(t), serve(t, httpapi.Config{})
	for i := range 3 {
		for _, kind := range []string{"boiler", "pump", "room"} {
			tell(t, s, verdict(fmt.Sprintf("%s-%d", kind, i+1), driver.Normal, 0))
		}
	}
	noisy := verdict("pump-2", driver.Warning, 0)
	noisy.Key.Property, noisy.Kind, noisy.Message = "vibration", driver.KindNoise, "scatters by 1.9 mm/s; it usually scatters by 0.4 mm/s"
	noisy.Incident = driver.Incident{ID: 0xdef, Phase: driver.Began, Start: time.Now().Add(-4 * time.Minute), Severity: driver.Warning, Kind: driver.KindNoise, Score: 0.97}
	tell(t, s, noisy)

	const readings, fault = 110, 85
	begin := time.Now()
	at := func(i int) time.Time { return begin.Add(time.Duration(i-readings) * 10 * time.Second) }
	rng := rand.New(rand.NewPCG(1, 2))
	judged := func(i int) driver.Result {
		expected := 62 + 3*math.Sin(float64(i)/14)
		r := verdict("boiler-3", driver.Normal, 0)
		r.At, r.Expected, r.Lower, r.Upper, r.Value = at(i), expected, expected-1, expected+1, expected+0.3*rng.NormFloat64()
		if i >= fault {
			r.Severity, r.Kind, r.Score, r.Value = driver.Critical, driver.KindLevel, 0.9996, r.Value-7
			r.Message = "went from 60.7 °C to 54.6 °C within 10 s; it usually moves by 0.5 °C in that time"
			r.Incident = driver.Incident{ID: 0xabc, Phase: driver.Lasts, Start: at(fault), Severity: driver.Critical, Kind: driver.KindLevel, Score: 0.9996}
		}
		return r
	}
	tell(t, s, judged(0))
	see := s.Hooks().Verdict
	do(ctx, t, chromedp.EmulateViewport(1000, 900), chromedp.Navigate(address(s, "#/property?namespace=plant&device=boiler-3&property=temperature")))
	says(ctx, t, "dl.facts", "auto")
	tick := time.NewTicker(120 * time.Millisecond)
	defer tick.Stop()
	for i := 1; i < readings; i++ {
		<-tick.C
		r := judged(i)
		see(&r)
	}
	last := judged(readings - 1)
	tell(t, s, last)
	says(ctx, t, ".incidents li.critical", "60.7 °C")
	var data []byte
	do(ctx, t, chromedp.WaitVisible("canvas"), chromedp.FullScreenshot(&data, 100))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	do(ctx, t, chromedp.Navigate(address(s, "")))
	says(ctx, t, ".incidents", "scatters")
	do(ctx, t, chromedp.FullScreenshot(&data, 100))
	if err := os.WriteFile(path[:len(path)-len(".png")]+"-devices.png", data, 0o600); err != nil {
		t.Fatal(err)
	}
}
