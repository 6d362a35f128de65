// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package log

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
)

// slow is where a log goes that cannot take lines as fast as they come.
type slow struct{ lines atomic.Int64 }

func (s *slow) Write(p []byte) (int, error) {
	s.lines.Add(1)
	timer := time.NewTimer(2 * time.Millisecond)
	<-timer.C
	return len(p), nil
}

// switched writes to the slow log, or to none while all is well.
type switched struct {
	admethod.Sink
	out io.Writer
}

func (s *switched) Write(ctx context.Context, batch []driver.Result) error {
	klog.SetOutput(s.out)
	return s.Sink.Write(ctx, batch)
}

// Detection does not feel a log that is slow.
func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("some 100,000 readings")
	}
	state := klog.CaptureState()
	t.Cleanup(state.Restore)
	klog.LogToStderr(false)
	var disk slow
	made := func(out io.Writer) admethod.Sink {
		s, err := Factory().New(admethod.SinkSettings{})
		if err != nil {
			t.Fatal(err)
		}
		return &switched{s, out}
	}
	sinktest.Undisturbed(t, made(io.Discard), made(&disk), func() bool { return disk.lines.Load() > 0 })
	if n := disk.lines.Load(); n < 100 {
		t.Errorf("%d lines, want all", n)
	}
}
