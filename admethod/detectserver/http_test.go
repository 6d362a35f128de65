// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// httpClient is a client with the configuration, nil for plaintext.
func httpClient(tb testing.TB, config *tls.Config) *http.Client {
	tb.Helper()
	t := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: time.Minute}
}

// posted is the head of a response.
type posted struct {
	StatusCode int
	Status     string
	Header     http.Header
}

// postTo posts a body and returns the response.
func postTo(tb testing.TB, c *http.Client, url string, header map[string]string, body []byte) (posted, []byte) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := c.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return posted{resp.StatusCode, resp.Status, resp.Header}, got
}

func mustEncode(tb testing.TB, f batch.Format, m *pb.DetectRequest) []byte {
	tb.Helper()
	body, err := f.EncodeRequest(m)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

var ewma = map[string]any{"detector": "ewma"}

// A client that knows only the proposal's fields gets one answer to each reading, in order, in the format of its batch;
// a value that is far off is found.
func TestBatches(t *testing.T) {
	address, _ := serveBatches(t, Config{Insecure: true, Config: intake.Config{Defaults: ewma}})
	c := httpClient(t, nil)
	for _, format := range []batch.Format{batch.JSON, batch.CloudEvents} {
		for _, compressed := range []bool{false, true} {
			m := new(pb.DetectRequest)
			const n = 1000
			for i := range n {
				r := reading(i, fmt.Sprint(20+float64(i*7%5)/10))
				r.DeviceName = fmt.Sprint(format, compressed)
				if i == n-1 {
					r.PropertyValue = "9000"
				}
				m.Readings = append(m.Readings, r)
			}
			body, header := mustEncode(t, format, m), map[string]string{"Content-Type": format.ContentType()}
			if compressed {
				var err error
				if body, err = batch.Compress(body); err != nil {
					t.Fatal(err)
				}
				header["Content-Encoding"] = "gzip"
			}
			resp, got := postTo(t, c, "http://"+address+batch.Path, header, body)
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != format.ContentType() {
				t.Fatalf("%s: %s, %s: %s", format, resp.Status, resp.Header, got)
			}
			out, err := format.DecodeResponse(got)
			if err != nil || len(out.Answers) != n {
				t.Fatalf("%s: %d answers, %v", format, len(out.GetAnswers()), err)
			}
			for i, a := range out.Answers {
				if want := reading(i, "").Timestamp; a.Timestamp != want {
					t.Fatalf("%s: answer %d is of %s, want %s", format, i, a.Timestamp, want)
				}
			}
			if last := out.Answers[n-1]; last.Status == "ok" {
				t.Errorf("%s: the spike is answered with %v", format, last)
			}
		}
	}
}

// A batch that is sent again gets the answers of the first time.
func TestRepeatedBatch(t *testing.T) {
	address, _ := serveBatches(t, Config{Insecure: true, Config: intake.Config{Defaults: ewma}})
	m := &pb.DetectRequest{Stream: &pb.StreamInfo{StreamId: "a"}}
	for i := range 500 {
		r := reading(i, strconv.Itoa(20+i%3))
		r.Sequence = uint64(i + 1)
		m.Readings = append(m.Readings, r)
	}
	var first string
	for attempt := range uint32(3) {
		for _, r := range m.Readings {
			r.Attempt = attempt
		}
		_, body := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, nil, mustEncode(t, batch.JSON, m))
		out, err := batch.JSON.DecodeResponse(body)
		if err != nil || out.Answers[499].Detector != "ewma" || out.Answers[499].Sequence != 500 {
			t.Fatal(out, err)
		}
		if text := out.String(); first == "" {
			first = text
		} else if text != first {
			t.Error("the repeat is answered with something else")
		}
	}
}

// A group's rows come in batches, which may end anywhere between rows.
func TestGroupInBatches(t *testing.T) {
	address, _ := serveBatches(t, Config{Insecure: true, Config: intake.Config{Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"}}})
	series := &pb.SeriesInfo{Group: "room"}
	for _, p := range []string{"light", "power"} {
		series.Members = append(series.Members, &pb.Member{Namespace: "default", DeviceName: "lamp", PropertyName: p})
	}
	for n := range 3 {
		m := &pb.DetectRequest{Stream: &pb.StreamInfo{StreamId: "a"}}
		for i := range 2 {
			r := reading(n, fmt.Sprint(10*n+i))
			r.PropertyName, r.Row, r.Member, r.Sequence = series.Members[i].PropertyName, uint64(n+1), uint32(i), uint64(2*n+i+1)
			if i == 0 || n > 0 { // saying it again changes nothing
				r.Series = series
			}
			m.Readings = append(m.Readings, r)
		}
		_, body := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, nil, mustEncode(t, batch.JSON, m))
		out, err := batch.JSON.DecodeResponse(body)
		if want := fmt.Sprintf("2 %d:0 %d:0", 10*n, 10*n+1); err != nil || len(out.Answers) != 2 || out.Answers[0].Message != "" || out.Answers[1].Message != want {
			t.Fatalf("%v, %v; want %q", out, err, want)
		}
	}
}

// Requests that are wrong are refused with a status and a reason.
func TestRefusedBatches(t *testing.T) {
	address, _ := serveBatches(t, Config{Insecure: true, Anonymous: []string{"default"}})
	many := &pb.DetectRequest{Readings: make([]*pb.DevicePropertyData, maxReadings+1)}
	for i := range many.Readings {
		many.Readings[i] = new(pb.DevicePropertyData)
	}
	foreign := reading(0, "1")
	foreign.Namespace = "other"
	for name, test := range map[string]struct {
		body   []byte
		header map[string]string
		status int
		detail string
	}{
		"no JSON":         {[]byte("<html>"), nil, 400, "DetectRequest"},
		"media type":      {[]byte("{}"), map[string]string{"Content-Type": "text/xml"}, 415, "text/xml"},
		"encoding":        {[]byte("{}"), map[string]string{"Content-Encoding": "br"}, 415, "br"},
		"no gzip":         {[]byte("{}"), map[string]string{"Content-Encoding": "gzip"}, 400, "gzip"},
		"oversized":       {make([]byte, maxBody+1), nil, 413, "at most"},
		"bomb":            {must(batch.Compress(make([]byte, maxBody+1))), map[string]string{"Content-Encoding": "gzip"}, 413, "at most"},
		"many readings":   {mustEncode(t, batch.JSON, many), nil, 413, "4097 readings"},
		"foreign":         {mustEncode(t, batch.JSON, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{foreign}}), nil, 403, "other"},
		"unlisted URL":    {[]byte("{}"), map[string]string{batch.CallbackHeader: "http://169.254.169.254/"}, 403, "169.254.169.254"},
		"null in a batch": {[]byte(`{"readings":[null]}`), nil, 400, "null"},
	} {
		resp, body := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, test.header, test.body)
		var problem struct {
			Title, Detail string
			Status        int
		}
		err := json.Unmarshal(body, &problem)
		if resp.StatusCode != test.status || err != nil || problem.Status != test.status || !strings.Contains(problem.Detail, test.detail) ||
			resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %s; want %d with %q", name, resp.Status, body, test.status, test.detail)
		}
	}
	resp, err := httpClient(t, nil).Get("http://" + address + batch.Path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", resp.Status)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// Readings that are wrong, or of a foreign namespace, do not stop the others of their batch.
func TestWrongReadingsInABatch(t *testing.T) {
	address, _ := serveBatches(t, Config{Insecure: true, Anonymous: []string{"default"}, Config: intake.Config{Defaults: ewma}})
	m := &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(0, "1"), reading(1, "1"), reading(2, "1"), reading(3, "1")}}
	m.Readings[0].Namespace = "other"
	m.Readings[2].Timestamp = "yesterday"
	_, body := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, nil, mustEncode(t, batch.JSON, m))
	out, err := batch.JSON.DecodeResponse(body)
	if err != nil || len(out.Answers) != 4 {
		t.Fatal(string(body), err)
	}
	for i, want := range []string{"may not send for namespace", "", "timestamp", ""} {
		a := out.Answers[i]
		if judged := a.Detector == "ewma"; judged != (want == "") || !strings.Contains(a.Message, want) || !judged && a.Severity != pb.Severity_SEVERITY_UNKNOWN {
			t.Errorf("answer %d: %v, want %q", i, a, want)
		}
	}
}

func TestProbesAndDescription(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	server := ca.issue("localhost")
	address, _ := serveBatches(t, Config{TLS: server, Clients: map[string]Client{"m": {Names: []string{"mapper"}, Namespaces: []string{"*"}}}})
	c := httpClient(t, ca.config("")) // shows no certificate
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n", "/openapi.yaml": string(batch.OpenAPI)} {
		resp, err := c.Get("https://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != want || resp.ProtoMajor != 2 {
			t.Errorf("%s: %s, %.100s, %v", path, resp.Proto, body, err)
		}
	}
	if resp, body := postTo(t, c, "https://"+address+batch.Path, nil, []byte("{}")); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("a batch without a certificate: %s, %s", resp.Status, body)
	}
}

// gRPC and HTTP score the same series.
func TestBothEndpoints(t *testing.T) {
	s, err := New(Config{Insecure: true, Config: intake.Config{Defaults: ewma}})
	if err != nil {
		t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.ServeBoth(ctx, listeners[0], listeners[1]) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	stream := dial(t, listeners[0].Addr().String(), insecure.NewCredentials())
	for i := range 100 {
		if _, err := ask(t, stream, reading(i, strconv.Itoa(20+i%3))); err != nil {
			t.Fatal(err)
		}
	}
	m := &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(100, "9000")}}
	_, body := postTo(t, httpClient(t, nil), "http://"+listeners[1].Addr().String()+batch.Path, nil, mustEncode(t, batch.JSON, m))
	out, err := batch.JSON.DecodeResponse(body)
	if err != nil || out.Answers[0].Status == "ok" {
		t.Errorf("what was learned over gRPC is not known to HTTP: %v, %v", out, err)
	}
}
