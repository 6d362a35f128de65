// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
)

// safePath is where programs are looked for, by this package and by scripts.
const safePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const (
	maxEnv      = 4096            // bytes of one value
	outputGrace = 2 * time.Second // for what a killed script still holds open
)

// outcome is how a run ended.
type outcome struct {
	code   int // -1 where it did not start or was killed
	err    error
	output string
}

// run starts the script of an activity in a process group of its own, and ends the whole group with it.
func (s *sink) run(ctx context.Context, a *Activity, r *driver.Result) outcome {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	argv, err := s.argv(a)
	if err != nil {
		return outcome{code: -1, err: err}
	}
	verdict, err := json.Marshal(httpapi.FromResult(r))
	if err != nil {
		return outcome{code: -1, err: err}
	}
	out := &capped{limit: s.config.Output}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // from the operator's file, checked against folder and allow-list
	cmd.Dir, cmd.Env = s.folder, environment(a.Name, s.folder, r)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(verdict), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputGrace
	killGroup := func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	cmd.Cancel = killGroup
	if err := cmd.Start(); err != nil {
		return outcome{code: -1, err: err}
	}
	err = cmd.Wait()
	_ = killGroup() // what the script left behind in its group
	if cause := ctx.Err(); cause != nil {
		err = fmt.Errorf("killed with its children: %w", cause)
	}
	return outcome{code: cmd.ProcessState.ExitCode(), err: err, output: out.String()}
}

// argv checks the script as it is now, and says how it is run.
func (s *sink) argv(a *Activity) ([]string, error) {
	program, script, args, err := a.Command.split(s.config.Allow)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(s.folder) // refuses links that lead out of the folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	// Who may write a folder may replace what is in it.
	for dir := filepath.Dir(script); dir != "."; dir = filepath.Dir(dir) {
		info, err := root.Stat(dir)
		if err != nil {
			return nil, fmt.Errorf("script %q: %w", script, err)
		} else if info.Mode().Perm()&0o002 != 0 {
			return nil, fmt.Errorf("script %q: everybody may write folder %q; want one that others cannot change", script, dir)
		}
	}
	info, err := root.Stat(script)
	switch {
	case err != nil:
		return nil, fmt.Errorf("script %q: %w", script, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("script %q: want a regular file", script)
	case info.Mode().Perm()&0o002 != 0:
		return nil, fmt.Errorf("script %q: everybody may write it; want a file that others cannot change", script)
	}
	full := filepath.Join(s.folder, script)
	switch {
	case program != "":
		path, err := lookPath(program)
		return append([]string{path, full}, args...), err
	case info.Mode().Perm()&0o111 != 0:
		return append([]string{full}, args...), nil
	}
	return append([]string{"/bin/sh", full}, args...), nil
}

// lookPath finds a program on safePath only.
func lookPath(program string) (string, error) {
	if filepath.IsAbs(program) {
		return program, nil
	}
	for _, dir := range filepath.SplitList(safePath) {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("program %q: not found in %s", program, safePath)
}

// environment is all that a script gets to see of the mapper's surroundings, and the verdict.
func environment(activity, folder string, r *driver.Result) []string {
	env := []string{"PATH=" + safePath, "LANG=C.UTF-8", "HOME=" + folder}
	add := func(name, value string) {
		value = strings.ToValidUTF8(strings.ReplaceAll(value, "\x00", "\uFFFD"), "\uFFFD")
		if len(value) > maxEnv {
			value = strings.ToValidUTF8(value[:maxEnv], "")
		}
		env = append(env, "ANOMALY_"+name+"="+value)
	}
	number := func(name string, v float64) {
		if !math.IsNaN(v) {
			add(name, strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	add("ACTIVITY", activity)
	add("NAMESPACE", r.Key.Namespace)
	add("DEVICE", r.Key.Device)
	add("PROPERTY", r.Key.Property)
	add("AT", r.At.UTC().Format(time.RFC3339Nano))
	severity, kind := incidents.Standing(r)
	add("SEVERITY", severity.String())
	add("KIND", string(kind))
	add("INCIDENT", name(r.Incident.ID))
	if i := &r.Incident; i.ID != 0 {
		add("SINCE", i.Start.UTC().Format(time.RFC3339Nano))
		if i.Cause != (driver.Key{}) {
			add("CAUSE", i.Cause.String())
		}
	}
	add("DETECTOR", r.Detector)
	add("MODEL", r.Model)
	add("CONFIG", r.Config)
	add("MESSAGE", r.Message)
	number("SCORE", r.Score)
	number("VALUE", r.Value)
	number("EXPECTED", r.Expected)
	number("LOWER", r.Lower)
	number("UPPER", r.Upper)
	return env
}

// capped keeps the beginning of what is written to it.
type capped struct {
	limit int
	buf   bytes.Buffer
	lost  int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.limit-c.buf.Len())
	c.buf.Write(p[:n])
	c.lost += len(p) - n
	return len(p), nil
}

func (c *capped) String() string {
	text := strings.ToValidUTF8(c.buf.String(), "\uFFFD")
	if c.lost > 0 {
		text += fmt.Sprintf("\n… %d bytes more", c.lost)
	}
	return text
}
