// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Readers of all verdicts who do not read on cost the mapper their sockets, not an answer each.
func TestManyReadersHang(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	s := start(t, newServer(t, Config{Address: "127.0.0.1:0"}))
	const properties, readers = 5_000, 20
	long := strings.Repeat("x", 500)
	batch := make([]driver.Result, properties)
	for i := range batch {
		batch[i] = verdict(fmt.Sprintf("device-%05d", properties-i), driver.Warning)
		batch[i].Message = long
	}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	clear(batch)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range readers {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_, _ = io.WriteString(conn, "GET /v1/verdicts HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if line, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatalf("%q %v", line, err)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 20<<20 {
		t.Errorf("%d readers who hang take %d MiB", readers, grown>>20)
	}
	resp, err := http.Get("http://" + s.Addr().String() + "/v1/verdicts?device=device-00*")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct{ Verdicts []Verdict }
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Verdicts) != 999 || !slices.IsSortedFunc(got.Verdicts, func(a, b Verdict) int { return strings.Compare(a.Device, b.Device) }) {
		t.Errorf("%d verdicts, want 999 in order", len(got.Verdicts))
	}
	http.DefaultClient.CloseIdleConnections()
}

// Slow senders of headers, however many, keep nobody from an answer.
func TestManySlowHeaders(t *testing.T) {
	s := start(t, newServer(t, Config{Address: "127.0.0.1:0"}))
	for range 500 {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /v1/verdicts HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + s.Addr().String() + "/v1/verdicts")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// A handler that panics ends its request, and nothing else.
func TestPanicOfARoute(t *testing.T) {
	routes := new(Routes)
	remove, err := routes.Handle("GET /v1/broken", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("in a route") }))
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	s, err := New(Config{Address: "127.0.0.1:0"}, routes)
	if err != nil {
		t.Fatal(err)
	}
	start(t, s)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	if resp, err := client.Get("http://" + s.Addr().String() + "/v1/broken"); err == nil {
		_ = resp.Body.Close()
		t.Error("it answers")
	}
	resp, err := client.Get("http://" + s.Addr().String() + "/v1/verdicts")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
