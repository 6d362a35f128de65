// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The report of adctl draws with the page's code, in one file that asks nobody: its charts are there, and can be hovered.
func TestReport(t *testing.T) {
	ctx, dir := browser(t), t.TempDir()
	var csv strings.Builder
	csv.WriteString("timestamp,value,label\n")
	rng := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 3000 {
		v, label := 20+3*math.Sin(float64(i)/60)+0.3*rng.NormFloat64(), 0
		if i >= 2000 && i < 2030 || i >= 2500 && i < 2510 {
			v, label = v+8, 1
		}
		fmt.Fprintf(&csv, "%s,%.3f,%d\n", begin.Add(time.Duration(i)*time.Minute).Format(time.RFC3339), v, label)
	}
	readings, report := filepath.Join(dir, "week.csv"), filepath.Join(dir, "report.html")
	if err := os.WriteFile(readings, []byte(csv.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), cmp.Or(os.Getenv("GO"), "go"), "run", "./cmd/adctl", "detect", readings, "--report", report, "--output", os.DevNull, "--timezone", "Europe/Berlin")
	command.Dir = "../.."
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	do(ctx, t, chromedp.Navigate("file://"+report), chromedp.Poll(`document.querySelectorAll("[data-chart] canvas").length > 4`, nil))
	if drawn, places := evaluate[int](ctx, t, `document.querySelectorAll("[data-chart] canvas").length`), evaluate[int](ctx, t, `document.querySelectorAll("[data-chart]").length`); drawn != places || places < 5 {
		t.Errorf("%d of %d charts are drawn", drawn, places)
	}
	if asked := evaluate[int](ctx, t, `performance.getEntriesByType("resource").length`); asked != 0 {
		t.Errorf("it asks for %d files", asked)
	}
	evaluate[bool](ctx, t, `(() => {
		const o = document.querySelector(".u-over"), r = o.getBoundingClientRect();
		o.dispatchEvent(new MouseEvent("mousemove", { bubbles: true, clientX: r.left + 0.51 * r.width, clientY: r.top + 50 })); return true;
	})()`)
	says(ctx, t, ".u-legend", "2026-03-02 02:") // 01:30 UTC, wherever the browser is
	accessible(ctx, t, "report")
	shot(ctx, t, "report")
}
