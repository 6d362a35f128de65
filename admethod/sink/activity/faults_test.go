// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// What an attacker may get into names, texts and arguments.
var attacks = []string{
	"$(touch pwned)", "`touch pwned`", "; touch pwned", "| touch pwned", "&& touch pwned", "\n touch pwned\n", "' ; touch pwned '",
	`" ; touch pwned "`, "--help", "-c", "-e touch\tpwned", "../../etc/passwd", "\xff\xfe", "() { :;}; touch pwned", "LD_PRELOAD=/x",
	"PATH=.", strings.Repeat("x", 1<<14), "%s%n%x", "${IFS}touch${IFS}pwned", "*", "~", "!!", "$PATH", "a\\", "\u202egpj.sh", "#", "{a,b}", "<(id)", ">pwned",
}

// untouched fails the test when the folder of scripts holds anything but the named files.
func untouched(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "scripts"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Fatalf("the folder of scripts (-want +got):\n%s", diff)
	}
}

// Arguments reach the script as they are written, whatever they are, in a shell script and in one of Python.
func TestAttacksThroughArguments(t *testing.T) {
	raw, err := json.Marshal(attacks[:12]) // JSON is YAML; what is no text in UTF-8 is none in YAML either
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ script, text, command string }{
		"shell_file": {"a.sh", `for a in "$@"; do printf '%s\0' "$a"; done`, `{shell_file: a.sh, args: %s}`},
		"python":     {"a.py", `import sys; print(*sys.argv[1:], sep="\0", end="\0")`, `{exec: [python3, a.py, %s}`},
	} {
		t.Run(name, func(t *testing.T) {
			args := string(raw)
			if name == "python" {
				if _, err := lookPath("python3"); err != nil {
					t.Skip(err)
				}
				args = args[1:] // without the bracket that exec has already
			}
			dir := setup(t, "activities: [{name: a, match: {}, command: "+fmt.Sprintf(tt.command, args)+"}]", map[string]string{tt.script: tt.text})
			s := start(t, dir, nil)
			s.put(t, verdict("light-1", driver.Critical))
			st := s.awaitRuns(t, "a", 1)
			if got, want := st.Output, strings.Join(attacks[:12], "\x00")+"\x00"; got != want || st.Code != 0 {
				t.Errorf("code %d, %s\ngot  %q\nwant %q", st.Code, st.Error, got, want)
			}
			untouched(t, dir, tt.script)
		})
	}
}

// Numbers at the ends of what a float can be are numbers for the script, or not there.
func TestAttacksThroughValues(t *testing.T) {
	values := []float64{
		0, math.Copysign(0, -1), 1e308, -1e308, math.MaxFloat64, math.SmallestNonzeroFloat64, -4.9e-324, 1e-7, 1e21, math.Pi,
		math.NaN(), math.Inf(1), math.Inf(-1),
	}
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: a.sh}}]",
		map[string]string{"a.sh": `printf '%s ' "${ANOMALY_VALUE-none}" "${ANOMALY_SCORE-none}"; cat`})
	s := start(t, dir, nil)
	for i, value := range values {
		r := verdict("light-"+strconv.Itoa(i), driver.Critical)
		r.Value, r.Score, r.Expected, r.Lower, r.Upper, r.Threshold, r.Confidence = value, value, value, value, value, value, value
		s.put(t, r)
		st := s.awaitRuns(t, "a", i+1)
		env, stdin, _ := strings.Cut(st.Output, "{")
		fields := strings.Fields(env)
		want := strconv.FormatFloat(value, 'g', -1, 64)
		if math.IsNaN(value) {
			want = "none"
		}
		if len(fields) != 2 || fields[0] != want || fields[1] != want {
			t.Errorf("%v: in the environment %q", value, env)
		}
		var v httpapi.Verdict
		if err := json.Unmarshal([]byte("{"+stdin), &v); err != nil {
			t.Errorf("%v: standard input %q: %v", value, stdin, err)
		}
		if finite := !math.IsNaN(value) && !math.IsInf(value, 0); finite != (v.Value != nil) || finite && *v.Value != value {
			t.Errorf("%v: standard input %q", value, stdin)
		}
	}
	untouched(t, dir, "a.sh")
}

// Names of scripts and activities are refused unless they are plain, and a script that is not there is an error of its own.
func TestAttacksThroughScriptNames(t *testing.T) {
	for _, attack := range attacks {
		raw, err := json.Marshal(attack)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := Parse([]byte("activities: [{name: "+string(raw)+", match: {}, command: {shell_file: a.sh}}]"), nil); err == nil {
			t.Errorf("activity %.40q: accepted %+v", attack, list)
		}
		for _, command := range []string{"{shell_file: %s}", "{exec: [%s]}", "{exec: [sh, %s]}", "{exec: [python3, %s]}"} {
			activities := "activities: [{name: a, match: {}, command: " + fmt.Sprintf(command, raw) + "}]"
			if _, err := Parse([]byte(activities), []string{"sh", "python3"}); err != nil {
				continue
			}
			dir := setup(t, activities, nil) // what passes for the name of a file names none
			s := start(t, dir, nil)
			s.put(t, verdict("light-1", driver.Critical))
			if st := s.awaitRuns(t, "a", 1); st.Code != -1 || st.Error == "" {
				t.Errorf("%.40q ran: %+v", attack, st)
			}
			untouched(t, dir)
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// What others may change is not run: the file of activities, the folder, a folder in it.
func TestWhatOthersMayChange(t *testing.T) {
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: sub/a.sh}}]", nil)
	file, folder, sub := filepath.Join(dir, "activities.yaml"), filepath.Join(dir, "scripts"), filepath.Join(dir, "scripts", "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(sub, "a.sh"), "echo ran")
	for _, name := range []string{file, folder} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := newSink(testConfig(dir), "", new(httpapi.Routes)); err == nil {
			t.Errorf("%s that everybody may write: accepted", name)
		} else {
			t.Log(err)
		}
		if err := os.Chmod(name, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical))
	if st := s.awaitRuns(t, "a", 1); st.Output != "ran\n" {
		t.Errorf("%+v", st)
	}
	if err := os.Chmod(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	s.put(t, verdict("light-2", driver.Critical))
	if st := s.awaitRuns(t, "a", 2); st.Code != -1 || !strings.Contains(st.Error, `folder "sub"`) {
		t.Errorf("%+v", st)
	}
}

// Thousands of anomalies at once, each of its own property, start no more than the limit at any time.
func TestNeverMoreThanTheLimit(t *testing.T) {
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: a.sh}}]",
		map[string]string{"a.sh": `echo "$$ begins" >>log; read line; echo "$$ ends" >>log`})
	const limit = 3
	anomalies := 5000
	if testing.Short() {
		anomalies = 500
	}
	s := start(t, dir, func(c *Config) { c.Concurrency, c.Queue = limit, 20 })
	for i := range anomalies {
		s.put(t, verdict("light-"+strconv.Itoa(i), driver.Critical))
	}
	waittest.Eventually(t, "all that had room have run", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.status["a"].Running == 0 && s.queued == 0
	})
	log, err := os.ReadFile(filepath.Join(dir, "scripts", "log"))
	if err != nil {
		t.Fatal(err)
	}
	running, most := 0, 0
	for line := range strings.Lines(string(log)) {
		if strings.HasSuffix(line, "begins\n") {
			running++
		} else {
			running--
		}
		most = max(most, running)
	}
	if most > limit {
		t.Errorf("%d ran at one time, want at most %d", most, limit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.status["a"]; st.Runs+st.Skipped != anomalies || st.Skipped == 0 || len(s.locks.held) != st.Runs {
		t.Errorf("%+v and %d locks, want each anomaly counted once, and a lock for each run", st, len(s.locks.held))
	}
}

// Locks of properties that nobody watches any more are kept for a day, over a restart too. Then they make room.
func TestLocksOfPropertiesThatGo(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": "cat >/dev/null"})
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical), verdict("light-2", driver.Critical))
	s.awaitRuns(t, "note", 2)
	s.Forget(verdict("light-1", 0).Key)
	s.Forget(verdict("light-3", 0).Key) // has none
	s.put(t, verdict("light-1", driver.Critical))
	s.Forget(verdict("light-1", 0).Key)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.runs("note"); n != 2 {
		t.Errorf("%d runs, want 2: the lock holds while the property is away", n)
	}

	s = start(t, dir, nil)
	now := time.Now()
	later := func(d time.Duration) {
		s.mu.Lock()
		defer s.mu.Unlock()
		now = now.Add(d)
		at := now
		s.now = func() time.Time { return at }
	}
	held := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.locks.held)
	}
	later(0)
	s.put(t, verdict("light-2", driver.Critical)) // is still watched, the other is not
	later(keepGone - time.Minute)
	s.put(t, verdict("light-2", driver.Critical))
	if n := held(); n != 2 {
		t.Errorf("%d locks after less than a day, want 2", n)
	}
	later(2 * time.Minute)
	s.put(t, verdict("light-2", driver.Critical))
	if n := held(); n != 1 {
		t.Errorf("%d locks after more than a day, want 1", n)
	}
	if n := s.runs("note"); n != 0 {
		t.Errorf("%d runs of what is locked", n)
	}
}

// A state directory that is not there yet, as a disk that is mounted late, holds up the activities and nobody else.
func TestLocksCannotBeReadYet(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": "cat >/dev/null"})
	state := filepath.Join(dir, "state")
	write(t, state, "a file where the directory will be")
	s := start(t, dir, nil)
	if err := s.Write(t.Context(), []driver.Result{verdict("light-1", driver.Critical)}); err == nil {
		t.Error("want an error")
	}
	if n := s.runs("note"); n != 0 {
		t.Errorf("%d runs without locks", n)
	}
	if err := errors.Join(os.Remove(state), os.Mkdir(state, 0o700)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(state, "activity-locks.json"), `[{"activity":"note","namespace":"default","device":"light-1","property":"brightness","since":"2026-01-01T00:00:00Z"}]`)
	s.put(t, verdict("light-1", driver.Critical), verdict("light-2", driver.Critical))
	s.awaitRuns(t, "note", 1)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.runs("note"); n != 1 {
		t.Errorf("%d runs, want only that of light-2", n)
	}
}

// Detection does not feel scripts that hang.
func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("some 100,000 readings")
	}
	made := func(script string, concurrency int) *sink {
		config := testConfig(setup(t, strings.ReplaceAll(simple, "critical", "warning"), map[string]string{"note.sh": script}))
		config.Concurrency = concurrency
		s, err := newSink(config, t.TempDir(), new(httpapi.Routes))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	well, hung := made("exit 0", 4), made("while :; do sleep 1; done", 1)
	sinktest.Undisturbed(t, well, hung, func() bool {
		hung.mu.Lock()
		defer hung.mu.Unlock()
		return hung.status["note"].Running == 1
	})
}

// A namespace in which all goes wrong at once takes neither the locks, nor the places in the queue, nor the workers of
// another, and nor do ten of them.
func TestNamespacesDoNotSkipEachOther(t *testing.T) {
	if testing.Short() {
		t.Skip("holds 100,000 locks")
	}
	dir := setup(t, "activities: [{name: a, match: {}, command: {shell_file: a.sh}}]",
		map[string]string{"a.sh": `case $ANOMALY_NAMESPACE in greedy*|crowded) while :; do sleep 1; done;; esac`})
	s := start(t, dir, func(c *Config) { c.Concurrency, c.Queue = 1, 8 })
	s.mu.Lock()
	for k := range 11 {
		greedy := "greedy" + strconv.Itoa(k)
		for i := range maxLocks {
			id := lockID{"a", driver.Key{Namespace: greedy, Device: strconv.Itoa(i), Property: "p"}}
			if !s.locks.full(greedy) {
				s.locks.add(id, Lock{Activity: "a", Namespace: greedy, Device: id.key.Device, Property: "p", began: s.now()})
			}
		}
	}
	s.mu.Unlock()
	of := func(namespace string, n int) (vs []driver.Result) {
		for i := range n {
			v := verdict("light-"+strconv.Itoa(i), driver.Critical)
			v.Key.Namespace = namespace
			vs = append(vs, v)
		}
		return vs
	}
	s.put(t, append(of("crowded", 12), of("greedy0", 1)...)...)
	s.put(t, of("modest", 8)...)
	waittest.Eventually(t, "all of the modest namespace have run", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.status["a"].Runs == 8
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.locks.of["greedy0"]; n != maxLocks {
		t.Errorf("%d locks of one namespace", n)
	}
	if n := len(s.locks.held); n > maxAllLocks+13*ownLocks {
		t.Errorf("%d locks of all", n)
	}
	if st := s.status["a"]; s.running["crowded"] != 1 || s.running["modest"] != 0 || s.waiting["crowded"]+1 < 8 || s.locks.of["modest"] != 8 || st.Failed != 0 {
		t.Errorf("%+v; run %v, wait %v", *st, s.running, s.waiting)
	}
}
