// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// A client over its rate is told when to come again; another one is served.
func TestRateLimitOfBatches(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	server := ca.issue("localhost")
	var tokens [2]string
	for i, word := range []string{"0000000000000000flood", "0000000000000000other"} {
		tokens[i] = filepath.Join(dir, word)
		if err := os.WriteFile(tokens[i], []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address, _ := serveBatches(t, Config{
		TLS: server, Clients: map[string]Client{
			"flood": {Token: tokens[0], Namespaces: []string{"default"}, Limits: Limits{Rate: 100, Burst: 100, Patience: time.Second}},
			"other": {Token: tokens[1], Namespaces: []string{"elsewhere"}},
		}, Config: intake.Config{
			Defaults: ewma,
		},
	})
	c := httpClient(t, ca.config(""))
	send := func(namespace, token string, n int) posted {
		m := new(pb.DetectRequest)
		for i := range n {
			r := reading(i, "1")
			r.Namespace = namespace
			m.Readings = append(m.Readings, r)
		}
		resp, _ := postTo(t, c, "https://"+address+batch.Path, map[string]string{"Authorization": "Bearer " + token}, mustEncode(t, batch.JSON, m))
		return resp
	}
	resp := send("default", filepath.Base(tokens[0]), 1000)
	wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusTooManyRequests || err != nil || wait < 1 {
		t.Errorf("the flood: %s, %v", resp.Status, resp.Header)
	}
	if resp := send("elsewhere", filepath.Base(tokens[1]), 1000); resp.StatusCode != http.StatusOK {
		t.Errorf("the other: %s", resp.Status)
	}
}

// Connections that trickle are ended in time and bounded in number, and keep nobody else out.
func TestSlowConnections(t *testing.T) {
	address, _ := serveBatches(t, Config{Insecure: true, Handshake: 300 * time.Millisecond, MaxPending: 4})
	var conns []net.Conn
	for range 10 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, "POST /v1/detect HTTP/1.1\r\nHost: ") // refused ones may be closed already
	}
	for i, conn := range conns { // all of them are ended
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d is still open", i)
		}
	}
	if resp, body := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, nil, []byte("{}")); resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", resp.Status, body)
	}
}

// Connections of those who are nobody's clients are not kept.
func TestUnknownClientsAreNotKept(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for connections to be gone")
	}
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	server := ca.issue("localhost")
	address, _ := serveBatches(t, Config{TLS: server, Clients: map[string]Client{"m": {Names: []string{"mapper"}, Namespaces: []string{"*"}}}, MaxPending: 3})
	config := ca.config("")
	config.NextProtos = []string{"http/1.1"}
	ask := func(path string) (answer []byte, err error) {
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		method := "GET"
		if path == batch.Path {
			method = "POST"
		}
		if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", method, path); err != nil {
			return nil, err
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		answer, err = io.ReadAll(conn) // to its end
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: the connection is kept", path)
		}
		return answer, err
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for _, path := range []string{"/healthz", "/openapi.yaml", batch.Path, "/elsewhere", "/readyz"} {
		for tries := 0; ; tries++ { // those before take a moment to be gone
			answer, err := ask(path)
			if bytes.HasPrefix(answer, []byte("HTTP/1.1 ")) {
				break
			}
			if tries > 200 {
				t.Fatalf("%s: %q, %v", path, answer, err)
			}
			<-again.C
		}
	}
}

// A connection with a good header and a body that never comes holds a stream of its client, no more.
func TestSlowBody(t *testing.T) {
	address, stop := serveBatches(t, Config{Insecure: true, Limits: Limits{Streams: 2}})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	body := mustEncode(t, batch.JSON, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(0, "1")}})
	if resp, got := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, nil, body); resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", resp.Status, got)
	}
	stop() // does not wait for it
	if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil && strings.Contains(line, "200") {
		t.Errorf("the slow batch is answered with %s", line)
	}
}
