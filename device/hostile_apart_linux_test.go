// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// apart is set in the process of a rig that is watched: its directory and its two addresses.
const apart = "HOSTILE_APART"

// watchedApart runs f on a rig in a process of its own, all of whose opens and dials are seen, and holds them to what the
// operator gave it. It reports false, and has run nothing, where the system cannot show them.
func watchedApart(t *testing.T, f func(*rig)) bool {
	t.Helper()
	if text := os.Getenv(apart); text != "" {
		if err := watchMe(3); err != nil {
			t.Skip(err)
		}
		at := strings.Split(text, "|")
		f(newRigAt(t, place{dir: at[0], own: at[1], stranger: at[2]}))
		return true
	}
	at := newPlace(t, nil)
	w, err := runApart(t, at)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Logf("not every open and dial is seen: %v", err)
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	wrong := w.beyond(at)
	for _, what := range wrong {
		t.Error(what)
	}
	if len(w.opened) < 3 || w.dialled[at.own] == 0 {
		t.Errorf("hardly anything is seen: opened %v, dialled %v", w.opened, w.dialled)
	}
	return true
}

// runApart runs the test that is running once more, in a process that it watches.
func runApart(t *testing.T, at place) (watched, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return watched{}, err
	}
	mine, theirs := pair[0], os.NewFile(uintptr(pair[1]), "socket")
	defer syscall.Close(mine)
	program, err := os.Executable()
	if err != nil {
		return watched{}, err
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v")
	if testing.Short() {
		cmd.Args = append(cmd.Args, "-test.short")
	}
	cmd.Env = append(os.Environ(), apart+"="+strings.Join([]string{at.dir, at.own, at.stranger}, "|"), "GODEBUG=netdns=go")
	cmd.ExtraFiles = []*os.File{theirs}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return watched{}, errors.Join(err, theirs.Close())
	}
	if err := theirs.Close(); err != nil {
		return watched{}, err
	}
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		ended <- cmd.Wait()
	}()
	w, err := watch(mine, cmd.Process.Pid, done)
	if failed := <-ended; failed != nil {
		t.Errorf("%v: %s", failed, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "_test.go:") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return w, err
}

// system is what Go itself opens: to look up the names of hosts and time zones, and to learn of the machine.
var system = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/mdns.allow", "/etc/services", "/etc/protocols", "/etc/localtime",
	"/proc/self/maps", "/proc/self/cgroup", "/proc/self/mountinfo", "/sys/fs/cgroup", "/proc/sys/net/core/somaxconn",
	"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo", "/sys/kernel/mm/transparent_hugepage",
}

// beyond lists what a mapper at a place did that it may not.
func (w *watched) beyond(at place) []string {
	wrong := slices.Clone(w.trouble)
	may := append([]string{at.state(), at.models(), at.token()}, system...)
	for name := range w.opened {
		if !slices.ContainsFunc(may, func(dir string) bool {
			return name == dir || strings.HasPrefix(name, dir+string(filepath.Separator))
		}) && !strings.HasSuffix(name, "/lib/time/zoneinfo.zip") { // of Go's own, where the program was built without -trimpath
			wrong = append(wrong, "opened "+name)
		}
	}
	for address := range w.dialled {
		_, port, err := net.SplitHostPort(address)
		if address != at.own && address != "" && (err != nil || port != "53") { // names of allowed hosts are looked up
			wrong = append(wrong, "dialled "+address)
		}
	}
	for name := range w.started {
		wrong = append(wrong, "started "+name)
	}
	if w.listened > 0 {
		wrong = append(wrong, "listened")
	}
	return wrong
}

// What a process does that it may not is seen, whoever in it does it and however.
func TestApart(t *testing.T) {
	if os.Getenv(apart) != "" {
		if err := watchMe(3); err != nil {
			t.Skip(err)
		}
		at := strings.Split(os.Getenv(apart), "|")
		_, _ = os.ReadFile("/etc/passwd")
		root, err := os.OpenRoot(at[0])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = root.Open("trap")
		_, _ = os.Open(filepath.Join(at[0], "state", "..", "up"))
		if err := os.Symlink("/etc/group", filepath.Join(at[0], "state")); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Open(filepath.Join(at[0], "state"))
		for _, address := range at[1:] {
			if c, err := net.Dial("tcp", address); err == nil {
				_ = c.Close()
			}
		}
		_, _ = net.Dial("unix", filepath.Join(at[0], "socket"))
		_, _ = net.Listen("tcp", "127.0.0.1:0")
		_ = exec.Command("/bin/true").Run()
		return
	}
	at := newPlace(t, nil)
	w, err := runApart(t, at)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	got := w.beyond(at)
	for _, want := range []string{
		"opened /etc/passwd", "opened " + at.dir, "opened " + at.dir + "/trap", "opened " + at.dir + "/up", "opened /etc/group",
		"dialled " + at.stranger, "dialled unix:" + at.dir + "/socket", "listened",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not seen", want)
		}
	}
	if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "started ") }) {
		t.Error("a program that is started is not seen")
	}
	if slices.Contains(got, "dialled "+at.own) || w.dialled[at.own] == 0 {
		t.Errorf("the operator's address: %v", w.dialled)
	}
	t.Log(got)
}
