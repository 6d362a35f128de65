// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// metaServer is EdgeCore's, as far as the sink meets it: plain HTTP without authentication; the verbs of resources go
// through to the cloud, which answers as the API server does, other paths are an error; without the cloud, a patch is an
// internal error.
type metaServer struct {
	cloud   *api
	online  atomic.Bool
	refused atomic.Int64
}

func (m *metaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !strings.HasPrefix(r.URL.Path, "/apis/") || r.Header.Get("Authorization") != "":
		refuse(w, http.StatusInternalServerError, "InternalError", fmt.Sprintf("request[%s::%s] isn't supported", r.URL.Path, r.Method))
	case !m.online.Load():
		m.refused.Add(1)
		refuse(w, http.StatusInternalServerError, "InternalError", "connection lost between EdgeCore and CloudCore")
	default:
		m.cloud.ServeHTTP(w, r)
	}
}

// Through the MetaServer, verdicts arrive as soon as the edge is online; while it is not, the latest are kept.
func TestMetaServer(t *testing.T) {
	cloud := newAPI(t, "default/light-1", "default/light-2")
	meta := &metaServer{cloud: cloud}
	edge := httptest.NewServer(meta)
	t.Cleanup(edge.Close)
	s := start(t, cloud, map[string]any{"server": edge.URL})
	for _, score := range []float64{1, 0.1, 0.97} {
		write(t, s, result("light-1", "power", score), result("light-2", "power", 1))
	}
	waittest.Eventually(t, "the MetaServer is offline", func() bool { return meta.refused.Load() >= 2 && s.Stats().Failed >= 2 })
	meta.online.Store(true)
	waittest.Eventually(t, "the latest verdicts", func() bool {
		return cloud.severity("default/light-1") == "warning" && cloud.severity("default/light-2") == "critical" && s.Stats().Waiting == 0
	})
	cloud.setFail(func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, http.StatusForbidden, "Forbidden", "cloudcore cannot patch devicestatuses")
		return true
	})
	write(t, s, result("light-1", "power", 0.1))
	waittest.Eventually(t, "what the API server says comes through", func() bool { return s.Stats().Forbidden > 0 })
	cloud.mu.Lock()
	defer cloud.mu.Unlock()
	if len(cloud.other) > 0 {
		t.Errorf("more than patches: %v", cloud.other)
	}
}

const secret = "a-service-accounts-token"

// secured is an API server that wants the token, with its certificate as a file.
func secured(t *testing.T) (a *api, server *httptest.Server, ca string) {
	t.Helper()
	a = newAPI(t, "default/light-1")
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
			return
		}
		a.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return a, server, ca
}

func put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// With requireAuthorization, or in front of an API server: a token that is read again, and an authority.
func TestServerWithToken(t *testing.T) {
	a, server, ca := secured(t)
	s := start(t, a, map[string]any{"server": server.URL, "tokenFile": put(t, "token", secret), "caFile": put(t, "ca.crt", ca)})
	write(t, s, result("light-1", "power", 1))
	waittest.Eventually(t, "it is written", func() bool { return a.severity("default/light-1") == "critical" })

	stranger := start(t, a, map[string]any{"server": server.URL, "tokenFile": put(t, "token", "another"), "caFile": put(t, "ca.crt", ca)})
	write(t, stranger, result("light-1", "power", 0.1))
	waittest.Eventually(t, "a wrong token is refused", func() bool { return stranger.Stats().Forbidden > 0 })
	distrusting := start(t, a, map[string]any{"server": server.URL, "tokenFile": put(t, "token", secret)})
	write(t, distrusting, result("light-1", "power", 0.1))
	waittest.Eventually(t, "an authority that is not trusted", func() bool { return distrusting.Stats().Failed > 0 })
	if a.severity("default/light-1") != "critical" {
		t.Error("it was written nevertheless")
	}
}

const kubeconfig = `
apiVersion: v1
kind: Config
current-context: nowhere
clusters:
- {name: nowhere, cluster: {server: "https://127.0.0.1:1"}}
- {name: here, cluster: {server: %q, certificate-authority-data: %s}}
users:
- {name: mapper, user: {token: %s}}
contexts:
- {name: nowhere, context: {cluster: nowhere, user: mapper}}
- {name: here, context: {cluster: here, user: mapper}}
`

func TestKubeconfig(t *testing.T) {
	a, server, ca := secured(t)
	file := put(t, "config", fmt.Sprintf(kubeconfig, server.URL, base64.StdEncoding.EncodeToString([]byte(ca)), secret))
	made := func(options map[string]any) *Sink {
		t.Helper()
		maps.Copy(options, map[string]any{"interval": "20ms", "kubeconfig": file})
		return startWith(t, options)
	}
	write(t, made(map[string]any{"context": "here"}), result("light-1", "power", 1))
	waittest.Eventually(t, "it is written", func() bool { return a.severity("default/light-1") == "critical" })
	elsewhere := made(map[string]any{})
	write(t, elsewhere, result("light-1", "power", 0.1))
	waittest.Eventually(t, "the current context leads elsewhere", func() bool { return elsewhere.Stats().Failed > 0 })
	if _, err := New(admethod.SinkSettings{Options: map[string]any{"kubeconfig": file, "context": "none"}}); err == nil {
		t.Error("a context that is not there: no error")
	}
}

const (
	podEnv       = "DEVICESTATUS_TEST_POD"
	notPermitted = 77 // exit code: no permission to be a pod
)

// In a pod there are two environment variables, a token and a certificate in a fixed place. The test runs itself in a
// mount namespace of its own, where it may put them there.
func TestInCluster(t *testing.T) {
	a, server, ca := secured(t)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // this test itself
	cmd.Env = append(os.Environ(), podEnv+"="+ca, "KUBERNETES_SERVICE_HOST="+u.Hostname(), "KUBERNETES_SERVICE_PORT="+u.Port())
	isolate(cmd)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == notPermitted, errors.Is(err, os.ErrPermission):
		t.Skipf("no permission for a mount namespace: %s", out)
	case err != nil:
		t.Fatalf("%v: %s", err, out)
	}
	if got := a.severity("default/light-1"); got != "critical" {
		t.Errorf("severity %v: %s", got, out)
	}
}

// pod is a mapper in a pod that writes one verdict.
func pod(ca string) int {
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount"
	if err := mountRun(); err != nil {
		fmt.Println(err)
		return notPermitted
	}
	err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(dir+"/token", []byte(secret), 0o600), os.WriteFile(dir+"/ca.crt", []byte(ca), 0o600))
	if err == nil {
		ctx := context.Background()
		var s *Sink
		if s, err = New(admethod.SinkSettings{}); err == nil {
			err = errors.Join(s.Start(ctx), s.Write(ctx, []driver.Result{result("light-1", "power", 1)}), s.Shutdown(ctx))
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// What cannot be a Device is no request: not again and again, and not to another path.
func TestNamesThatAreNoDevice(t *testing.T) {
	a := newAPI(t, "default/light-1")
	var paths atomic.Int64
	a.setFail(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/default/devicestatuses/light-1") {
			paths.Add(1)
		}
		return false
	})
	s := start(t, a, nil)
	names := []string{"", ".", "..", "a/b", "../../nodes/x", "a%2fb", strings.Repeat("x", 300)}
	for _, name := range names {
		write(t, s, result(name, "power", 1))
		r := result("light-1", "power", 1)
		r.Key.Namespace = name
		write(t, s, r)
		s.Forget(r.Key)
	}
	write(t, s, result("light-1", "power", 1))
	waittest.Eventually(t, "the one that is a Device is written", func() bool { return a.severity("default/light-1") == "critical" })
	if got := s.Stats(); got.Refused != uint64(2*len(names)) || got.Devices != 1 || paths.Load() != 0 {
		t.Errorf("%+v, %d requests to other paths", got, paths.Load())
	}
}

// The verdict of a group is written to the devices of its members, and to nothing that is called like the group.
func TestGroups(t *testing.T) {
	a := newAPI(t, "default/light-1", "default/light-2")
	s := start(t, a, nil)
	sinks := new(admethod.SinkRegistry)
	sinks.Register(Name, admethod.SinkFactory{Name: Name, New: func(admethod.SinkSettings) (admethod.Sink, error) { return s, nil }})
	drivers := driver.NewRegistry(driver.NewFactory(driver.Info{Name: "blame", Members: 2}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) { return blame{}, nil }))
	h := sinktest.Handler(t, pipeline.Options{Sinks: sinks, Drivers: drivers, DefaultSinks: []string{Name}, Replay: true})
	config, err := admethod.ParseSettings(map[string]any{"detector": "blame", "group": "room-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"light-1", "light-2"} {
		b, err := h.Bind(driver.Key{Namespace: "default", Device: device, Property: "power"}, config, admethod.Meta{Cycle: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for i := range 5 {
			b.Observe(time.Unix(int64(100+i), 0), 1)
		}
		if device == "light-2" {
			for i := range 5 {
				b.Observe(time.Unix(int64(200+i), 0), 1)
			}
		}
	}
	waittest.Eventually(t, "both members are told of", func() bool {
		return a.severity("default/light-1") != nil && a.severity("default/light-2") != nil && s.Stats().Waiting == 0
	})
	if got := s.Stats(); got.Missing > 0 || got.Refused > 0 || got.Devices != 2 {
		t.Errorf("%+v", got)
	}
}

// blame finds every row anomalous.
type blame struct{}

func (blame) Detect(_ driver.Row, out *driver.Result) { out.Judge(1, driver.KindCorrelation) }

// A device that is forgotten and comes back at once is not written more often than any other.
func TestForgottenDevicesWaitTheirTurn(t *testing.T) {
	a := newAPI(t, "default/light-1")
	s := start(t, a, map[string]any{"interval": "300ms"})
	began := time.Now()
	rounds := 0
	for ; time.Since(began) < 2*time.Second; rounds++ {
		r := result("light-1", "power", 1)
		write(t, s, r)
		waittest.Eventually(t, "it is written", func() bool { return a.severity("default/light-1") == "critical" })
		s.Forget(r.Key)
		waittest.Eventually(t, "it is forgotten", func() bool { return s.Stats().Devices == 0 })
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.writes["default/light-1"]
	if n, span := len(at), at[len(at)-1].Sub(at[0]); rounds < 2 || n > int(span/(250*time.Millisecond))+2 {
		t.Errorf("%d writes within %v", n, span)
	}
	if len(s.left) > 1 {
		t.Errorf("%d devices that left are remembered", len(s.left))
	}
}

// Detection does not feel an API server that hangs.
func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("some 100,000 readings")
	}
	well := newAPI(t, "default/light-1")
	var asked atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Store(true)
		_, _ = io.ReadAll(r.Body) // only then the server sees that the client is gone
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	made := func(url string) *Sink {
		s, err := New(admethod.SinkSettings{Options: map[string]any{"server": url, "interval": "20ms", "rate": 2000}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sinktest.Undisturbed(t, made(well.URL), made(server.URL), asked.Load)
}
