// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/metrics"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rule is an alert of rules.yaml.
type rule struct{ Alert, Expr string }

func rules(t *testing.T) (all []rule) {
	t.Helper()
	raw, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// dashboard is what of Grafana's model is looked at.
type dashboard struct {
	Templating struct {
		List []struct {
			Name, Type string
			Definition string
		}
	}
	Annotations struct{ List []struct{ Expr string } }
	Panels      []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ RefID, Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	raw, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var variable = regexp.MustCompile(`\$\{?(\w+)\}?`)

// queries are the expressions of the dashboard, by the title of their panel, with every variable at All.
func (d *dashboard) queries(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string]string{"__rate_interval": "1m"}
	for _, v := range d.Templating.List {
		known[v.Name] = ".*"
	}
	fill := func(expr string) string {
		return variable.ReplaceAllStringFunc(expr, func(name string) string {
			value, ok := known[variable.FindStringSubmatch(name)[1]]
			if !ok {
				t.Errorf("%s: there is no variable %s", expr, name)
			}
			return value
		})
	}
	out := make(map[string][]string)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			out[p.Title] = append(out[p.Title], fill(target.Expr))
		}
	}
	for _, a := range d.Annotations.List {
		out["annotations"] = append(out["annotations"], fill(a.Expr))
	}
	return out
}

func TestDashboardIsWellFormed(t *testing.T) {
	d := readDashboard(t)
	ids := make(map[int]bool)
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: the id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%s: does not fit: %+v", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s and %s overlap", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			if refs[target.RefID] || target.RefID == "" || target.Expr == "" {
				t.Errorf("%s: target %+v", p.Title, target)
			}
			refs[target.RefID] = true
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("%s: %d targets", p.Title, len(p.Targets))
		}
	}
	if len(d.queries(t)) < 15 {
		t.Errorf("%d panels", len(d.Panels))
	}
}

// told gives every verdict that there is to show: a forecast, a model, a reading that takes time.
type told struct{}

func (told) Detect(row driver.Row, out *driver.Result) {
	out.Model, out.Expected, out.Lower, out.Upper = "room@3f2a", 20, 18, 22
	out.Judge(row[0].Value, driver.KindSpike)
}

// scrape is the page of a mapper that has judged readings.
func scrape(t *testing.T) string {
	t.Helper()
	adapters, sinks := new(admethod.AdapterRegistry), new(admethod.SinkRegistry)
	adapters.Register(inprocess.Name, inprocess.Factory())
	sinks.Register(metrics.Name, metrics.Factory())
	address := proctest.FreeAddress(t)
	h := sinktest.Handler(t, pipeline.Options{
		Drivers: driver.NewRegistry(driver.NewFactory(driver.Info{Name: "told"}, func() struct{} { return struct{}{} },
			func(driver.Settings, struct{}) (driver.Detector, error) { return told{}, nil })),
		Adapters: adapters, Sinks: sinks, DefaultSinks: []string{metrics.Name}, Replay: true,
		SinkOptions: map[string]map[string]any{metrics.Name: {"address": address}},
	})
	binding := sinktest.Watch(t, h, driver.Key{Namespace: "default", Device: "light-1", Property: "power"}, map[string]any{"detector": "told"}, admethod.Meta{})
	for i := range 2 * admethod.JudgedEvery {
		binding.Observe(time.Unix(int64(i), 0), 0.96)
		if err := h.Flush(t.Context()); err != nil { // each by itself: of what is judged together, all or nothing is timed
			t.Fatal(err)
		}
	}
	get(t, "http://"+address+"/metrics") // names of sinks are met by the first scrape
	return get(t, "http://"+address+"/metrics")
}

// get fetches a page; it is empty where there is none.
func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(page)
}

var (
	quoted     = regexp.MustCompile(`"[^"]*"`)
	grouping   = regexp.MustCompile(`\b(by|without|on|ignoring)\s*\([^)]*\)`)
	identifier = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*(\s*\()?`)
	matcher    = regexp.MustCompile(`\{[^}]*\}`)
	duration   = regexp.MustCompile(`\[[^\]]*\]`)
)

// names are the metrics that an expression asks for.
func names(expr string) (out []string) {
	expr = quoted.ReplaceAllString(expr, `""`)
	expr = matcher.ReplaceAllString(expr, "")
	expr = grouping.ReplaceAllString(expr, "")
	expr = duration.ReplaceAllString(expr, "")
	for _, name := range identifier.FindAllString(expr, -1) {
		if !strings.HasSuffix(name, "(") && !slices.Contains([]string{"and", "or", "unless", "bool", "offset"}, name) {
			out = append(out, name)
		}
	}
	return out
}

func TestNames(t *testing.T) {
	got := names(`max without (detector) (a{x=~"b", y="c"}) == 3 and histogram_quantile(0.9, sum by (le) (rate(d_bucket[5m]))) or vector(0)`)
	if !slices.Equal(got, []string{"a", "d_bucket"}) {
		t.Errorf("%q", got)
	}
}

// Every metric that the rules and the dashboard ask for is on the page of a mapper.
func TestMetricsExist(t *testing.T) {
	shown := make(map[string]bool)
	for line := range strings.Lines(scrape(t)) {
		if name := identifier.FindString(line); name != "" && !strings.HasPrefix(line, "#") {
			shown[name] = true
		}
	}
	// Only sinks with counts of their own have it, which is not metrics itself; Prometheus itself makes the others.
	elsewhere := []string{"edge_anomaly_sink_measure", "up", "ALERTS"}
	asked := 0
	check := func(where, expr string) {
		found := names(expr)
		asked += len(found)
		if len(found) == 0 {
			t.Errorf("%s: no metric in %s", where, expr)
		}
		for _, name := range found {
			if !shown[name] && !slices.Contains(elsewhere, name) {
				t.Errorf("%s asks for %s, which no mapper shows", where, name)
			}
		}
	}
	for _, r := range rules(t) {
		check(r.Alert, r.Expr)
	}
	d := readDashboard(t)
	for title, exprs := range d.queries(t) {
		for _, expr := range exprs {
			check(title, expr)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			expr := strings.TrimPrefix(v.Definition, "label_values(")
			check("variable "+v.Name, expr[:strings.LastIndex(expr, ",")])
		}
	}
	if asked < 40 {
		t.Errorf("only %d metrics are asked for", asked)
	}
}

func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), proctest.Program(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "FAILED") {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	promtool(t, "", "check", "rules", "rules.yaml")
	promtool(t, "", "check", "config", "prometheus.yml")
	promtool(t, "", "test", "rules", "rules_test.yaml")
	promtool(t, scrape(t), "check", "metrics")

	// The dashboard's queries, as rules.
	type record struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var records []record
	d := readDashboard(t)
	all := d.queries(t)
	for _, title := range slices.Sorted(maps.Keys(all)) {
		for _, expr := range all[title] {
			records = append(records, record{"panel_" + strconv.Itoa(len(records)), expr})
		}
	}
	raw, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": records}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

// Every alert has a case in which it fires, and one in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	raw, err := os.ReadFile("rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert    string `json:"alertname"`
				Expected []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, group := range file.Tests {
		for _, c := range group.Cases {
			fires[c.Alert] = fires[c.Alert] || len(c.Expected) > 0
			quiet[c.Alert] = quiet[c.Alert] || len(c.Expected) == 0
		}
	}
	for _, r := range rules(t) {
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s: fires in a test: %v, is quiet in one: %v", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
}
