// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// lines of a page that begin so.
func lines(page, prefix string) (found []string) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, prefix) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func TestPredicted(t *testing.T) {
	f := start(t, 100)
	known := make(map[string]admethod.About)
	f.verdicts.about = func(k driver.Key) admethod.About { return known[k.Property] }
	told := make(map[string]string)
	f.verdicts.report = func(part, _ string, err error) {
		if told[part] = ""; err != nil {
			told[part] = err.Error()
		}
	}
	const part = "sink metrics: predicted metrics"
	page := func(batch ...driver.Result) string {
		t.Helper()
		if err := f.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		status, page := f.get(t, "/metrics")
		if status != http.StatusOK {
			t.Fatalf("status %d: %s", status, page)
		}
		return page
	}
	known["heat"] = admethod.About{Predicted: "heat_prophet", Labels: map[string]string{"__name__": "heat", "room": "1", "instance": "a:1", "nothing": ""}}
	heat := verdict("heat", 0.97)
	heat.Upper = math.NaN()
	got := lines(page(heat, verdict("other", 0.1)), "heat_prophet{")
	want := []string{
		`heat_prophet{instance="a:1",room="1",value_type="anomaly"} 1`,
		`heat_prophet{instance="a:1",room="1",value_type="score"} 0.97`,
		`heat_prophet{instance="a:1",room="1",value_type="yhat"} 20`,
		`heat_prophet{instance="a:1",room="1",value_type="yhat_lower"} 18`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("the page has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Another series of the same metric may have other labels, of names that Prometheus would not take.
	known["damp"] = admethod.About{Predicted: "heat_prophet", Labels: map[string]string{"room-nr": "2", "room.nr": "3", "7": "x", "value_type": "\xff"}}
	p := page(verdict("damp", 0.1))
	if line := `heat_prophet{_7="x",exported_value_type="` + "\uFFFD" + `",room_nr="2",value_type="yhat"} 20`; !strings.Contains(p, line) {
		t.Errorf("%s is not on the page: %q", line, lines(p, "heat_prophet"))
	}

	// What would spoil the whole scrape is not shown, and told, until it is mended.
	for name, about := range map[string]admethod.About{
		"twin": known["heat"], "own": {Predicted: "yhat"}, "mine": {Predicted: "edge_anomaly_readings_total"}, "none": {Predicted: "a-b"},
	} {
		known[name] = about
		if p := page(verdict(name, 0.1)); len(lines(p, "heat_prophet{")) != 9 || told[part] == "" {
			t.Errorf("%s: %q, told %q", name, lines(p, "heat_prophet{"), told[part])
		}
		known[name] = admethod.About{}
		if page(verdict(name, 0.1)); told[part] != "" {
			t.Errorf("%s: told %q, though it is mended", name, told[part])
		}
	}

	// Who is hidden takes the place of who is gone.
	known["twin"] = known["heat"]
	page(verdict("twin", 0.1))
	f.Forget(heat.Key)
	if p := page(); strings.Contains(p, `instance="a:1"`) {
		t.Errorf("a property that is gone is shown: %q", lines(p, "heat_prophet"))
	}
	if p := page(verdict("twin", 0.1)); !strings.Contains(p, `heat_prophet{instance="a:1",room="1",value_type="anomaly"} 0`) || told[part] != "" {
		t.Errorf("who was hidden is not shown: %q, told %q", lines(p, "heat_prophet"), told[part])
	}
	known["twin"] = admethod.About{Predicted: "twin_prophet"}
	if p := page(verdict("twin", 0.1)); len(lines(p, `twin_prophet{value_type=`)) != 5 || strings.Contains(p, `instance="a:1"`) {
		t.Errorf("another name: %q", lines(p, "twin_prophet"))
	}
	if len(f.verdicts.owners) != 2 {
		t.Errorf("owners: %v", f.verdicts.owners)
	}
}
