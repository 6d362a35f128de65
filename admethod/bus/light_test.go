// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/bus/embedded"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
)

// light measures what the bus in the process takes.
type light struct{ Dir, Report string }

type measured struct {
	Partitions int
	Start, CPU time.Duration
	Bytes      int64
}

func (l *light) run(ctx context.Context) error {
	before, used, began := resident(), processor(), time.Now()
	s, err := embedded.Start(l.Dir)
	if err != nil {
		return err
	}
	defer s.Stop()
	conn, err := nats.Connect("", append(bus.Connect("light"), s.Option())...)
	if err != nil {
		return err
	}
	defer conn.Close()
	b, err := bus.Open(ctx, conn, bus.Config{})
	if err != nil {
		return err
	}
	w := b.Worker(bus.WorkerConfig{Name: "embedded", Intake: intake.Config{}})
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.Stats().Partitions < 64 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	m := measured{Partitions: w.Stats().Partitions, Start: time.Since(began), CPU: processor() - used}
	debug.FreeOSMemory()
	m.Bytes = resident() - before
	cancel()
	<-ended
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(l.Report, data, 0o600)
}

// resident is the memory of this process, in bytes, as the system counts it.
func resident() int64 {
	runtime.GC()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// processor is the time that this process has had of it.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
