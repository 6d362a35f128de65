// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long a child may take to end after SIGTERM. Mappers promise five seconds.
const patience = 6 * time.Second

// process is a child in a process group of its own, which takes its children with it.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when the child has ended and its output is read
	err  error         // how it ended; valid after done
}

// command says what to start.
type command struct {
	name   string // of the log file too
	path   string
	args   []string
	env    []string // beside the demo's own
	stdout io.Writer
	onEnd  func(error) // called when the child has ended, for whatever reason
}

// start starts a child whose standard error goes to logDir/NAME.log.
func start(c command, logDir string) (*process, error) {
	log, err := os.Create(filepath.Join(logDir, c.name+".log"))
	if err != nil {
		return nil, err
	}
	p := &process{name: c.name, log: log, done: make(chan struct{})}
	p.cmd = exec.Command(c.path, c.args...)
	p.cmd.Env = append(os.Environ(), c.env...)
	p.cmd.Stdout, p.cmd.Stderr = c.stdout, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the demo, which ends the others in order
	p.cmd.WaitDelay = time.Second                           // for output that a grandchild holds open
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.name, err), log.Close())
	}
	go func() {
		defer close(p.done)
		p.err = errors.Join(p.cmd.Wait(), log.Close())
		if c.onEnd != nil {
			c.onEnd(p.err)
		}
	}()
	return p, nil
}

// stop ends the child by SIGTERM, by SIGKILL if that does not help within wait, and joins it. It may be called twice.
// The error says that the child did not end as it should.
func (p *process) stop(wait time.Duration) error {
	select {
	case <-p.done: // its group may belong to somebody else by now
		return p.ended()
	default:
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.ended()
	case <-timer.C:
	}
	err := p.signal(syscall.SIGKILL)
	<-p.done
	return errors.Join(fmt.Errorf("%s: had to be killed, %v after SIGTERM", p.name, wait), err)
}

func (p *process) ended() error {
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

func (p *process) signal(sig syscall.Signal) error {
	if err := syscall.Kill(-p.cmd.Process.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: %v: %w", p.name, sig, err)
	}
	return nil
}

// tail is the end of the child's log.
func (p *process) tail(lines int) string {
	raw, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// lines calls a function with each line that is written to it. A line that grows beyond maxLine is dropped.
type lines struct {
	take    func(line []byte) // line is valid during the call
	partial []byte
}

const maxLine = 1 << 20

func (l *lines) Write(b []byte) (int, error) {
	l.partial = append(l.partial, b...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		l.take(l.partial[:i])
		l.partial = l.partial[i+1:]
	}
	if len(l.partial) > maxLine {
		l.partial = nil
	}
	return len(b), nil
}
