// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
)

// house is a room whose clock the test turns.
type house struct {
	t    *testing.T
	room *room.Room
	now  time.Time
}

func open(t *testing.T, cfg room.Config) *house {
	t.Helper()
	h := &house{t: t, now: time.Date(2026, 7, 1, 4, 0, 0, 0, time.UTC)}
	cfg.Now = func() time.Time { return h.now }
	var err error
	if h.room, err = room.New(cfg); err != nil {
		t.Fatal(err)
	}
	return h
}

// ask returns the status and the body of the answer.
func (h *house) ask(method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.room.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// must asks for what has to succeed.
func (h *house) must(method, path, body string) string {
	h.t.Helper()
	code, text := h.ask(method, path, body)
	if code != http.StatusOK {
		h.t.Fatalf("%s %s %q: status %d: %s", method, path, body, code, text)
	}
	return text
}

// read returns n readings of a sensor.
func (h *house) read(path string, n int) []float64 {
	h.t.Helper()
	values := make([]float64, n)
	for i := range values {
		v, err := strconv.ParseFloat(h.must(http.MethodGet, path, ""), 64)
		if err != nil {
			h.t.Fatal(err)
		}
		values[i] = v
	}
	return values
}

func Example() {
	r, err := room.New(room.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(r)
	defer server.Close()
	ask := func(method, path, body string) {
		request, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		response, err := server.Client().Do(request)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		fmt.Printf("%s %s: %s %v\n", method, path, answer, err)
	}
	ask("PUT", "/lights/light2", "1")
	ask("GET", "/brightness", "")
	ask("POST", "/lights/light2/fault", "1")
	ask("GET", "/lights/light2", "")
	ask("GET", "/brightness", "")
	// Output:
	// PUT /lights/light2: 1 <nil>
	// GET /brightness: 2 <nil>
	// POST /lights/light2/fault: 1 <nil>
	// GET /lights/light2: 1 <nil>
	// GET /brightness: 0 <nil>
}

func TestBrightnessIsWhatTheLightsGive(t *testing.T) {
	h := open(t, room.Config{})
	for _, tt := range []struct{ light1, light2, dark1, dark2, brightness string }{
		{"0", "0", "0", "0", "0"},
		{"1", "0", "0", "0", "1"},
		{"0", "1", "0", "0", "2"},
		{"1", "1", "0", "0", "3"},
		{"1", "1", "1", "0", "2"},
		{"1", "1", "0", "1", "1"},
		{"0", "0", "1", "1", "0"},
	} {
		h.must("PUT", "/lights/light1", tt.light1)
		h.must("PUT", "/lights/light2", tt.light2+"\n")
		h.must("POST", "/lights/light1/fault", tt.dark1)
		h.must("POST", "/lights/light2/fault", tt.dark2)
		got := struct{ light1, light2, dark1, dark2, brightness string }{
			h.must("GET", "/lights/light1", ""), h.must("GET", "/lights/light2", ""), tt.dark1, tt.dark2, h.must("GET", "/brightness", ""),
		}
		if got != tt {
			t.Errorf("got %+v, want %+v", got, tt)
		}
	}
}

// The daily mean curve is 21 °C ± 3 °C, coldest at 4:00; the noise's standard
// deviation is 0.2 °C.
func TestTemperatureFollowsTheDay(t *testing.T) {
	for _, day := range []time.Duration{24 * time.Hour, time.Minute} {
		h := open(t, room.Config{Day: day})
		start := h.now // 4:00
		for _, tt := range []struct {
			share float64 // of a day
			want  float64
		}{{0, 18}, {0.25, 21}, {0.5, 24}, {0.75, 21}, {1, 18}, {10.5, 24}} {
			h.now = start.Add(time.Duration(tt.share * float64(day)))
			const n = 400
			var sum, squares float64
			for _, v := range h.read("/temperature", n) {
				sum += v
				squares += (v - tt.want) * (v - tt.want)
			}
			// 5 standard errors.
			if mean := sum / n; math.Abs(mean-tt.want) > 0.05 {
				t.Errorf("a day of %v, after %v days: mean %.3f, want %.1f", day, tt.share, mean, tt.want)
			}
			if sd := math.Sqrt(squares / n); math.Abs(sd-0.2) > 0.04 {
				t.Errorf("a day of %v, after %v days: standard deviation %.3f, want 0.2", day, tt.share, sd)
			}
		}
	}
}

func TestEqualSeedsGiveEqualReadings(t *testing.T) {
	a, b, c := open(t, room.Config{Seed: 1}), open(t, room.Config{Seed: 1}), open(t, room.Config{Seed: 2})
	first := a.read("/temperature", 20)
	if diff := cmp.Diff(first, b.read("/temperature", 20)); diff != "" {
		t.Errorf("equal seeds: %s", diff)
	}
	if cmp.Equal(first, c.read("/temperature", 20)) {
		t.Error("different seeds give equal noise")
	}
}

func TestReplay(t *testing.T) {
	data := map[string][]float64{"ramp": {1, 2.5, 3}}
	t.Run("a row per request", func(t *testing.T) {
		h := open(t, room.Config{Replays: data})
		if diff := cmp.Diff([]float64{1, 2.5, 3, 1, 2.5}, h.read("/replay/ramp", 5)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a row per interval", func(t *testing.T) {
		h := open(t, room.Config{Replays: data, ReplayInterval: time.Second})
		var got []float64
		for range 4 {
			got = append(got, h.read("/replay/ramp", 2)...)
			h.now = h.now.Add(time.Second)
		}
		if diff := cmp.Diff([]float64{1, 1, 2.5, 2.5, 3, 3, 1, 1}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("looking at the room takes no row", func(t *testing.T) {
		h := open(t, room.Config{Replays: data})
		h.must("GET", "/", "")
		if diff := cmp.Diff([]float64{1}, h.read("/replay/ramp", 1)); diff != "" {
			t.Error(diff)
		}
	})
}

// ramp has a standard deviation of 2, so faults are twice the size that they
// have in multiples of the scale.
func TestSensorFaults(t *testing.T) {
	ramp := []float64{2, 6, 2, 6}
	for _, tt := range []struct {
		fault room.Fault
		want  []float64 // the first three readings are taken before the fault
	}{
		{room.None, []float64{2, 6, 2, 6, 2, 6}},
		{room.Freeze, []float64{2, 6, 2, 2, 2, 2}},
		{room.Drift, []float64{2, 6, 2, 6.2, 2.4, 6.6}},
		{room.Jump, []float64{2, 6, 2, 16, 12, 16}},
	} {
		h := open(t, room.Config{Replays: map[string][]float64{"ramp": ramp}})
		got := h.read("/replay/ramp", 3)
		h.must("POST", "/sensors/ramp/fault", string(tt.fault))
		got = append(got, h.read("/replay/ramp", 3)...)
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
		if diff := cmp.Diff(tt.want, got, near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.fault, diff)
		}
		// The fault leaves no trace behind.
		h.must("POST", "/sensors/ramp/fault", "none")
		if v := h.read("/replay/ramp", 1)[0]; v != 2 && v != 6 {
			t.Errorf("after %s: %v", tt.fault, v)
		}
	}

	t.Run("noise", func(t *testing.T) {
		h := open(t, room.Config{Replays: map[string][]float64{"ramp": ramp}})
		h.must("POST", "/sensors/ramp/fault", "noise")
		const n = 2000
		squares := 0.0
		for i, v := range h.read("/replay/ramp", n) {
			squares += (v - ramp[i%4]) * (v - ramp[i%4])
		}
		if sd := math.Sqrt(squares / n); math.Abs(sd-4) > 0.4 {
			t.Errorf("standard deviation %.2f, want 4", sd)
		}
	})
	t.Run("dropout", func(t *testing.T) {
		h := open(t, room.Config{})
		h.must("POST", "/sensors/temperature/fault", "dropout")
		if code, text := h.ask("GET", "/temperature", ""); code != http.StatusServiceUnavailable {
			t.Errorf("status %d, body %q, want 503", code, text)
		}
		h.must("POST", "/sensors/temperature/fault", "none")
		h.read("/temperature", 1)
	})
	t.Run("frozen before it was ever read", func(t *testing.T) {
		h := open(t, room.Config{})
		h.must("PUT", "/lights/light1", "1")
		h.must("POST", "/sensors/brightness/fault", "dropout")
		h.ask("GET", "/brightness", "")
		h.must("POST", "/sensors/brightness/fault", "freeze")
		h.must("PUT", "/lights/light1", "0")
		if diff := cmp.Diff([]float64{1, 1}, h.read("/brightness", 2)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("brightness is a whole number and never negative", func(t *testing.T) {
		h := open(t, room.Config{})
		h.must("POST", "/sensors/brightness/fault", "noise")
		for _, v := range h.read("/brightness", 200) {
			if v < 0 || v != math.Trunc(v) {
				t.Fatalf("brightness %v", v)
			}
		}
	})
}

func TestFaultList(t *testing.T) {
	h := open(t, room.Config{Replays: map[string][]float64{"pump": {1}}})
	if got := h.must("GET", "/faults", ""); got != "" {
		t.Errorf("a new room has faults: %q", got)
	}
	h.must("POST", "/lights/light2/fault", "1")
	h.must("POST", "/sensors/pump/fault", "drift")
	h.must("POST", "/sensors/brightness/fault", "jump")
	h.must("POST", "/sensors/brightness/fault", "none")
	if diff := cmp.Diff("lights/light2 1\nsensors/pump drift\n", h.must("GET", "/faults", "")); diff != "" {
		t.Error(diff)
	}
}

func TestOverview(t *testing.T) {
	h := open(t, room.Config{})
	h.must("PUT", "/lights/light1", "1")
	h.must("POST", "/lights/light1/fault", "1")
	h.read("/brightness", 1)
	h.must("POST", "/sensors/temperature/fault", "dropout")
	h.ask("GET", "/temperature", "")
	want := `LIGHT            REPORTS   SHINES
/lights/light1   1         0
/lights/light2   0         0

SENSOR         LAST READING   FAULT
/brightness    0              none
/temperature   no answer      dropout
`
	got, _, _ := strings.Cut(h.must("GET", "/", ""), "\nPUT")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := h.must("GET", "/healthz", ""); got != "ok" {
		t.Errorf("healthz: %q", got)
	}
}

// A refused request says what would have been accepted.
func TestRefusals(t *testing.T) {
	h := open(t, room.Config{Replays: map[string][]float64{"pump": {1}}})
	for _, tt := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"PUT", "/lights/light1", "ON", 400, `body "ON": want 0 or 1`},
		{"PUT", "/lights/light1", "", 400, `body "": want 0 or 1`},
		{"PUT", "/lights/light3", "1", 404, `no light "light3": want one of light1, light2`},
		{"GET", "/lights/light3", "", 404, `no light "light3": want one of light1, light2`},
		{"POST", "/lights/light1/fault", "freeze", 400, `body "freeze": want 0 or 1`},
		{"POST", "/sensors/temperature/fault", "melt", 400, `fault "melt": want one of none, freeze, drift, jump, noise, dropout`},
		{"POST", "/sensors/light1/fault", "none", 404, `no sensor "light1": want one of brightness, pump, temperature`},
		{"GET", "/replay/fan", "", 404, `no replay "fan": want one of pump`},
		{"GET", "/replay/temperature", "", 404, `no replay "temperature": want one of pump`},
		{"PUT", "/lights/light1", strings.Repeat("1", 65), 413, "body: more than 64 bytes"},
		{"POST", "/brightness", "1", 405, "Method Not Allowed"},
		{"GET", "/nowhere", "", 404, "404 page not found"},
	} {
		code, text := h.ask(tt.method, tt.path, tt.body)
		if code != tt.code || strings.TrimSpace(text) != tt.want {
			t.Errorf("%s %s %.10q: %d %q, want %d %q", tt.method, tt.path, tt.body, code, strings.TrimSpace(text), tt.code, tt.want)
		}
	}
	bare := open(t, room.Config{})
	if code, text := bare.ask("GET", "/replay/pump", ""); code != 404 || !strings.Contains(text, "without replays") {
		t.Errorf("no replays: %d %q", code, text)
	}
}

func TestNewNamesAllFaultsOfItsConfig(t *testing.T) {
	_, err := room.New(room.Config{
		Day: -1, ReplayInterval: -1,
		Replays: map[string][]float64{"temperature": {1}, "empty": nil, "a/b": {1}},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"day:", "replay interval:", `replay "temperature"`, `replay "empty"`, `replay "a/b"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	h := open(t, room.Config{Replays: map[string][]float64{"pump": {1, 2}}})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				h.ask("PUT", "/lights/light1", "1")
				h.ask("POST", "/sensors/temperature/fault", "drift")
				for _, path := range []string{"/", "/faults", "/brightness", "/temperature", "/replay/pump", "/lights/light1"} {
					h.ask("GET", path, "")
				}
			}
		})
	}
	group.Wait()
}

func TestReadCSV(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		want        []float64
		err         string
	}{
		{"timestamp and value", "timestamp,value\n2014-04-01 00:00:00,19.5\n2014-04-01 00:05:00,-1e2\n", []float64{19.5, -100}, ""},
		{"value is not the last column", "value,label\n1,a\n2,b\n", []float64{1, 2}, ""},
		{"another header", "time,temperature\n0,20\n", []float64{20}, ""},
		{"no header", "0,20\n1,21\n", []float64{20, 21}, ""},
		{"one column", "20\n21\n", []float64{20, 21}, ""},
		{"not a number", "timestamp,value\n0,20\n1,n/a\n", nil, `line 3, column 2: "n/a", want a finite number`},
		{"infinite", "0,Inf\n", nil, `line 1, column 2: "Inf", want a finite number`},
		{"columns differ", "0,20\n1\n", nil, "record on line 2: wrong number of fields"},
		{"header only", "timestamp,value\n", nil, "no readings: want rows of timestamp,value"},
		{"nothing", "", nil, "no readings: want rows of timestamp,value"},
	} {
		got, err := room.ReadCSV(strings.NewReader(tt.input))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	for _, seed := range []string{"timestamp,value\n0,1\n", "value,x\n1,2\n", "\"1\n2\",3", "1e400\n", "\xef\xbb\xbfvalue\n1\n", ",\n,\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		values, err := room.ReadCSV(strings.NewReader(input))
		if (err == nil) != (len(values) > 0) {
			t.Fatalf("%d values and error %v", len(values), err)
		}
		for _, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("not finite: %v", v)
			}
		}
		if err == nil {
			if _, err := room.New(room.Config{Replays: map[string][]float64{"fuzz": values}}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The recorded machine temperature, where the benchmark data is at hand.
func TestReadCSVOnRecordedData(t *testing.T) {
	root := os.Getenv("EDGE_ANOMALY_DATASETS")
	if root == "" {
		root = "../../../../shared/datasets"
	}
	f, err := os.Open(root + "/nab/realKnownCause/machine_temperature_system_failure.csv")
	if err != nil {
		t.Skipf("no benchmark data, set EDGE_ANOMALY_DATASETS: %v", err)
	}
	defer f.Close()
	values, err := room.ReadCSV(f)
	if err != nil || len(values) != 22695 {
		t.Errorf("%d readings, error %v, want 22695", len(values), err)
	}
}
