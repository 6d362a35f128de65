// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

const childEnv = "ACTIVITY_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// child runs a slow activity and waits to be killed.
func child(dir string) {
	s, err := newSink(testConfig(dir), filepath.Join(dir, "state"), new(httpapi.Routes))
	if err == nil {
		err = s.Start(context.Background())
	}
	if err == nil {
		err = s.Write(context.Background(), []driver.Result{verdict("light-1", driver.Critical)})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func testConfig(dir string) Config {
	c := DefaultConfig()
	c.File, c.Folder = filepath.Join(dir, "activities.yaml"), filepath.Join(dir, "scripts")
	return c
}

func verdict(device string, severity driver.Severity) driver.Result {
	return driver.Result{
		Key: driver.Key{Namespace: "default", Device: device, Property: "brightness"}, At: time.Unix(1_700_000_000, 0),
		Severity: severity, Score: 0.999, Threshold: 0.99, Value: 42, Expected: 7, Lower: math.NaN(), Upper: math.NaN(), Detector: "auto", Model: "m@1",
	}
}

// setup writes a file of activities and scripts.
func setup(t *testing.T, activities string, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "activities.yaml"), activities)
	for name, text := range scripts {
		write(t, filepath.Join(dir, "scripts", name), text)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, dir string, change func(*Config)) *sink {
	t.Helper()
	config := testConfig(dir)
	if change != nil {
		change(&config)
	}
	s, err := newSink(config, filepath.Join(dir, "state"), new(httpapi.Routes))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // kill what runs
		_ = s.Shutdown(ctx)
	})
	return s
}

func (s *sink) put(t *testing.T, results ...driver.Result) {
	t.Helper()
	if err := s.Write(t.Context(), results); err != nil {
		t.Fatal(err)
	}
}

func (s *sink) runs(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status[name].Runs
}

func (s *sink) awaitRuns(t *testing.T, name string, n int) status {
	t.Helper()
	waittest.Eventually(t, fmt.Sprintf("%d runs of %s", n, name), func() bool { return s.runs(name) >= n })
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.status[name]
}

const simple = `
activities:
- name: note
  match: {namespace: default, device: "light-*", property: brightness, severity: critical}
  command: {shell_file: note.sh, args: [one, "$(touch pwned)"]}
`

const script = `printf '%s|' "$@" "$ANOMALY_DEVICE" "$ANOMALY_VALUE" "$SECRET"; cat`

func TestRunsOnceUntilNormal(t *testing.T) {
	t.Setenv("SECRET", "of the mapper")
	dir := setup(t, simple, map[string]string{"note.sh": script})
	s := start(t, dir, nil)
	s.put(t, verdict("door-1", driver.Critical), verdict("light-1", driver.Warning)) // match neither
	for range 5 {
		s.put(t, verdict("light-1", driver.Critical))
	}
	st := s.awaitRuns(t, "note", 1)
	head, body, _ := strings.Cut(st.Output, "{")
	if want := "one|$(touch pwned)|light-1|42||"; head != want {
		t.Errorf("got %q, want %q", head, want)
	}
	var v httpapi.Verdict
	if err := json.Unmarshal([]byte("{"+body), &v); err != nil || v.Device != "light-1" || *v.Value != 42 || v.Lower != nil {
		t.Errorf("stdin %q: %v", body, err)
	}
	s.put(t, verdict("light-1", driver.Warning), verdict("light-1", driver.Unknown), verdict("light-1", driver.Critical))
	s.put(t, verdict("light-1", driver.Normal), verdict("light-1", driver.Critical), verdict("light-2", driver.Critical))
	s.awaitRuns(t, "note", 3)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.runs("note"); n != 3 {
		t.Errorf("%d runs, want 3", n)
	}
}

// An activity runs once for an incident, whatever single verdicts say while it lasts, and again for the next one.
func TestRunsOnceForAnIncident(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": `printf '%s|' "$ANOMALY_INCIDENT" "$ANOMALY_SEVERITY" "$ANOMALY_KIND" "$ANOMALY_SINCE"`})
	s := start(t, dir, nil)
	during := func(id uint64, phase driver.Phase, severity, worst driver.Severity) driver.Result {
		r := verdict("light-1", severity)
		r.Incident = driver.Incident{ID: id, Phase: phase, Start: time.Unix(1_600_000_000, 0), Severity: worst, Kind: driver.KindLevel}
		return r
	}
	s.put(t, during(1, driver.Began, driver.Warning, driver.Warning)) // not bad enough yet
	s.put(t, during(1, driver.Lasts, driver.Critical, driver.Critical), during(1, driver.Lasts, driver.Normal, driver.Critical),
		during(1, driver.Lasts, driver.Unknown, driver.Critical), during(1, driver.Lasts, driver.Critical, driver.Critical))
	if st := s.awaitRuns(t, "note", 1); st.Output != "0000000000000001|critical|level|2020-09-13T12:26:40Z|" {
		t.Errorf("got %q", st.Output)
	}
	s.put(t, during(1, driver.NewNormal, driver.Normal, driver.Critical), during(2, driver.Began, driver.Critical, driver.Critical))
	s.put(t, during(3, driver.Lasts, driver.Critical, driver.Critical)) // of the end of 2, nothing was heard
	s.put(t, during(3, driver.Abandoned, driver.Unknown, driver.Critical), during(4, driver.Began, driver.Critical, driver.Critical))
	s.awaitRuns(t, "note", 4)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.runs("note"); n != 4 {
		t.Errorf("%d runs, want one for each of four incidents", n)
	}
}

func TestUnlock(t *testing.T) {
	dir := setup(t, `
activities:
- name: model
  match: {}
  command: {shell_file: a.sh}
  unlock: [onRetraining]
- name: time
  match: {}
  command: {exec: [sh, a.sh]}
  after: 10m
- name: old
  command: {shell_file: a.sh}
- name: unchosen
  command: {shell_file: a.sh}
`, map[string]string{"a.sh": "exit 0"})
	s := start(t, dir, func(c *Config) { c.Run = []string{"old"} })
	now := time.Now()
	s.mu.Lock()
	s.now = func() time.Time { return now }
	s.mu.Unlock()
	step := func(what string, model, timed, old int, results ...driver.Result) {
		t.Helper()
		s.put(t, results...)
		s.awaitRuns(t, "model", model)
		s.awaitRuns(t, "time", timed)
		s.awaitRuns(t, "old", old)
		if s.runs("model") != model || s.runs("time") != timed || s.runs("old") != old || s.runs("unchosen") != 0 {
			t.Errorf("%s: model %d, time %d, old %d", what, s.runs("model"), s.runs("time"), s.runs("old"))
		}
	}
	bad := verdict("light-1", driver.Warning)
	step("start", 1, 1, 1, bad)
	step("ongoing", 1, 1, 1, bad)
	step("back to normal and bad again", 1, 1, 2, verdict("light-1", driver.Normal), bad)
	retrained := bad
	retrained.Model = "m@2"
	step("retrained", 2, 1, 2, retrained)
	s.Hooks().ModelLoaded(bad.Key, "m@2")
	step("reloaded", 3, 1, 2, retrained)
	s.mu.Lock()
	now = now.Add(11 * time.Minute)
	s.mu.Unlock()
	step("time passed", 3, 2, 2, retrained)
}

func TestAttacks(t *testing.T) {
	nasty := []string{
		"$(touch pwned)", "`touch pwned`", "; touch pwned", "| touch pwned", "\n touch pwned", "' ; touch pwned '", `" ; touch pwned "`,
		"--help", "-c", "../../etc/passwd", "a\x00b", "\xff\xfe", "() { :;}; touch pwned", "LD_PRELOAD=/x", strings.Repeat("x", 1<<16), "%s%n", "${IFS}",
	}
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: a.sh}}]",
		map[string]string{"a.sh": `printf %s "$ANOMALY_DEVICE" >seen; cat >/dev/null`})
	s := start(t, dir, nil)
	for i, name := range nasty {
		r := verdict(name, driver.Critical)
		r.Key.Property, r.Message, r.Kind, r.Key.Namespace = name, name, driver.Kind(name), name
		s.put(t, r)
		st := s.awaitRuns(t, "a", i+1)
		if st.Code != 0 || st.Error != "" {
			t.Errorf("%.20q: code %d, %s", name, st.Code, st.Error)
		}
		seen, err := os.ReadFile(filepath.Join(dir, "scripts", "seen"))
		want := strings.ToValidUTF8(strings.ReplaceAll(name, "\x00", "\uFFFD"), "\uFFFD")
		if want = want[:min(len(want), maxEnv)]; err != nil || string(seen) != want {
			t.Errorf("got %.40q, want %.40q: %v", seen, want, err)
		}
		entries, err := os.ReadDir(filepath.Join(dir, "scripts"))
		if err != nil || len(entries) != 2 {
			t.Fatalf("%.20q left %v: %v", name, entries, err)
		}
	}
}

func TestScriptsStayInFolder(t *testing.T) {
	for _, entry := range []string{
		"shell_file: ../evil.sh", "shell_file: /bin/true", "shell_file: -c", `shell_file: "a\0b"`, `shell_file: "a\\b"`, "shell_file: .", "shell_file: ''",
		"exec: [python3]", "exec: [python3, -c, print]", "exec: [sh, -c, id]", "exec: [/bin/sh, x.sh]", "exec: [python3, ../evil.sh]",
		"exec: []", "shell_file: a.sh, exec: [a.sh]", `shell_file: a.sh, args: ["a\0b"]`,
	} {
		if _, err := Parse([]byte("activities: [{name: a, match: {}, command: {"+entry+"}}]"), []string{"python3", "sh"}); err == nil {
			t.Errorf("%s: accepted", entry)
		}
	}
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: link.sh}}, {name: b, match: {}, command: {shell_file: sub/evil.sh}}, {name: c, match: {}, command: {shell_file: open.sh}}, {name: d, match: {}, command: {shell_file: fifo}}]",
		map[string]string{"open.sh": "exit 0"})
	write(t, filepath.Join(dir, "evil.sh"), "touch "+filepath.Join(dir, "pwned"))
	scripts := filepath.Join(dir, "scripts")
	if err := errors.Join(os.Symlink("../evil.sh", filepath.Join(scripts, "link.sh")), os.Symlink(dir, filepath.Join(scripts, "sub")),
		os.Chmod(filepath.Join(scripts, "open.sh"), 0o666), syscall.Mkfifo(filepath.Join(scripts, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical))
	for _, name := range []string{"a", "b", "c", "d"} {
		if st := s.awaitRuns(t, name, 1); st.Code != -1 || st.Error == "" {
			t.Errorf("%s ran: %+v", name, st)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("a script outside of the folder ran")
	}
}

func TestFloodStartsNoMoreThanTheLimit(t *testing.T) {
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: a.sh}}]", map[string]string{"a.sh": "while :; do sleep 1; done"})
	s := start(t, dir, func(c *Config) { c.Concurrency, c.Queue = 2, 8 })
	for i := range 1000 {
		s.put(t, verdict("light-"+strconv.Itoa(i), driver.Critical))
	}
	waittest.Eventually(t, "two run", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.status["a"].Running == 2 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.status["a"]; st.Running != 2 || st.Skipped < 1000-10 || len(s.locks.held) > 10 || s.queued > 8 {
		t.Errorf("%+v, %d locks, %d wait", st, len(s.locks.held), s.queued)
	}
}

func TestHangingScriptIsKilledWithItsChildren(t *testing.T) {
	dir := setup(t, "activities: [{name: a, match: {}, timeout: 1s, command: {shell_file: a.sh}}]",
		map[string]string{"a.sh": "(trap '' TERM; sleep 1000 & echo $! >pids; wait) & yes & echo $$ $! >>pids2; trap '' TERM; wait"})
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical))
	st := s.awaitRuns(t, "a", 1)
	if st.Code != -1 || !strings.Contains(st.Error, "killed") || len(st.Output) > s.config.Output+100 {
		t.Errorf("%d %s, %d bytes of output", st.Code, st.Error, len(st.Output))
	}
	var pids []string
	for _, name := range []string{"pids", "pids2"} {
		text, err := os.ReadFile(filepath.Join(dir, "scripts", name))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, strings.Fields(string(text))...)
	}
	if len(pids) != 3 {
		t.Fatalf("got %q, want three processes", pids)
	}
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		if err != nil {
			t.Fatal(err)
		}
		waittest.Eventually(t, "end of "+p, func() bool {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // a zombie that init has not reaped yet is dead
			return syscall.Kill(pid, 0) != nil || err == nil && strings.Contains(string(state), ") Z ")
		})
	}
}

func TestPython(t *testing.T) {
	if _, err := lookPath("python3"); err != nil {
		t.Skip(err)
	}
	dir := setup(t, "activities: [{name: a, match: {}, command: {exec: [python3, a.py, x]}}]",
		map[string]string{"a.py": "import json,sys\nprint(sys.argv[1], json.load(sys.stdin)['device'])\n"})
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical))
	if st := s.awaitRuns(t, "a", 1); st.Output != "x light-1\n" {
		t.Errorf("%+v", st)
	}
}

func TestLocksSurviveKill(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": "echo ran >>log"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // this test itself
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "scripts", "log")
	waittest.Eventually(t, "run in the child", func() bool { text, _ := os.ReadFile(log); return string(text) == "ran\n" })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_ = in.Close()

	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical)) // the anomaly lasts
	s.put(t, verdict("light-2", driver.Critical)) // another one runs
	s.awaitRuns(t, "note", 1)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(log); string(text) != "ran\nran\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestUnwritableLocksRunNothing(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": "exit 0"})
	s := start(t, dir, nil)
	state := filepath.Join(dir, "state")
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []driver.Result{verdict("light-1", driver.Critical)}); err == nil {
		t.Fatal("want an error")
	}
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	s.put(t, verdict("light-1", driver.Critical))
	s.awaitRuns(t, "note", 1)
}

func TestDamagedLocksAreSetAside(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": "exit 0"})
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "state", "activity-locks.json"), "[{")
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical))
	s.awaitRuns(t, "note", 1)
	if _, err := os.Stat(filepath.Join(dir, "state", "activity-locks.json.damaged")); err != nil {
		t.Error(err)
	}
}

func TestRoutes(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": "exit 3"})
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical))
	s.awaitRuns(t, "note", 1)
	ask := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		s.routes.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	const name = "note@default/light-1/brightness"
	if code, body := ask(http.MethodGet, "/v1/activities"); code != 200 || !strings.Contains(body, `"code":3`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := ask(http.MethodGet, "/v1/locks"); code != 200 || !strings.Contains(body, name) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := ask(http.MethodDelete, "/v1/locks/"+name); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := ask(http.MethodDelete, "/v1/locks/"+name); code != 404 {
		t.Errorf("got %d, want 404", code)
	}
	s.put(t, verdict("light-1", driver.Critical))
	s.awaitRuns(t, "note", 2)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(simple))
	f.Add([]byte("activities: [{name: a, command: {exec: [python3, x.py]}, after: 10m}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Parse(data, []string{"python3"})
		if err != nil {
			return
		}
		for _, a := range list {
			_, script, _, err := a.Command.split([]string{"python3"})
			if err != nil || !filepath.IsLocal(script) || a.Timeout <= 0 {
				t.Fatalf("accepted %+v: %v", a, err)
			}
		}
	})
}
