// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

const childEnv = "HISTORY_TEST_CHILD"

// child is a mapper that writes batches of 10, a second of readings apart, and says so, until it is killed.
func child(path string) {
	ctx := context.Background()
	s := New(Config{Path: path, Rows: 1000, Age: time.Hour})
	s.now = func() time.Time { return noon }
	if err := s.Start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i := range 100_000 {
		batch := make([]driver.Result, 10)
		for j := range batch {
			batch[j] = verdict("light-1", noon.Add(time.Duration(i)*time.Second), driver.Warning)
		}
		if err := s.Write(ctx, batch); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// The history is read while another process writes it, and has all that was written when that is killed.
func TestReadWhileAnotherProcessWrites(t *testing.T) {
	c := config(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := proctest.Self(t, childEnv+"="+c.Path)
	lines := bufio.NewScanner(p.Out)
	if !lines.Scan() {
		t.Fatal("the child wrote nothing")
	}
	var last time.Time
	var said string
	queries := 0
	const mostQueries = 30
	for lines.Scan() && queries < mostQueries {
		found, err := Query(ctx, c.Path, Filter{Device: "light-1", Limit: 5})
		if err != nil {
			t.Fatal(err)
		}
		queries++
		said = lines.Text()
		if len(found) != 5 || found[4].At.Before(last) {
			t.Fatalf("%d verdicts, the last at %v after %v", len(found), found[len(found)-1].At, last)
		}
		last = found[4].At
	}
	p.Signal(t, syscall.SIGKILL)
	for lines.Scan() {
		said = lines.Text()
	}
	p.Kill()
	if said == "" || queries < mostQueries {
		t.Fatalf("the child said %q, %d queries", said, queries)
	}
	s := start(t, c)
	if err := s.Write(t.Context(), []driver.Result{verdict("light-2", noon, driver.Normal)}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Path + ".damaged"); err == nil {
		t.Error("the file was taken for damaged")
	}
	found, err := Query(ctx, c.Path, Filter{Device: "light-1", Limit: 1})
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	var batches int
	if _, err := fmt.Sscan(said, &batches); err != nil {
		t.Fatal(err)
	}
	if at := noon.Add(time.Duration(batches) * time.Second); found[0].At.Before(at) {
		t.Errorf("the last verdict is of %v, want that of %v, which was written", found[0].At, at)
	}
}

func fill(t *testing.T, s *Sink, n int) {
	t.Helper()
	batch := make([]driver.Result, n)
	for i := range batch {
		batch[i] = verdict(fmt.Sprint("light-", i), noon, driver.Normal)
	}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// smash overwrites all of a file but its first page.
func smash(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(strings.Repeat("smash", int(info.Size()-4096)/5)), 4096)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// What was damaged while nobody looked, or while it is in use, is set aside; the history begins anew.
func TestDamagedPages(t *testing.T) {
	for _, name := range []string{"between two runs", "in use"} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			s := start(t, c)
			fill(t, s, 2000)
			if err := s.Shutdown(t.Context()); err != nil { // so that all of it is in the file
				t.Fatal(err)
			}
			if name == "in use" {
				s = start(t, c)
			}
			smash(t, c.Path)
			if _, err := Query(t.Context(), c.Path, Filter{}); err == nil {
				t.Error("a query of a damaged file: no error")
			}
			if name != "in use" {
				s = start(t, c)
			}
			fill(t, s, 300) // more than one page
			fill(t, s, 1)
			if _, err := os.Stat(c.Path + ".damaged"); err != nil {
				t.Error(err)
			}
			if found, err := Query(t.Context(), c.Path, Filter{}); err != nil || len(found) < 1 {
				t.Errorf("%d verdicts, %v", len(found), err)
			}
		})
	}
}

// A file that cannot be opened yet costs nobody anything but the history, and that only as long as it lasts.
func TestFileCannotBeOpenedYet(t *testing.T) {
	c := config(t)
	dir := filepath.Join(filepath.Dir(c.Path), "late")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // where the directory will be
		t.Fatal(err)
	}
	c.Path = filepath.Join(dir, File)
	s := start(t, c)
	if err := s.Write(t.Context(), []driver.Result{verdict("light-1", noon, driver.Normal)}); err == nil {
		t.Fatal("want an error")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 3)
	if found, err := Query(t.Context(), c.Path, Filter{}); err != nil || len(found) != 3 {
		t.Errorf("%d verdicts, %v", len(found), err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Write(t.Context(), nil); err == nil {
		t.Error("Write after Shutdown: no error")
	}
}

// However much a detector has to say, a row is bounded, and so is the file.
func TestRowsAreBounded(t *testing.T) {
	c := config(t)
	c.Rows = 100
	s := start(t, c)
	r := verdict("light-1", noon, driver.Critical)
	r.Message = strings.Repeat("ä", 1<<20)
	for range 1000 {
		r.Causes = append(r.Causes, driver.Cause{Key: r.Key, Weight: 0.001})
	}
	for range 60 {
		if err := s.Write(t.Context(), []driver.Result{r, r, r, r, r, r, r, r, r, r}); err != nil {
			t.Fatal(err)
		}
	}
	var size int64
	for _, ending := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(c.Path + ending)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 6<<20 { // most of it the log that SQLite writes ahead
		t.Errorf("the files have %d bytes", size)
	}
	found, err := Query(t.Context(), c.Path, Filter{Limit: 10_000})
	if err != nil || len(found) > 110 || len(found) < 90 {
		t.Fatalf("%d verdicts, %v", len(found), err)
	}
	if n := len(found[0].Message); n > mostMessage+10 || len(found[0].Causes) != mostCauses {
		t.Errorf("a message of %d bytes, %d causes", n, len(found[0].Causes))
	}
}

// Detection does not feel a file that somebody else has locked.
func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("some 100,000 readings")
	}
	locked := config(t)
	s := start(t, locked)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(locked.Path, "rw", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	// Undisturbed waits until all is written after each round: the lock comes and goes, as that of a backup does.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for _, statement := "", "ROLLBACK"; ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if _, err := conn.ExecContext(ctx, statement); err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "locked") {
				t.Error(err)
				return
			}
			if statement == "ROLLBACK" {
				statement = "BEGIN IMMEDIATE"
			} else {
				statement = "ROLLBACK"
			}
		}
	}()
	defer func() { cancel(); <-done }()
	sinktest.Undisturbed(t, New(config(t)), New(locked), func() bool { return true })
}
