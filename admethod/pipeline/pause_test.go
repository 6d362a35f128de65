// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// A Device that is deleted and created anew within the time that its binding lingers was not read meanwhile.
func TestSilenceBetweenTwoBindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pipeline.Options{}, over)
		meta := admethod.Meta{Cycle: time.Second}
		binding := b.bind(t, "t", "over", map[string]any{"clear": 1}, meta)
		read := func(n int) {
			for range n {
				binding.Observe(time.Now(), 1)
				time.Sleep(time.Second) //nolint:forbidigo // in a bubble
			}
		}
		read(20)
		binding.Close()
		time.Sleep(20 * time.Second) //nolint:forbidigo // in a bubble
		binding = b.bind(t, "t", "over", map[string]any{"clear": 1}, meta)
		time.Sleep(2 * time.Second) //nolint:forbidigo // in a bubble
		read(20)
		b.flush(t)
		if story := b.sink.story(keyOf("t")); strings.Contains(story, "missing") {
			t.Errorf("verdicts %q on a silence of our own", story)
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // in a bubble
		b.flush(t)
		if story := b.sink.story(keyOf("t")); !strings.Contains(story, "missing") {
			t.Errorf("verdicts %q on a silence of the device", story)
		}
	})
}

const readerEnv = "EDGE_ANOMALY_TEST_READER"

// TestMapperThatReads is no test: it is the process that [TestSilenceOfAStoppedProcess] stops. It reads on and on, and
// writes a line a second, and at the end its verdicts.
func TestMapperThatReads(t *testing.T) {
	if os.Getenv(readerEnv) == "" {
		t.Skip("is run by another test")
	}
	b := newBench(t, pipeline.Options{}, over)
	binding := b.bind(t, "t", "over", map[string]any{"clear": 1}, admethod.Meta{Cycle: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		<-tick.C
		binding.Observe(time.Now(), 1)
		if i%20 == 0 {
			fmt.Println("read", i)
		}
	}
	b.flush(t)
	fmt.Println("verdicts", b.sink.story(keyOf("t")))
}

// A mapper that stood still, as one that was stopped or whose node slept, blames no device for the silence.
func TestSilenceOfAStoppedProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("stands still for seconds")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMapperThatReads$", "-test.v")
	cmd.Env = append(os.Environ(), readerEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	await := func(prefix string, n int) string {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				if n--; n == 0 {
					return lines.Text()
				}
			}
		}
		t.Fatalf("no %q: %v", prefix, lines.Err())
		return ""
	}
	await("read", 2)
	pause, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-pause.Done()
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await("read", 3)
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	story := await("verdicts", 1)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Contains(story, string(driver.KindMissing)) || strings.Contains(story, string(driver.KindLate)) {
		t.Errorf("%s, on a silence of the process", story)
	}
}
