// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// of is a verdict on a property of a device in a namespace.
func of(namespace, device, property string, severity driver.Severity, score float64, at time.Time) driver.Result {
	r := verdict(device, severity)
	r.Key, r.Score, r.At = driver.Key{Namespace: namespace, Device: device, Property: property}, score, at
	return r
}

// park has three boilers, of which one has a fault, and a pump in another namespace.
func park(t *testing.T) *fixture {
	t.Helper()
	now := time.Now()
	f := newFixture(t,
		of("plant", "boiler-1", "temperature", driver.Normal, 0.1, now), of("plant", "boiler-1", "pressure", driver.Normal, 0.1, now),
		of("plant", "boiler-2", "temperature", driver.Critical, 0.999, now), of("plant", "boiler-2", "pressure", driver.Normal, 0.1, now),
		of("plant", "boiler-3", "temperature", driver.Unknown, 0, now), of("yard", "pump-1", "vibration", driver.Warning, 0.97, now),
	)
	f.about = func(k driver.Key) admethod.About {
		model, _, _ := strings.Cut(k.Device, "-")
		return admethod.About{Model: model, Node: "rack-" + k.Namespace, Labels: map[string]string{"node": "edge-" + k.Namespace}}
	}
	return f
}

// Devices are listed the worst first, filtered and paged by the server.
func TestDevices(t *testing.T) {
	f := park(t)
	for query, want := range map[string]string{
		"":                                  "4 of 4: boiler-2(critical) pump-1(warning) boiler-1(normal) boiler-3(unknown)",
		"?limit=2":                          "4 of 4: boiler-2(critical) pump-1(warning)",
		"?limit=2&offset=1":                 "4 of 4: pump-1(warning) boiler-1(normal)",
		"?offset=9":                         "4 of 4:",
		"?text=BOILER-1":                    "1 of 4: boiler-1(normal)",
		"?text=pressure":                    "2 of 4: boiler-2(critical) boiler-1(normal)",
		"?text=edge-yard":                   "1 of 4: pump-1(warning)",
		"?text=plant/boiler-3":              "1 of 4: boiler-3(unknown)",
		"?severity=normal":                  "1 of 4: boiler-1(normal)",
		"?severity=unknown":                 "1 of 4: boiler-3(unknown)",
		"?namespace=y*":                     "1 of 4: pump-1(warning)",
		"?model=boiler&severity=critical":   "1 of 4: boiler-2(critical)",
		"?node=rack-yard":                   "1 of 4: pump-1(warning)",
		"?text=rack-y":                      "1 of 4: pump-1(warning)",
		"?label=node=edge-y*":               "1 of 4: pump-1(warning)",
		"?label=node":                       "4 of 4: boiler-2(critical) pump-1(warning) boiler-1(normal) boiler-3(unknown)",
		"?label=rack":                       "0 of 4:",
		"?device=boiler-[12]&text=boiler":   "2 of 4: boiler-2(critical) boiler-1(normal)",
		"?limit=0":                          "400",
		"?offset=-1":                        "400",
		"?severity=bad":                     "400",
		"?namespace=[":                      "400",
		"?text=" + strings.Repeat("x", 500): "400",
	} {
		code, body := f.ask(t, http.MethodGet, "/v1/devices"+query, "")
		words := []string{fmt.Sprint(code)}
		if code == http.StatusOK {
			var list DeviceList
			if err := json.Unmarshal([]byte(body), &list); err != nil {
				t.Fatal(err)
			}
			words[0] = fmt.Sprintf("%d of %d:", list.Fit, list.All)
			for _, d := range list.Devices {
				words = append(words, fmt.Sprintf("%s(%s)", d.Device, d.Severity))
			}
			if fmt.Sprint(list.Counts) != "map[critical:1 normal:1 unknown:1 warning:1]" || fmt.Sprint(list.Models, list.Namespaces, list.Nodes) != "[boiler pump] [plant yard] [rack-plant rack-yard]" {
				t.Error(list.Counts, list.Models, list.Namespaces, list.Nodes)
			}
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// The share of properties that are anomalous is told for each namespace and model, minute by minute.
func TestRate(t *testing.T) {
	f := park(t)
	now := time.Now()
	f.look(now.Add(-3 * time.Minute))
	f.look(now.Add(-2 * time.Minute))
	if err := f.Write(t.Context(), []driver.Result{of("plant", "boiler-1", "pressure", driver.Warning, 0.97, now)}); err != nil {
		t.Fatal(err)
	}
	f.look(now)
	f.look(now)
	_, body := f.ask(t, http.MethodGet, "/v1/rate?hours=0.1", "")
	var answer struct{ Rates []Rate }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(body, err)
	}
	var words strings.Builder
	for _, r := range answer.Rates {
		fmt.Fprintf(&words, "%s/%s %d:", r.Namespace, r.Model, r.Properties)
		for _, share := range r.Share {
			if share == nil {
				words.WriteString(" -")
			} else {
				fmt.Fprintf(&words, " %.2f", *share)
			}
		}
		words.WriteString("; ")
	}
	got := words.String()
	if want := "plant/boiler 5: - - 0.25 0.25 - 0.50; yard/pump 1: - - 1.00 1.00 - 1.00; "; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	f.look(now.Add(48 * time.Hour)) // what is over is forgotten
	if f.look(now.Add(-48 * time.Hour)); len(f.rates.of) != 2 {
		t.Error(len(f.rates.of))
	}
	for _, bad := range []string{"0", "25", "x", "NaN"} {
		if code, _ := f.ask(t, http.MethodGet, "/v1/rate?hours="+bad, ""); code != http.StatusBadRequest {
			t.Errorf("hours=%s: %d", bad, code)
		}
	}
}

// Of a span it is told what was most unusual then, by scores and by incidents.
func TestUnusual(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	f := newFixture(t)
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	incident := of("plant", "boiler-2", "temperature", driver.Critical, 0.9999, ago(50))
	incident.Incident = driver.Incident{ID: 7, Phase: driver.Began, Start: ago(50), Severity: driver.Critical, Kind: driver.KindFreeze, Score: 0.9999}
	incident.Message = "stands still"
	if err := f.Write(t.Context(), []driver.Result{
		of("plant", "boiler-1", "pressure", driver.Normal, 0.93, ago(30)), // a little, once
		of("plant", "boiler-1", "humidity", driver.Normal, 0.5, ago(30)),  // as ever
		incident,
		of("yard", "pump-1", "vibration", driver.Normal, 0.999, ago(300)), // long ago
	}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ query, want string }{
		{"", "boiler-2/temperature:freeze boiler-1/pressure:"},
		{"?limit=1", "boiler-2/temperature:freeze"},
		{"?from=" + ago(320).UTC().Format(time.RFC3339) + "&to=" + ago(280).UTC().Format(time.RFC3339), "pump-1/vibration:"},
		{"?from=" + ago(200).UTC().Format(time.RFC3339) + "&to=" + ago(180).UTC().Format(time.RFC3339), ""},
		{"?from=" + ago(1).UTC().Format(time.RFC3339) + "&to=" + ago(2).UTC().Format(time.RFC3339), "400"},
		{"?limit=501", "400"},
		{"?from=noon", "400"},
	} {
		code, body := f.ask(t, http.MethodGet, "/v1/unusual"+tt.query, "")
		var answer struct{ Unusual []Unusual }
		if code == http.StatusOK {
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(body, err)
			}
		}
		var words []string
		for _, u := range answer.Unusual {
			words = append(words, fmt.Sprintf("%s/%s:%s", u.Device, u.Property, u.Kind))
		}
		got := strings.Join(words, " ")
		if code != http.StatusOK {
			got = fmt.Sprint(code)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s: %s", tt.query, got, tt.want, body)
		}
	}
}

// A property tells how it is watched, its group with who is to blame first, and what is muted; not where its detector is.
func TestPropertyIsExplained(t *testing.T) {
	f := park(t)
	key := func(device, property string) driver.Key {
		return driver.Key{Namespace: "plant", Device: device, Property: property}
	}
	config, err := admethod.ParseSettings(map[string]any{"threshold": 0.98, "grpc.token": "/secret", "detector.window": 60})
	if err != nil {
		t.Fatal(err)
	}
	f.watched = func(k driver.Key) (admethod.Watched, bool) {
		return admethod.Watched{
			Config: config, Meta: admethod.Meta{Unit: "°C", Cycle: 3 * time.Second, Model: "boiler"},
			Members: []driver.Key{key("boiler-1", "pressure"), key("boiler-1", "temperature"), key("boiler-2", "temperature")},
		}, k.Device != "boiler-9"
	}
	f.mutes = func() []admethod.Mute {
		return []admethod.Mute{{Namespace: "plant", Device: "boiler-1", Until: time.Now().Add(time.Hour), By: "Ada"}}
	}
	r := of("plant", "boiler-1", "temperature", driver.Warning, 0.97, time.Now())
	r.Causes = []driver.Cause{{Key: key("boiler-2", "temperature"), Weight: 0.8}, {Key: key("boiler-1", "temperature"), Weight: 0.2}}
	if err := f.Write(t.Context(), []driver.Result{r}); err != nil {
		t.Fatal(err)
	}
	code, body := f.ask(t, http.MethodGet, "/v1/property?namespace=plant&device=boiler-1&property=temperature", "")
	var p Property
	if err := json.Unmarshal([]byte(body), &p); err != nil || code != http.StatusOK {
		t.Fatal(code, body, err)
	}
	if len(p.Members) != 3 || p.Members[0].Device != "boiler-2" || p.Members[0].Severity != driver.Critical || p.Members[1].Property != "temperature" {
		t.Errorf("%+v", p.Members)
	}
	if p.Unit != "°C" || p.Cycle != 3 || p.Threshold != 0.98 || p.Muted == nil || p.Muted.By != "Ada" || p.Verdict == nil {
		t.Errorf("%+v", p)
	}
	if strings.Contains(body, "secret") || !strings.Contains(body, "detector.window") {
		t.Error(body)
	}
	for path, want := range map[string]int{"?device=": http.StatusBadRequest, "?namespace=plant&device=boiler-9": http.StatusNotFound} {
		if code, body := f.ask(t, http.MethodGet, "/v1/property"+path, ""); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}
