// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

var scratch string // directory of the run

// binary is the real program, built when it is needed first.
func binary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program, which the race detector does not see")
	}
	file, err := built()
	must(t, err)
	return file
}

var built = sync.OnceValues(func() (string, error) {
	file := filepath.Join(scratch, "anomaly-detector")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "anomaly-detector-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// room is a directory with certificates in tls, and a configuration.
type room struct {
	dir       string
	authority *certtest.Authority
}

const plainConfig = `
listen: 127.0.0.1:0
http: {listen: "127.0.0.1:0"}
tls: {ca: tls/ca.crt, cert: tls/localhost.crt, key: tls/localhost.key}
clients:
- {name: mapper.edge, namespaces: [default]}
anomalyDetection:
  stateDir: state
  sinks: log
`

func newRoom(t *testing.T, config string) *room {
	t.Helper()
	r := &room{dir: t.TempDir(), authority: certtest.New()}
	folder := filepath.Join(r.dir, "tls")
	must(t, os.Mkdir(folder, 0o700))
	r.authority.Issue(t, folder, "localhost", "127.0.0.1")
	r.authority.Issue(t, folder, "mapper.edge")
	r.authority.Issue(t, folder, "other")
	must(t, os.WriteFile(filepath.Join(r.dir, "config.yaml"), []byte(config), 0o600))
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *room) file(name string) string { return filepath.Join(r.dir, "tls", name) }

// client trusts the authority and shows a certificate, none for "".
func (r *room) client(t *testing.T, name string) *tls.Config {
	t.Helper()
	files := tlsfiles.Files{CA: r.file("ca.crt"), ServerName: "localhost"}
	if name != "" {
		files.Cert, files.Key = r.file(name+".crt"), r.file(name+".key")
	}
	loader, err := tlsfiles.New(files, nil)
	must(t, err)
	return loader.Client()
}

func (r *room) dial(t *testing.T, p *program, name string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(credentials.NewTLS(r.client(t, name))))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// program is a running child.
type program struct {
	cmd        *exec.Cmd
	grpc, http string
	done       chan struct{} // closed when it has ended
	err        error         // how; valid after done

	mu  sync.Mutex
	log bytes.Buffer
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *program) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start starts the program and waits until it serves. It ends with the test at the latest.
func (r *room) start(t *testing.T, args ...string) *program {
	t.Helper()
	file := binary(t)
	p := &program{done: make(chan struct{})}
	p.cmd = exec.Command(file, args...)
	p.cmd.Dir, p.cmd.Stderr = r.dir, p
	stdout, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	told := make(chan string, 2)
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if rest, ok := strings.CutPrefix(lines.Text(), "anomaly-detector: "); ok && len(told) < cap(told) {
				told <- rest
			}
		}
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	})
	for range 2 {
		select {
		case line := <-told:
			kind, address, _ := strings.Cut(line, " ")
			if kind == "grpc" {
				p.grpc = address
			} else {
				p.http = "https://" + strings.Replace(address, "127.0.0.1", "localhost", 1)
			}
		case <-p.done:
			t.Fatalf("it ended: %v\n%s", p.err, p.logged())
		case <-time.After(time.Minute):
			t.Fatalf("it does not tell its addresses\n%s", p.logged())
		}
	}
	return p
}

// stop ends the program by SIGTERM, which must be in good order.
func (p *program) stop(t *testing.T) {
	t.Helper()
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
		if p.err != nil {
			t.Errorf("it ended with %v\n%s", p.err, p.logged())
		}
	case <-time.After(time.Minute):
		t.Fatalf("it does not end\n%s", p.logged())
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func reading(i int, value float64) *pb.DevicePropertyData {
	return &pb.DevicePropertyData{
		Namespace: "default", DeviceName: "boiler-1", PropertyName: "temperature", PropertyValue: fmt.Sprint(value),
		Timestamp: time.Date(2026, 7, 1, 12, 0, i, 0, time.UTC).Format(time.RFC3339),
	}
}

// ask has the readings judged on a stream of their own.
func ask(t *testing.T, conn *grpc.ClientConn, readings ...*pb.DevicePropertyData) ([]*pb.AnomalyResponse, error) {
	t.Helper()
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(within(t))
	if err != nil {
		return nil, err
	}
	var answers []*pb.AnomalyResponse
	for _, m := range readings {
		if err := stream.Send(m); err != nil && err != io.EOF { //nolint:errorlint // Recv tells more
			return nil, err
		}
		a, err := stream.Recv()
		if err != nil {
			return answers, err
		}
		answers = append(answers, a)
	}
	return answers, stream.CloseSend()
}

// The program serves over gRPC and HTTP, says that it is well, and ends in good order: what is on its way is answered,
// and what was learned is kept.
func TestServes(t *testing.T) {
	r := newRoom(t, plainConfig)
	p := r.start(t)
	conn := r.dial(t, p, "mapper.edge")
	health, err := healthpb.NewHealthClient(conn).Check(within(t), new(healthpb.HealthCheckRequest))
	if err != nil || health.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", health, err)
	}
	probe := &http.Client{Transport: &http.Transport{TLSClientConfig: r.client(t, "")}, Timeout: time.Minute} // shows no certificate
	for _, path := range []string{"/readyz", "/healthz"} {
		resp, err := probe.Get(p.http + path)
		must(t, err)
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	probe.CloseIdleConnections()
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: r.client(t, "mapper.edge"), ForceAttemptHTTP2: true}, Timeout: time.Minute}
	defer web.CloseIdleConnections()
	// What the README shows: the last of the readings is anomalous.
	readings, err := os.ReadFile("../../examples/external-anomaly-detector/testdata/readings.json")
	must(t, err)
	if a := post(t, web, p, readings); len(a) != 120 || a[118].Severity != "SEVERITY_NORMAL" || a[119].Status == "ok" {
		t.Errorf("%d verdicts, the last ones are %+v", len(a), a[max(0, len(a)-2):])
	}
	// What was learned over HTTP counts for gRPC, which a minute later the same client may go on with.
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(within(t))
	must(t, err)
	must(t, stream.Send(reading(200, 21.5)))
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	web.CloseIdleConnections()
	p.stop(t)
	if _, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), "shuts down") {
		t.Errorf("the stream ended with %v", err)
	}
	for _, want := range []string{`"Serving"`, "anomaly: default/boiler-1/temperature", `"Ended"`} {
		if !strings.Contains(p.logged(), want) {
			t.Errorf("the log lacks %s\n%s", want, p.logged())
		}
	}
	kept, err := os.ReadDir(filepath.Join(r.dir, "state"))
	if err != nil || len(kept) == 0 {
		t.Errorf("nothing was kept: %v", err)
	}
}

type verdict struct{ Status, Severity string }

func post(t *testing.T, client *http.Client, p *program, body []byte) []verdict {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodPost, p.http+"/v1/detect", bytes.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s", resp.Status, raw)
	}
	var out struct{ Answers []verdict }
	must(t, json.Unmarshal(raw, &out))
	return out.Answers
}

// Who may not send is told so, and so is the operator.
func TestRefuses(t *testing.T) {
	r := newRoom(t, plainConfig)
	p := r.start(t)
	// Who has no certificate may notice no more than that the connection is cut.
	for name, want := range map[string]string{"other": "PermissionDenied", "": ""} {
		if _, err := ask(t, r.dial(t, p, name), reading(0, 1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("client %q: error %v, want %s", name, err, want)
		}
	}
	foreign, own := reading(0, 1), reading(1, 1)
	foreign.Namespace = "plant-1"
	if _, err := ask(t, r.dial(t, p, "mapper.edge"), foreign, own); err == nil || !strings.Contains(err.Error(), "plant-1") {
		t.Errorf("foreign namespace: error %v", err)
	}
	p.stop(t)
	if !strings.Contains(p.logged(), "PermissionDenied") {
		t.Errorf("the log says nothing of it\n%s", p.logged())
	}
}

// Certificates that are replaced are shown in new connections, and streams that are open stay.
func TestCertificatesAreRotated(t *testing.T) {
	r := newRoom(t, plainConfig)
	p := r.start(t)
	serial := func() string {
		conn, err := tls.Dial("tcp", p.grpc, r.client(t, "mapper.edge"))
		must(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	stream, err := pb.NewAnomalyDetectionServiceClient(r.dial(t, p, "mapper.edge")).StreamDetect(within(t))
	must(t, err)
	exchange := func(i int) {
		t.Helper()
		must(t, stream.Send(reading(i, 1)))
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	exchange(0)
	before := serial()
	r.authority.Issue(t, filepath.Join(r.dir, "tls"), "localhost", "127.0.0.1")
	waittest.Eventually(t, "the new certificate is shown", func() bool { return serial() != before })
	exchange(1)
	// One that cannot be read is not taken.
	must(t, os.WriteFile(r.file("localhost.crt"), []byte("no certificate"), 0o600))
	waittest.Eventually(t, "the broken file is told", func() bool {
		serial()
		return strings.Contains(p.logged(), "keeps its certificates")
	})
	exchange(2)
	p.stop(t)
}

// A program that cannot serve ends with 1 and says why.
func TestCannotServe(t *testing.T) {
	r := newRoom(t, plainConfig)
	p := r.start(t)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"address in use":   {[]string{"--listen", p.grpc}, "listen: listen tcp " + p.grpc + ": bind: address already in use"},
		"no such file":     {[]string{"--config", "none.yaml"}, "configuration: open none.yaml: no such file"},
		"argument":         {[]string{"here"}, `argument "here": want none`},
		"no such flag":     {[]string{"--liste"}, "flag provided but not defined"},
		"address of flags": {[]string{"--http-listen", "6805"}, `http.listen: got "6805", want host:port`},
	} {
		out, err := r.run(t, tt.args...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, tt.want) { //nolint:errorlint // of Wait
			t.Errorf("%s: %v, want %q in\n%s", name, err, tt.want, out)
		}
	}
	p.stop(t)
	must(t, os.Remove(r.file("localhost.key")))
	if out, err := r.run(t, "--check"); err == nil || !strings.Contains(out, "localhost.key") {
		t.Errorf("without the key: %v\n%s", err, out)
	}
	if _, err := r.run(t, "--help"); err != nil {
		t.Errorf("--help: %v", err)
	}
}

// run runs the program to its end and returns what it prints.
func (r *room) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	file := binary(t)
	cmd := exec.CommandContext(within(t), file, args...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
