// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpmethod

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// later is a detector that posts its verdicts, a goroutine for each batch: they come in any order.
type later struct {
	client *http.Client
	token  string
	wg     sync.WaitGroup

	mu    sync.Mutex
	codes map[int]int // of the answers to its posts
}

func (l *later) take(w http.ResponseWriter, r *http.Request, m *pb.DetectRequest) bool {
	if len(m.Readings) == 0 {
		return false
	}
	format, _ := batch.FormatOf(r.Header.Get("Content-Type"))
	url := r.Header.Get(batch.CallbackHeader)
	out := judge(m)
	out.StreamId = m.GetStream().GetStreamId()
	w.WriteHeader(http.StatusAccepted)
	l.wg.Go(func() {
		// In two parts, the second one first.
		half := len(out.Answers) / 2
		for _, part := range [][]*pb.AnomalyResponse{out.Answers[half:], out.Answers[:half]} {
			body, err := format.EncodeResponse(&pb.DetectResponse{StreamId: out.StreamId, Answers: part})
			if err == nil && len(part) > 0 {
				l.post(url, format.ContentType(), l.token, body)
			}
		}
	})
	return true
}

func (l *later) post(url, contentType, token string, body []byte) int {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	code := 0
	if resp, err := l.client.Do(req); err == nil {
		code = resp.StatusCode
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.codes == nil {
		l.codes = make(map[int]int)
	}
	l.codes[code]++
	return code
}

// Verdicts that are posted later reach the readings that they are on.
func TestCallback(t *testing.T) {
	dir := t.TempDir()
	own := certtest.New().Issue(t, dir, "127.0.0.1")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	trust, err := tlsfiles.New(tlsfiles.Files{CA: own.CA}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"json", "cloudevents"} {
		t.Run(format, func(t *testing.T) {
			client := &http.Transport{TLSClientConfig: trust.Client(), ForceAttemptHTTP2: true}
			l := &later{client: &http.Client{Transport: client, Timeout: time.Minute}, token: "secret"}
			defer client.CloseIdleConnections()
			defer l.wg.Wait()
			_, port, _ := net.SplitHostPort(proctest.FreeAddress(t))
			url := "https://127.0.0.1:" + port + "/answers"
			d := &detector{before: l.take}
			options := map[string]any{
				"format": format, "staleAfter": "1m", "timeout": "20s",
				"callback.listen": "127.0.0.1:" + port, "callback.url": url, "callback.token": token,
				"callback.tls.cert": own.Cert, "callback.tls.key": own.Key,
			}
			r := newRig(t, d.serve(t), options)
			r.judgeMany(t, 2000)
			l.wg.Wait()
			if l.codes[http.StatusNoContent] == 0 || len(l.codes) != 1 {
				t.Errorf("the posts were answered with %v", l.codes)
			}

			// What is not right is refused, and changes nothing.
			stream := d.received()[0].Stream.StreamId
			good := batch.Format(format)
			body := func(m *pb.DetectResponse) []byte {
				b, err := good.EncodeResponse(m)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			answers := []*pb.AnomalyResponse{{Sequence: 1, Severity: pb.Severity_SEVERITY_CRITICAL, Score: 1}}
			mine, foreign := body(&pb.DetectResponse{StreamId: stream, Answers: answers}), body(&pb.DetectResponse{StreamId: "other", Answers: answers})
			for name, test := range map[string]struct {
				contentType, token string
				body               []byte
				want               int
			}{
				"wrong token":   {good.ContentType(), "wrong", mine, 401},
				"no token":      {good.ContentType(), "", mine, 401},
				"media type":    {"text/html", "secret", mine, 415},
				"garbage":       {good.ContentType(), "secret", []byte("garbage"), 400},
				"other stream":  {good.ContentType(), "secret", foreign, 404},
				"too large":     {good.ContentType(), "secret", bytes.Repeat([]byte(" "), 5<<20), 413},
				"said already":  {good.ContentType(), "secret", mine, 204},
				"without order": {good.ContentType(), "secret", body(&pb.DetectResponse{StreamId: stream, Answers: []*pb.AnomalyResponse{{Status: "bad"}}}), 204},
			} {
				if code := l.post(url, test.contentType, test.token, test.body); code != test.want {
					t.Errorf("%s: status %d, want %d", name, code, test.want)
				}
			}
			r.submit(1)
			r.flush(t)
			if got := <-r.results; got.Severity != driver.Normal || len(r.results) > 0 {
				t.Errorf("%+v, and %d more", got, len(r.results))
			}
		})
	}
}

// The path of callback.url is text: what would be a pattern elsewhere, or none, is a path like others.
func TestCallbackPathIsNoPattern(t *testing.T) {
	for _, path := range []string{"", "/", "/{", "/%7B", "//b", "/{id}", "/{rest...}", "/{$}", "/a/../b", "/a%20b", "/{a}{b}", "?of=this"} {
		t.Run(path, func(t *testing.T) {
			client := new(http.Transport)
			l := &later{client: &http.Client{Transport: client, Timeout: time.Minute}}
			defer client.CloseIdleConnections()
			defer l.wg.Wait()
			address := proctest.FreeAddress(t)
			r := newRig(t, (&detector{before: l.take}).serve(t), map[string]any{
				"timeout": "1m", "staleAfter": "1m", "callback.listen": address, "callback.url": "http://" + address + path, "callback.insecure": true,
			})
			r.submit(1)
			r.flush(t)
			if got := <-r.results; got.Severity != driver.Normal {
				t.Errorf("%+v", got)
			}
			if code := l.post("http://"+address+"/elsewhere", "", "", nil); code != http.StatusNotFound {
				t.Errorf("status %d of another path, want 404", code)
			}
			if resp, err := l.client.Get("http://" + address + path); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("GET: %v %v, want 405", resp, err)
			} else {
				_ = resp.Body.Close()
			}
		})
	}
}

// Two targets share one listener, which ends with the last of them and can be begun again.
func TestCallbackIsShared(t *testing.T) {
	client := new(http.Transport)
	l := &later{client: &http.Client{Transport: client, Timeout: time.Minute}}
	defer client.CloseIdleConnections()
	defer l.wg.Wait()
	_, port, _ := net.SplitHostPort(proctest.FreeAddress(t))
	options := func() map[string]any {
		return map[string]any{
			"address": (&detector{before: l.take}).serve(t), "insecure": true, "timeout": "20s",
			"callback.listen": "127.0.0.1:" + port, "callback.url": "http://127.0.0.1:" + port, "callback.insecure": true,
		}
	}
	first := options()
	r := newRig(t, first["address"].(string), first)
	second := r.open(t, options(), driver.Key{Namespace: "default", Device: "fan", Property: "power"})
	for range 10 {
		r.submit(1)
		second.TrySubmit(driver.Row{{Key: key, At: time.Now(), Value: 200}})
	}
	r.flush(t)
	if len(r.results) != 20 {
		t.Errorf("%d verdicts, want 20", len(r.results))
	}
	r.stream.Close()
	second.TrySubmit(driver.Row{{Key: key, At: time.Now(), Value: 200}})
	r.flush(t)
	second.Close()
	for len(r.results) > 0 {
		<-r.results
	}
	r.stream = r.open(t, first, key) // as soon as the port is free
	r.await(t, 1, driver.Normal)
}

// A callback that cannot be listened for is told as the reason that there are no verdicts.
func TestCallbackPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, new(detector).serve(t), map[string]any{
		"callback.listen": taken.Addr().String(), "callback.url": "http://m/", "callback.insecure": true,
	})
	r.await(t, 1, driver.Unknown, "callback", "in use")
}

// Whatever comes as an answer, each reading gets exactly one answer, and none of another's.
func FuzzMatch(f *testing.F) {
	for _, format := range []batch.Format{batch.JSON, batch.CloudEvents} {
		body, err := format.EncodeResponse(judge(&pb.DetectRequest{Readings: []*pb.DevicePropertyData{{Sequence: 3}, {Sequence: 4}, {Sequence: 5}}}))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(format.ContentType(), body)
	}
	f.Add("application/json", []byte(`{"answers":[{"status":"ok"},{"status":"ok"},{"status":"bad"}]}`))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		m, err := decodeReply(contentType, body)
		if err != nil {
			return
		}
		asked := []reading{{m: &pb.DevicePropertyData{Sequence: 3}}, {m: &pb.DevicePropertyData{Sequence: 4}}, {m: &pb.DevicePropertyData{Sequence: 5}}}
		got := match(nil, asked, m.Answers)
		if len(got) != len(asked) {
			t.Fatalf("%d answers", len(got))
		}
		for i, a := range got {
			if a.sequence != asked[i].m.Sequence || (a.m == nil) != (a.cause != "") || a.m != nil && a.m.Sequence != 0 && a.m.Sequence != a.sequence {
				t.Errorf("answer %d: %+v", i, a)
			}
		}
	})
}

// The keys that a Device may set are described.
func TestParams(t *testing.T) {
	for _, want := range []string{"callback.listen", "callback.url", "callback.token", "callback.tls.ca", "callback.insecure", "format", "gzip", "maxAnswer", "address", "tls.ca"} {
		if !slices.ContainsFunc(Factory().Params(), func(p params.Param) bool { return p.Key == want && p.Doc != "" }) {
			t.Errorf("%s is not described", want)
		}
	}
	if err := Factory().Check(map[string]any{"format": "xml"}); err == nil || !strings.Contains(fmt.Sprint(err), "cloudevents") {
		t.Errorf("got %v", err)
	}
}
