// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// serveBatches starts a server whose HTTP endpoint is on loopback; stop drains it.
func serveBatches(tb testing.TB, c Config) (address string, stop func()) {
	tb.Helper()
	s, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.ServeBoth(ctx, nil, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return l.Addr().String(), stop
}

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
	address, _ := serveBatches(t, Config{Insecure: true, Defaults: ewma})
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
	address, _ := serveBatches(t, Config{Insecure: true, Defaults: ewma})
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
	address, _ := serveBatches(t, Config{Insecure: true, Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"}})
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
	address, _ := serveBatches(t, Config{Insecure: true, Anonymous: []string{"default"}, Defaults: ewma})
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

// Who may send for which namespace is told by certificate and token, as for gRPC.
func TestIdentityOfBatches(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	server := ca.issue("localhost")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ := serveBatches(t, Config{TLS: server, Clients: map[string]Client{
		"by certificate": {Names: []string{"mapper"}, Namespaces: []string{"default"}},
		"foreign":        {Names: []string{"foreign"}, Namespaces: []string{"other"}},
		"by token":       {Token: token, Namespaces: []string{"default"}},
	}})
	body := mustEncode(t, batch.JSON, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{reading(0, "1")}})
	for name, test := range map[string]struct {
		cert, token string
		status      int
	}{
		"certificate":  {"mapper", "", 200},
		"foreign":      {"foreign", "", 403},
		"stranger":     {"stranger", "", 403},
		"none":         {"", "", 401},
		"token":        {"", "0123456789abcdef0123456789abcdef", 200},
		"wrong token":  {"", "0123456789abcdef0123456789abcdeX", 401},
		"token beside": {"mapper", "wrong", 401},
	} {
		if test.cert != "" {
			ca.issue(test.cert)
		}
		config := ca.config(test.cert)
		header := map[string]string{}
		if test.token != "" {
			header["Authorization"] = "Bearer " + test.token
		}
		if resp, got := postTo(t, httpClient(t, config), "https://"+address+batch.Path, header, body); resp.StatusCode != test.status {
			t.Errorf("%s: %s, %s; want %d", name, resp.Status, got, test.status)
		}
	}
	// Plaintext to a server with TLS is told so.
	resp, got := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, nil, body)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(got), "HTTPS") {
		t.Errorf("plaintext: %s, %s", resp.Status, got)
	}
}

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
	address, _ := serveBatches(t, Config{TLS: server, Defaults: ewma, Clients: map[string]Client{
		"flood": {Token: tokens[0], Namespaces: []string{"default"}, Limits: Limits{Rate: 100, Burst: 100, Patience: time.Second}},
		"other": {Token: tokens[1], Namespaces: []string{"elsewhere"}},
	}})
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

// receiver is a client's own server, for verdicts that come later.
type receiver struct {
	posts  chan *pb.DetectResponse
	status []int // of the first posts
	mu     sync.Mutex
	seen   int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	status := http.StatusNoContent
	if r.seen < len(r.status) {
		status = r.status[r.seen]
	}
	r.seen++
	r.mu.Unlock()
	if status != http.StatusNoContent {
		http.Error(w, "not now", status)
		return
	}
	format, err := batch.FormatOf(req.Header.Get("Content-Type"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	body, _ := io.ReadAll(req.Body)
	m, err := format.DecodeResponse(body)
	if err != nil || req.Header.Get("Authorization") != "Bearer the-token-of-the-callback" {
		http.Error(w, "wrong", http.StatusBadRequest)
		return
	}
	r.posts <- m
	w.WriteHeader(status)
}

// Verdicts are posted to a URL that is listed for the client, in order, and again where that fails for now.
func TestCallback(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	own := ca.issue("localhost")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("the-token-of-the-callback"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &receiver{posts: make(chan *pb.DetectResponse, 16), status: []int{503, 429}}
	loader, err := tlsfiles.New(own, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := loader.Server("h2")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "localhost:0", config)
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	var served sync.WaitGroup
	served.Go(func() { _ = hs.Serve(l) })
	defer served.Wait()
	defer hs.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	url := "https://localhost:" + port + "/answers"
	address, stop := serveBatches(t, Config{Insecure: true, Defaults: ewma, Callbacks: []Callback{
		{Client: "anybody", URL: url, Token: token, TLS: own},
	}})
	for i, format := range []batch.Format{batch.JSON, batch.CloudEvents} {
		m := &pb.DetectRequest{Stream: &pb.StreamInfo{StreamId: "run"}}
		for j := range 2 {
			in := reading(2*i+j, "1")
			in.Sequence = uint64(2*i + j + 1)
			m.Readings = append(m.Readings, in)
		}
		header := map[string]string{batch.CallbackHeader: url, "Content-Type": format.ContentType()}
		if resp, got := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, header, mustEncode(t, format, m)); resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %s", resp.Status, got)
		}
		// What cannot be told apart later is refused.
		m.Readings[1].Sequence = 0
		if resp, _ := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, header, mustEncode(t, format, m)); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without a sequence: %s", resp.Status)
		}
	}
	stop() // posts what waits
	for i := range 2 {
		got := <-r.posts
		want := []uint64{uint64(2*i + 1), uint64(2*i + 2)}
		if got.StreamId != "run" || len(got.Answers) != 2 || got.Answers[0].Sequence != want[0] || got.Answers[1].Sequence != want[1] || got.Answers[0].Detector != "ewma" {
			t.Errorf("post %d: %v", i, got)
		}
	}
}

func TestCallbacksThatAreRefused(t *testing.T) {
	for want, c := range map[string]Callback{
		"no client":  {Client: "nobody", URL: "https://x/"},
		"want https": {Client: "anybody", URL: "http://x/"},
		"no token":   {Client: "anybody", URL: "http://x/", Insecure: true, Token: "t"},
		"/absent":    {Client: "anybody", URL: "https://x/", TLS: tlsfiles.Files{CA: "/absent"}},
	} {
		s, err := New(Config{Insecure: true, Callbacks: []Callback{c}})
		if err == nil {
			var l net.Listener
			if l, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
				err = s.ServeBoth(t.Context(), nil, l)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

// gRPC and HTTP score the same series.
func TestBothEndpoints(t *testing.T) {
	s, err := New(Config{Insecure: true, Defaults: ewma})
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

// Whatever a client posts is answered with a status.
func FuzzBatch(f *testing.F) {
	address, _ := serveBatches(f, Config{Insecure: true, Defaults: ewma, MaxSeries: 100, Limits: Limits{Rate: -1}})
	c := httpClient(f, nil)
	for _, format := range []batch.Format{batch.JSON, batch.CloudEvents} {
		r := reading(0, "1")
		r.Sequence, r.Stream = 1, &pb.StreamInfo{StreamId: "a"}
		r.Series = &pb.SeriesInfo{Detector: "ewma", Threshold: 0.9, Members: []*pb.Member{
			{Namespace: "default", DeviceName: "lamp", PropertyName: "light", Minimum: proto.Float64(0)},
		}}
		f.Add(format.ContentType(), mustEncode(f, format, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{r}}))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+batch.Path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := c.Do(req)
		if err != nil {
			t.Skip(err) // no header that can be sent
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s: %s, %v", resp.Status, got, err)
		}
	})
}
