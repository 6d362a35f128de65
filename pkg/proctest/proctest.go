// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package proctest is what tests share that run programs: peers that are installed on the machine, and the test itself once
// more as another process, which can be killed.
package proctest

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// EnvPrograms names the environment variable that has tests with real receivers run, as make monitoring does: they take
// minutes. EnvRequired names the one that makes a missing program an error, too, instead of a skipped test.
const (
	EnvPrograms = "MONITORING"
	EnvRequired = "MONITORING_REQUIRED"
)

// Program returns the path of the first of these programs that is installed. Without any, and without [EnvPrograms], the
// test is skipped.
func Program(tb testing.TB, names ...string) string {
	tb.Helper()
	if os.Getenv(EnvPrograms) == "" && os.Getenv(EnvRequired) == "" {
		tb.Skipf("make monitoring runs it with one of %q", names)
	}
	for _, name := range names {
		for _, candidate := range []string{name, "/usr/sbin/" + name} { // Debian's users do not have it in PATH
			if path, err := exec.LookPath(candidate); err == nil {
				return path
			}
		}
	}
	if os.Getenv(EnvRequired) != "" {
		tb.Fatalf("none of %q is installed, and %s is set", names, EnvRequired)
	}
	tb.Skipf("none of %q is installed", names)
	return ""
}

// Process is a running program.
type Process struct {
	Out *bufio.Reader // what a process of [Self] writes to its standard output; nil for others

	cmd    *exec.Cmd
	output lockedBuffer
	once   sync.Once
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() < 1<<20 {
		b.buf.Write(p)
	}
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Start runs a program until the test ends or it is killed. Its output is logged if the test fails.
func Start(tb testing.TB, path string, args ...string) *Process {
	tb.Helper()
	p := &Process{cmd: exec.Command(path, args...)}
	p.cmd.Stdout = &p.output
	p.start(tb)
	return p
}

func (p *Process) start(tb testing.TB) {
	tb.Helper()
	p.cmd.Stderr, p.cmd.WaitDelay = &p.output, 5*time.Second
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("%s:\n%s", p.cmd.Path, p.Output())
		}
	})
}

// Self runs the test binary once more, with variables in its environment by which its TestMain knows what to do, until the
// test ends or it is killed. Its standard error is logged if the test fails.
func Self(tb testing.TB, env ...string) *Process {
	tb.Helper()
	p := &Process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), env...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.Out = bufio.NewReader(out)
	p.start(tb)
	return p
}

// ID is that of the process.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// CPU is the processor time that the process has used, once it has ended.
func (p *Process) CPU() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Kill ends the program at once, by SIGKILL, and waits for its end; what it wrote to Out is gone then.
func (p *Process) Kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()         // says that it was killed
	})
}

// Stop asks the program to end, by SIGTERM, and waits for its end.
func (p *Process) Stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = p.cmd.Wait()                          // says how it ended
	})
}

// Signal sends a signal.
func (p *Process) Signal(tb testing.TB, s os.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		tb.Fatal(err)
	}
}

// Output is what the program has written so far, beside Out.
func (p *Process) Output() string { return p.output.String() }

var given sync.Map // ports

// FreeAddress returns an address of loopback that nobody listens on, another one at each call. Its port is below those
// that systems give to connections on their way out: one of them could take it before the test does.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	var err error
	for range 100 {
		port := 10_000 + rand.N(20_000)
		if _, twice := given.LoadOrStore(port, true); twice {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	tb.Fatal(err)
	return ""
}
