// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"encoding"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// house is a room of the demo, the devices in which have a number of their own.
type house struct {
	*plant
	room   *room.Room
	n      int
	lights []*pipeline.Binding // light-1, light-2
	lux    *pipeline.Binding
	air    *pipeline.Binding // the thermometer
}

func (h *house) ask(t *testing.T, method, path, body string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.room.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, w.Body)
	}
	return w.Body.String()
}

func (h *house) name(device string) string { return fmt.Sprintf("room%d-%s", h.n, device) }

// lit are the states of the lights and what the sensor reads.
func (h *house) lit(t *testing.T) (lights [2]string, lux float64) {
	t.Helper()
	for i := range lights {
		lights[i] = "OFF"
		if h.ask(t, http.MethodGet, fmt.Sprintf("/lights/light%d", i+1), "") == "1" {
			lights[i] = "ON"
		}
	}
	lux, err := strconv.ParseFloat(h.ask(t, http.MethodGet, "/brightness", ""), 64)
	if err != nil {
		t.Fatal(err)
	}
	return lights, lux
}

// press switches: 1+ and 1- are light 1 on and off.
func (h *house) press(t *testing.T, what string) {
	t.Helper()
	for word := range strings.FieldsSeq(what) {
		state := map[byte]string{'+': "1", '-': "0"}[word[1]]
		h.ask(t, http.MethodPut, "/lights/light"+word[:1], state)
	}
}

// step takes a reading of everything.
func (h *house) step(t *testing.T, n int) {
	t.Helper()
	for range n {
		if h.air != nil {
			w := httptest.NewRecorder()
			h.room.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/temperature", nil))
			if v, err := strconv.ParseFloat(w.Body.String(), 64); w.Code == http.StatusOK && err == nil {
				h.air.Observe(h.now, v)
			}
		} else {
			lights, lux := h.lit(t)
			for i, b := range h.lights {
				b.ObserveAny(h.now, lights[i])
			}
			h.lux.Observe(h.now, lux)
		}
		h.now = h.now.Add(pace)
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// train leaves a model of the room where it is looked up.
func (h *house) train(t *testing.T, dir string) {
	t.Helper()
	keys := []driver.Key{{Namespace: "plant", Device: h.name("brightness"), Property: "brightness"}, {Namespace: "plant", Device: h.name("light-1"), Property: "powerstatus"}, {Namespace: "plant", Device: h.name("light-2"), Property: "powerstatus"}}
	settings := driver.Settings{Threshold: driver.DefaultThreshold}
	trained := model.Trained{Facts: model.Facts{Driver: "bayesnet"}}
	for _, k := range keys {
		settings.Members, trained.Members = append(settings.Members, driver.Member{Key: k}), append(trained.Members, k.Device+"/"+k.Property)
	}
	learner, err := driver.Open("bayesnet", settings, map[string]any{"evidence": 30})
	if err == nil {
		err = learner.(driver.Trainer).Train(t.Context(), func(yield func(driver.Row) bool) {
			for range 250 {
				for _, w := range []string{"1+", "2+", "1-", "2-"} {
					h.press(t, w)
					lights, lux := h.lit(t)
					row := driver.Row{{Key: keys[0], At: h.now, Value: lux}}
					for i, text := range lights {
						row = append(row, driver.Sample{Key: keys[i+1], At: h.now, Text: text, Value: float64(len(text) % 2)})
					}
					if !yield(row) {
						return
					}
				}
			}
		})
	}
	if err == nil {
		trained.Payload, err = learner.(encoding.BinaryMarshaler).MarshalBinary()
	}
	var data []byte
	if err == nil {
		data, err = trained.Encode()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("room%d.model", h.n)), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// asWritten is how the page writes a time in English.
const asWritten = "Jan 2, 2006, 3:04:05 PM"

// TestNewcomer has the faults of the demo, each in a room of its own, and holds the page to what somebody who sees it for
// the first time reads there, and nowhere else: which device is broken, since when, and why it is thought so.
func TestNewcomer(t *testing.T) {
	tests := []struct {
		fault, path, body, device string
		before, during            string        // switches of the lights
		within                    time.Duration // of the page's since when
		why                       string        // what the page says
	}{
		{"freeze", "/sensors/temperature/fault", "freeze", "temperature", "", "", 5 * time.Second, `stands still at [\d.]+ °C for`},
		{"drift", "/sensors/temperature/fault", "drift", "temperature", "", "", 5 * time.Second, `°C from [\d.]+ °C before; it usually moves by|drifts`},
		{"noise", "/sensors/temperature/fault", "noise", "temperature", "", "", 5 * time.Second, `scatters|noisier`},
		{"jump", "/sensors/temperature/fault", "jump", "temperature", "", "", 5 * time.Second, `°C from [\d.]+ °C before`},
		{"dropout", "/sensors/temperature/fault", "dropout", "temperature", "", "", 5 * time.Second, `no reading since`},
		{"high", "/sensors/brightness/fault", "jump", "brightness", "1- 2-", "", 5 * time.Second, `room6-brightness contradicts the other`},
		{"dark", "/lights/light1/fault", "1", "light-1", "", "1- 2- 1+", 10 * time.Second, `room7-light-1 contradicts the other`},
		{"stuck", "/sensors/brightness/fault", "freeze", "brightness", "", "2- 1-", 10 * time.Second, `room8-brightness contradicts the other`},
	}
	const warm, after = 900, 400
	p := newPlant(t, warm+after, nil)
	begin := p.now
	injected := make([]time.Time, len(tests))
	var houses []*house
	for i, tt := range tests {
		h := &house{plant: new(plant), n: i + 1}
		*h.plant = *p
		h.now = begin
		var err error
		if h.room, err = room.New(room.Config{Seed: uint64(i + 1), Day: 24 * time.Hour / (time.Second / pace), Now: func() time.Time { return h.now }}); err != nil {
			t.Fatal(err)
		}
		if tt.device == "temperature" {
			h.air = p.bind(t, h.name("temperature"), "temperature", "°C", map[string]any{"quality.missing": 20})
		} else {
			h.train(t, p.dir)
			group := map[string]any{"group": h.name("group"), "detector": "bayesnet", "model": fmt.Sprintf("room%d.model", h.n), "detector.evidence": 30, "heartbeat": "1s"}
			h.lux = p.bind(t, h.name("brightness"), "brightness", "", group)
			for l := range 2 {
				h.lights = append(h.lights, p.bindText(t, h.name(fmt.Sprintf("light-%d", l+1)), "powerstatus", group))
			}
			h.press(t, "1+ 2+")
		}
		houses = append(houses, h)
	}
	for i, tt := range tests {
		h := houses[i]
		if h.air == nil {
			for _, w := range []string{"1+", "2+", "1-", "2-", "2+", "1+"} {
				h.press(t, w)
				h.step(t, 30)
			}
			h.press(t, tt.before)
		}
		h.step(t, warm-int(h.now.Sub(begin)/pace))
		injected[i] = h.now
		h.ask(t, http.MethodPost, tt.path, tt.body)
		for word := range strings.FieldsSeq(tt.during) {
			h.step(t, 30)
			h.press(t, word)
		}
		h.step(t, warm+after-int(h.now.Sub(begin)/pace))
	}
	ctx := browser(t)
	p.enter(ctx, t, viewerToken, "")
	for i, tt := range tests {
		h := houses[i]
		find := fmt.Sprintf(`[...document.querySelectorAll("main > section:first-child .incidents li")].map((l) => l.innerText).filter((l) => l.includes(%q)).join("\n---\n")`, h.name(""))
		var text string
		if err := chromedp.Run(ctx, chromedp.Poll(find, &text, chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(100*time.Millisecond))); err != nil {
			t.Errorf("%s: nothing on the page: %v", tt.fault, err)
			continue
		}
		t.Logf("%s: %s", tt.fault, text)
		since := regexp.MustCompile(`\w+ \d+, \d+, [\d:]+\s[AP]M`).FindString(text) // of a silence the first is that of the last reading
		at, err := time.ParseInLocation(asWritten, strings.ReplaceAll(since, "\u202f", " "), time.Local)
		if late := at.Sub(injected[i]); err != nil || late < -2*time.Second || late > tt.within {
			t.Errorf("%s: since %q is %v after it was, %v", tt.fault, since, late, err)
		}
		if !regexp.MustCompile(tt.why).MatchString(text) {
			t.Errorf("%s: it does not say why: %s", tt.fault, text)
		}
		if !strings.Contains(text, h.name(tt.device)) {
			t.Errorf("%s: it does not say that it is %s", tt.fault, h.name(tt.device))
		}
	}
	accessible(ctx, t, "newcomer")
	shot(ctx, t, "newcomer")
	do(ctx, t, chromedp.Navigate(address(p.api, "#/property?namespace=plant&device=room7-brightness&property=brightness")))
	says(ctx, t, "main", "Judged together")
	says(ctx, t, "ol.ranked li:first-child", "room7-light-1") // of the group, who is to blame comes first
	says(ctx, t, "ol.ranked", "room7-light-2")
	accessible(ctx, t, "group")
	shot(ctx, t, "group")
}
