// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
)

// Nodes of a cluster and workers are processes of their own, which can be killed: this program, told what to be.
const roleVariable = "EDGE_ANOMALY_BUS_TEST_ROLE"

type role struct {
	Node   *node
	Worker *worker
	Light  *light
}

// node is a NATS server of a cluster of three.
type node struct {
	Name          string
	Dir           string
	Port, Cluster int
	Routes        []string
}

// worker works on a bus.
type worker struct {
	Name       string
	URL        string
	Settings   map[string]any
	Series     int
	Checkpoint time.Duration
}

func TestMain(m *testing.M) {
	if text := os.Getenv(roleVariable); text != "" {
		if err := play(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// play is what the role says until the standard input ends, which it does with the process that began it.
func play(text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	switch {
	case r.Node != nil:
		return r.Node.run(ctx)
	case r.Light != nil:
		return r.Light.run(ctx)
	}
	return r.Worker.run(ctx)
}

func (n *node) run(ctx context.Context) error {
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, JetStream: true, StoreDir: n.Dir, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "plant", Host: "127.0.0.1", Port: n.Cluster},
	}
	for _, r := range n.Routes {
		u, err := url.Parse(r)
		if err != nil {
			return err
		}
		o.Routes = append(o.Routes, u)
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	if os.Getenv("EDGE_ANOMALY_BUS_TEST_LOG") != "" {
		o.NoLog, o.LogFile = false, filepath.Join(os.TempDir(), n.Name+".log")
		s.ConfigureLogger()
	}
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

func (w *worker) run(ctx context.Context) error {
	conn, err := nats.Connect(w.URL, bus.Connect(w.Name)...)
	if err != nil {
		return err
	}
	defer conn.Close()
	b, err := bus.Open(ctx, conn, bus.Config{Replicas: 3, Report: func(part, _ string, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, w.Name, part, err)
		}
	}})
	if err != nil {
		return err
	}
	return b.Worker(bus.WorkerConfig{
		Name: w.Name, Intake: intake.Config{Defaults: w.Settings, MaxSeries: w.Series}, Checkpoint: w.Checkpoint,
	}).Run(ctx)
}

// process is a role that is played.
type process struct {
	cmd   *exec.Cmd
	role  role
	stdin io.Closer
	ended chan struct{}
}

func begin(tb testing.TB, r role) *process {
	tb.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		tb.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{role: r, cmd: exec.Command(program), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+string(data), "GOMAXPROCS=2")
	out := &lines{tb: tb}
	p.cmd.Stderr, p.cmd.Stdout = out, out
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	tb.Cleanup(p.kill)
	return p
}

// lines are what processes say: the last of it is told where a test fails.
type lines struct{ tb testing.TB }

func (l *lines) Write(p []byte) (int, error) {
	if os.Getenv("EDGE_ANOMALY_BUS_TEST_LOG") != "" {
		fmt.Fprint(os.Stderr, string(p))
	}
	return len(p), nil
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// leave lets the process end by itself.
func (p *process) leave(tb testing.TB) {
	tb.Helper()
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		tb.Error("a process does not end")
		p.kill()
	}
}

// cluster is three NATS servers.
type cluster struct {
	nodes     [3]node
	processes [3]*process
}

func newCluster(tb testing.TB) *cluster {
	tb.Helper()
	c := new(cluster)
	ports := freePorts(tb, 6)
	for i := range c.nodes {
		n := &c.nodes[i]
		n.Name, n.Dir = fmt.Sprintf("nats-%d", i), tb.TempDir()
		n.Port, n.Cluster = ports[i], ports[3+i]
		for _, p := range ports[3:] {
			n.Routes = append(n.Routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
		}
		c.start(tb, i)
	}
	return c
}

func (c *cluster) start(tb testing.TB, i int) {
	tb.Helper()
	c.processes[i] = begin(tb, role{Node: &c.nodes[i]})
}

// url are the addresses of all nodes.
func (c *cluster) url() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", n.Port))
	}
	return strings.Join(all, ",")
}

func freePorts(tb testing.TB, n int) (ports []int) {
	tb.Helper()
	for range n {
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// connect connects to a cluster until the test ends.
func connect(tb testing.TB, url string, options ...nats.Option) *nats.Conn {
	tb.Helper()
	conn, err := nats.Connect(url, append(bus.Connect("test"), options...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(conn.Close)
	return conn
}

// opened is a bus, which may take a while to elect leaders.
func opened(tb testing.TB, conn *nats.Conn, c bus.Config) *bus.Bus {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, conn, c)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// background runs until the test ends, or stop is called.
func background(tb testing.TB, run func(context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	over := false
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			tb.Error(err)
		}
	}
	tb.Cleanup(stop)
	return stop
}
