// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/device"
	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a handler until the test ends.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func newRoom(t *testing.T) *httptest.Server {
	t.Helper()
	r, err := room.New(room.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, r)
}

func testDriver(t *testing.T) *restful {
	t.Helper()
	d := newRESTful()
	t.Cleanup(d.Close)
	return d
}

func configData(t *testing.T, settings map[string]any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"protocolName": "restful", "configData": settings})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func deviceAt(t *testing.T, settings map[string]any) *common.DeviceInstance {
	t.Helper()
	return &common.DeviceInstance{
		ID: "default/light-1", Name: "light-1", Namespace: "default",
		PProtocol: common.ProtocolConfig{ProtocolName: "restful", ConfigData: configData(t, settings)},
	}
}

func property(t *testing.T, name, dataType string, settings map[string]any) *common.DeviceProperty {
	t.Helper()
	return &common.DeviceProperty{
		PropertyName: name, Visitors: configData(t, settings), PProperty: common.ModelProperty{Name: name, DataType: dataType},
	}
}

func connect(t *testing.T, settings map[string]any) device.Client {
	t.Helper()
	c, err := testDriver(t).Connect(t.Context(), deviceAt(t, settings))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Read gives each property the type of its model.
func TestReadAndWriteTheRoom(t *testing.T) {
	c := connect(t, map[string]any{"baseURL": newRoom(t).URL + "/"}) // a slash at the end does no harm
	power := property(t, "powerstatus", "string", map[string]any{"path": "/lights/light2", "mapping": "ON=1,OFF=0"})
	bright := property(t, "brightness", "INT", map[string]any{"path": "/brightness"})
	read := func(p *common.DeviceProperty) any {
		t.Helper()
		v, err := c.Read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := read(power); v != "OFF" {
		t.Errorf("powerstatus %v, want OFF", v)
	}
	if err := c.Write(t.Context(), power, "ON"); err != nil {
		t.Fatal(err)
	}
	if v := read(power); v != "ON" {
		t.Errorf("powerstatus %v, want ON", v)
	}
	if v := read(bright); v != int64(2) {
		t.Errorf("brightness %#v, want 2 as int64", v)
	}
	temperature := property(t, "temperature", "double", map[string]any{"path": "/temperature"})
	if v, ok := read(temperature).(float64); !ok || v < 10 || v > 30 {
		t.Errorf("temperature %v, want one of a room as float64", v)
	}
	if v, ok := read(property(t, "temperature", "string", map[string]any{"path": "/temperature"})).(string); !ok || v == "" {
		t.Errorf("temperature as string is %q", v)
	}
	if state, err := c.State(t.Context()); err != nil || state != common.DeviceStatusOK {
		t.Errorf("state %q, %v", state, err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReadFailures(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/text":
			_, _ = w.Write([]byte("seven\n"))
		case "/huge":
			_, _ = w.Write(make([]byte, maxBody+1))
		case "/cut":
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("1"))
		default:
			http.Error(w, "the sensor does not answer", http.StatusServiceUnavailable)
		}
	}))
	c := connect(t, map[string]any{"baseURL": s.URL}) // its root answers 503, which is an answer
	for _, tt := range []struct {
		name, dataType string
		settings       map[string]any
		want           string
	}{
		{"status", "int", map[string]any{"path": "/gone"}, `/gone: status 503 Service Unavailable: "the sensor does not answer"`},
		{"too long", "int", map[string]any{"path": "/huge"}, "the answer has more than 4096 bytes"},
		{"cut off", "int", map[string]any{"path": "/cut"}, "unexpected EOF"},
		{"not an integer", "int", map[string]any{"path": "/text"}, `property "p": GET /text: got "seven", want a value of type int`},
		{"not a number", "double", map[string]any{"path": "/text"}, "want a value of type double"},
		{"not a boolean", "boolean", map[string]any{"path": "/text"}, "want a value of type boolean"},
		{"not mapped", "string", map[string]any{"path": "/text", "mapping": "ON=1"}, `got "seven", want a text of the mapping ON=1`},
		{"no path", "int", nil, `path: got "", want one that begins with /`},
		{"unknown key", "int", map[string]any{"path": "/", "pth": "x"}, `did you mean "path"`},
		{"method", "int", map[string]any{"path": "/", "method": "GET"}, "want one of PUT, POST, PATCH"},
		{"mapping", "int", map[string]any{"path": "/", "mapping": "ON"}, `mapping: got "ON"`},
		{"mapping twice", "int", map[string]any{"path": "/", "mapping": "ON=1,OFF=1"}, `mapping: got "OFF=1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Read(t.Context(), property(t, "p", tt.dataType, tt.settings))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if errors.Is(err, device.ErrNotConnected) {
				t.Errorf("%v: the device did answer", err)
			}
		})
	}
	if _, err := c.Read(t.Context(), property(t, "p", "int", map[string]any{"path": "/gone"})); err == nil {
		t.Error("no error")
	}
	if state, err := c.State(t.Context()); err != nil || state != common.DeviceStatusUnhealthy {
		t.Errorf("state after a failed read is %q, %v", state, err)
	}
}

func TestWriteSendsText(t *testing.T) {
	var got []string
	s := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body [64]byte
		n, _ := r.Body.Read(body[:])
		got = append(got, r.Method+" "+r.URL.Path+" "+string(body[:n]))
	}))
	c := connect(t, map[string]any{"baseURL": s.URL + "/api"})
	got = nil
	for _, tt := range []struct {
		settings map[string]any
		value    any
		want     string
	}{
		{map[string]any{"path": "/a"}, int64(7), "PUT /api/a 7"},
		{map[string]any{"path": "/a", "method": "POST"}, 1e21, "POST /api/a 1000000000000000000000"},
		{map[string]any{"path": "/a"}, true, "PUT /api/a true"},
		{map[string]any{"path": "/a"}, []byte("raw"), "PUT /api/a raw"},
		{map[string]any{"path": "/a", "mapping": "ON=1,OFF=0"}, "OFF", "PUT /api/a 0"},
	} {
		got = nil
		if err := c.Write(t.Context(), property(t, "p", "", tt.settings), tt.value); err != nil {
			t.Error(err)
		}
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%v: the device got %q, want %q", tt.value, got, tt.want)
		}
	}
	err := c.Write(t.Context(), property(t, "p", "string", map[string]any{"path": "/a", "mapping": "ON=1"}), "off")
	if err == nil || !strings.Contains(err.Error(), `property "p": got "off", want a value of the mapping ON=1`) {
		t.Errorf("error %v", err)
	}
}

func TestConnectFailures(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, tt := range []struct {
		settings map[string]any
		want     string
	}{
		{nil, `device default/light-1: protocol.configData: baseURL: got ""`},
		{map[string]any{"baseURL": "10.0.0.7"}, "want one such as http://10.0.0.7:8000"},
		{map[string]any{"baseURL": "http://h:8000", "timeout": "0s"}, "timeout: got"},
		{map[string]any{"baseURL": "http://h:8000", "url": "x"}, "unknown key"},
		{map[string]any{"baseURL": gone.URL}, "connection refused"},
	} {
		_, err := testDriver(t).Connect(t.Context(), deviceAt(t, tt.settings))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want %q", tt.settings, err, tt.want)
		}
	}
}

// A device that goes away is said to be so; one that is merely slow runs into the deadline.
func TestLostAndSlow(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-release
		}
	}))
	p := property(t, "p", "string", map[string]any{"path": "/"})
	c := connect(t, map[string]any{"baseURL": s.URL, "timeout": "20ms"})
	if _, err := c.Read(t.Context(), p); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, device.ErrNotConnected) {
		t.Errorf("slow: error %v, want DeadlineExceeded", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Read(ended, p); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v, want Canceled", err)
	}
	close(release)
	s.Close()
	if _, err := c.Read(t.Context(), p); !errors.Is(err, device.ErrNotConnected) {
		t.Errorf("gone: error %v, want ErrNotConnected", err)
	}
}
