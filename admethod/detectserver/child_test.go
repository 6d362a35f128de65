// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detectserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const childEnv = "DETECTSERVER_TEST_CHILD"

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		if err := child(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// Child is a server in a process of its own, as what it is told.
type Child struct {
	GRPC, HTTP string         // where it listens; "" where it does not
	TLS        tlsfiles.Files // plaintext without
	StateDir   string
	Tally      string // directory in which the drivers tally and tallyrows write what they judge
	Rate       float64
	Bare       bool // a stream of gRPC that judges nothing instead
}

// child runs until SIGTERM.
func child(config string) error {
	var c Child
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	own := Config{
		Insecure: c.TLS == (tlsfiles.Files{}), TLS: c.TLS, Limits: Limits{Rate: c.Rate}, Config: intake.Config{
			StateDir: c.StateDir, Snapshot: time.Second, Defaults: map[string]any{"detector": "ewma"},
		},
	}
	if !own.Insecure {
		own.Clients = map[string]Client{"mapper": {Names: []string{"mapper"}, Namespaces: []string{"*"}}}
	}
	if c.Tally != "" {
		path := filepath.Join(c.Tally, fmt.Sprint("tally-", os.Getpid()))
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		open := func(driver.Settings, struct{}) (driver.Detector, error) { return tally{file}, nil }
		none := func() struct{} { return struct{}{} }
		own.Drivers = driver.NewRegistry(
			driver.NewFactory(driver.Info{Name: "tally", Summary: "for tests"}, none, open),
			driver.NewFactory(driver.Info{Name: "tallyrows", Summary: "for tests", Members: 8}, none, open),
		)
		own.Defaults = map[string]any{"detector": "tally"}
	}
	s, err := New(own)
	if err != nil {
		return err
	}
	if c.Bare {
		l, err := net.Listen("tcp", c.GRPC)
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		g := grpc.NewServer(grpc.Creds(guardian{s}))
		pb.RegisterAnomalyDetectionServiceServer(g, bare{})
		defer context.AfterFunc(ctx, g.Stop)()
		return g.Serve(l)
	}
	var l [2]net.Listener
	for i, address := range []string{c.GRPC, c.HTTP} {
		if address == "" {
			continue
		}
		if l[i], err = net.Listen("tcp", address); err != nil {
			return err
		}
		fmt.Println(l[i].Addr())
	}
	return s.ServeBoth(ctx, l[0], l[1])
}

// tally judges a row as it is told by the row, and writes down that it did. What it wrote survives kill -9.
type tally struct{ file *os.File }

func (d tally) Detect(row driver.Row, out *driver.Result) {
	for i := range row[1:] {
		if row[i+1].Value != row[0].Value {
			out.Message = "a row of several moments"
			return
		}
	}
	fmt.Fprintf(d.file, "%.0f\n", row[0].Value)
	out.Expected, out.Confidence = row[0].Value, 1
	out.Judge(0, driver.KindNone)
}

// Process is a child that runs.
type Process struct {
	*exec.Cmd
	GRPC, HTTP string // where it listens

	ended bool
}

// Spawn starts a child and waits until it listens. It ends with the test at the latest.
func Spawn(tb testing.TB, c Child) *Process {
	tb.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Process{Cmd: exec.CommandContext(context.WithoutCancel(tb.Context()), os.Args[0])}
	p.Env = append(os.Environ(), childEnv+"="+string(config))
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.End(syscall.SIGKILL) })
	lines := bufio.NewReader(out)
	for _, way := range []struct {
		asked string
		at    *string
	}{{c.GRPC, &p.GRPC}, {c.HTTP, &p.HTTP}} {
		if way.asked == "" {
			continue
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			tb.Fatal(err)
		}
		*way.at = strings.TrimSpace(line)
	}
	return p
}

// End sends a signal that ends the child, and waits for its end.
func (p *Process) End(s os.Signal) {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.Process.Signal(s)
	_ = p.Wait()
}
