// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kubeedge/edge-anomaly/admethod/internal/faultproxy"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

// Whatever the detector does, observing is quick, verdicts become unknown with the cause, and in the end each reading
// has its verdict, once.
func TestFaultsOfTheDetector(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	t.Run("absent at the start", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s")
		p := newPlant(t, map[string]any{"grpc.address": "unix:" + path})
		during := p.observe(fault)
		p.until("an unknown verdict that says why", func() bool { return len(p.unknown) > 0 && strings.Contains(p.unknown[0], "has not answered") })
		spawn(t, path, "")
		p.until("an answer", func() bool { return len(p.count) > 0 })
		compare(t, p.observe(calm), during)
		p.complete()
	})
	for name, c := range map[string]struct {
		begin, end func(*testing.T, *proctest.Process)
	}{
		"killed":      {func(_ *testing.T, p *proctest.Process) { p.Kill() }, func(*testing.T, *proctest.Process) {}},
		"interrupted": {func(t *testing.T, p *proctest.Process) { p.Signal(t, syscall.SIGSTOP) }, func(t *testing.T, p *proctest.Process) { p.Signal(t, syscall.SIGCONT) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			detector := spawn(t, path, "")
			p := newPlant(t, map[string]any{"grpc.address": "unix:" + path})
			before := p.observe(calm)
			c.begin(t, detector)
			compare(t, before, p.observe(fault))
			p.until("an unknown verdict", func() bool { return len(p.unknown) > 0 })
			if c.end(t, detector); name == "killed" {
				spawn(t, path, "")
			}
			p.observe(calm)
			p.complete()
		})
	}
	for _, behaviour := range []string{"reversed", "tooMany", "tooFew", "proposal"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			detector := spawn(t, path, behaviour)
			p := newPlant(t, map[string]any{"grpc.address": "unix:" + path})
			p.observe(fault)
			if behaviour == "tooFew" || behaviour == "reversed" { // which waits for the other one of the last pair
				detector.Kill()
				spawn(t, path, "")
			}
			p.complete()
		})
	}
	t.Run("garbage on the line", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = io.CopyN(c, rand.Reader, 1<<16)
				_ = c.Close()
			}
		})
		address := listener.Addr().String()
		p := newPlant(t, map[string]any{"grpc.address": address})
		during := p.observe(fault)
		p.until("an unknown verdict", func() bool { return len(p.unknown) > 0 })
		_ = listener.Close()
		wg.Wait()
		serve(t, address)
		p.until("an answer", func() bool { return len(p.count) > 0 })
		compare(t, p.observe(calm), during)
		p.complete()
	})
}

func TestFaultsOfTheNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault faultproxy.Fault
		away  bool
	}{
		{"cut", faultproxy.Fault{Refuse: true}, true},
		{"stalled", faultproxy.Fault{Stall: true}, true},
		{"delayed", faultproxy.Fault{Delay: 50 * time.Millisecond}, false},
		{"slow", faultproxy.Fault{Rate: 50_000}, false},
		{"truncated", faultproxy.Fault{Truncate: 20_000}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, address, _ := serve(t, "127.0.0.1:0")
			proxy := faultproxy.New(t, address)
			p := newPlant(t, map[string]any{"grpc.address": proxy.Addr()})
			before := p.observe(calm)
			proxy.Set(c.fault)
			if c.fault.Refuse {
				proxy.Cut()
			}
			compare(t, before, p.observe(fault))
			if c.away {
				p.until("an unknown verdict", func() bool { return len(p.unknown) > 0 })
			}
			proxy.Set(faultproxy.Fault{})
			p.observe(calm)
			p.complete()
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, wrong := range s.wrong {
				t.Error(wrong)
			}
			for _, info := range s.infos {
				if info.Mapper != "plant" || info.Node != "edge-1" || info.StreamId != s.infos[0].StreamId {
					t.Errorf("the detector is told %v", info)
				}
			}
			t.Logf("%d sessions, %d repeats", len(s.infos), s.repeats)
		})
	}
}

// What is between swallows all that is sent on the connections that were open, as after the failover of a balancer, and
// acknowledges it. New connections work: there are verdicts again over one, within twice the timeout.
func TestDeadPeerThatAcknowledges(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	const timeout = 3 * time.Second
	for name, others := range map[string]int{"one detector": 0, "one of two": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, address, _ := serve(t, "127.0.0.1:0")
			proxy := faultproxy.New(t, address)
			addresses := []string{proxy.Addr()}
			for range others {
				_, other, _ := serve(t, "127.0.0.1:0")
				addresses = append(addresses, faultproxy.New(t, other).Addr())
			}
			p := newPlant(t, map[string]any{"grpc.address": strings.Join(addresses, ","), "grpc.timeout": timeout.String(), "grpc.delivery": "latest"})
			p.observe(calm)
			p.until("a verdict", func() bool { return p.count[0] > 0 })
			if others > 0 && proxy.Accepted() == 0 {
				t.Fatal("the address is not used")
			}
			died := time.Now()
			proxy.Swallow()
			first := p.next
			for answered := false; !answered; {
				p.observe(100 * time.Millisecond)
				p.mu.Lock()
				for n := first; n < p.next; n++ {
					answered = answered || p.count[n] > 0
				}
				p.mu.Unlock()
				if took := time.Since(died); took > 2*timeout {
					t.Fatalf("no verdict within %v of the end of the connection, with a timeout of %v; %d connections", took, timeout, proxy.Accepted())
				}
			}
			t.Logf("verdicts again after %v, %d connections", time.Since(died), proxy.Accepted())
		})
	}
}

// Certificates that are expired, of another authority or for another name are refused while others are renewed: each
// becomes good without a restart of the mapper.
func TestFaultsOfCertificates(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	good, other := certtest.New(), certtest.New()
	for _, c := range []struct {
		name   string
		before func(t *testing.T, server, client string)
		after  func(t *testing.T, server, client string)
	}{
		{"the server's is expired", func(t *testing.T, server, _ string) {
			good.Expired(t, server, "detector")
		}, func(t *testing.T, server, _ string) { good.Issue(t, server, "detector") }},
		{"the server's is of an unknown authority", func(t *testing.T, server, _ string) {
			files := other.Issue(t, server, "detector")
			copyFile(t, good.Issue(t, t.TempDir(), "x").CA, files.CA)
		}, func(t *testing.T, server, _ string) { good.Issue(t, server, "detector") }},
		{"the mapper's is expired", func(t *testing.T, _, client string) {
			good.Expired(t, client, "mapper")
		}, func(t *testing.T, _, client string) { good.Issue(t, client, "mapper") }},
		{"the mapper's is of an unknown authority", func(t *testing.T, _, client string) {
			files := other.Issue(t, client, "mapper")
			copyFile(t, good.Issue(t, t.TempDir(), "x").CA, files.CA)
		}, func(t *testing.T, _, client string) { good.Issue(t, client, "mapper") }},
		{"both are rotated to another authority", func(t *testing.T, server, _ string) {
			other.Issue(t, server, "detector")
		}, func(t *testing.T, _, client string) { other.Issue(t, client, "mapper") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, client := t.TempDir(), t.TempDir()
			serverFiles := good.Issue(t, server, "detector")
			clientFiles := good.Issue(t, client, "mapper")
			loader, err := tlsfiles.New(serverFiles, nil)
			if err != nil {
				t.Fatal(err)
			}
			config, err := loader.Server("h2")
			if err != nil {
				t.Fatal(err)
			}
			_, address, _ := serve(t, "127.0.0.1:0", grpc.Creds(credentials.NewTLS(config)))
			proxy := faultproxy.New(t, address) // to end connections
			p := newPlant(t, map[string]any{
				"grpc.address": proxy.Addr(), "grpc.insecure": false,
				"grpc.tls.ca": clientFiles.CA, "grpc.tls.cert": clientFiles.Cert, "grpc.tls.key": clientFiles.Key, "grpc.tls.serverName": "detector",
			})
			before := p.observe(calm)
			p.until("an answer", func() bool { return len(p.count) > 0 })
			c.before(t, server, client)
			p.observe(1200 * time.Millisecond) // files are looked at once a second
			proxy.Cut()
			compare(t, before, p.observe(fault))
			p.until("an unknown verdict that speaks of certificates", func() bool {
				return slices.ContainsFunc(p.unknown, func(s string) bool {
					return strings.Contains(s, "certificate") || strings.Contains(s, "tls:")
				})
			})
			c.after(t, server, client)
			p.observe(calm)
			p.complete()
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A full disk is not felt by those who observe, and neither is one that has room again.
func TestFaultsOfTheDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root on Linux to mount a small file system")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	p := &plant{t: t, count: make(map[int]int), state: t.TempDir()}
	if err := syscall.Mount("tmpfs", p.state, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(p.state, 0); err != nil {
			t.Error(err)
		}
	})
	p.start(map[string]any{"grpc.address": "unix:" + path, "grpc.queue": 1000})
	before := p.observe(100 * time.Millisecond)
	dropped := 0
	var during tail
	for round := 0; dropped == 0; round++ {
		during = p.observe(time.Second)
		p.mu.Lock()
		dropped = p.dropped
		p.mu.Unlock()
		if round == 30 {
			t.Fatal("nothing is dropped: the disk did not become full")
		}
	}
	compare(t, before, during)
	if err := syscall.Mount("tmpfs", p.state, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	p.observe(1500 * time.Millisecond)
	spawn(t, path, "")
	p.until("verdicts on all readings but those dropped", func() bool { return len(p.count)+p.dropped == p.next })
	t.Logf("%d of %d readings dropped", p.dropped, p.next)
	if p.dropped > dropped+1000 {
		t.Errorf("%d readings are dropped after there was room again", p.dropped-dropped)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.handler.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// Memory is bounded while the detector hangs, whatever is observed.
func TestMemoryWhileHung(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "s")
	detector := spawn(t, path, "")
	for _, delivery := range []string{"latest", "atLeastOnce"} {
		t.Run(delivery, func(t *testing.T) {
			p := newPlant(t, map[string]any{"grpc.address": "unix:" + path, "grpc.delivery": delivery, "grpc.queue": 4096, "grpc.spool.size": 4})
			p.observe(calm)
			p.until("an answer", func() bool { return len(p.count) > 0 })
			detector.Signal(t, syscall.SIGSTOP)
			defer detector.Signal(t, syscall.SIGCONT)
			heap := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			fill := func(n int) {
				for range n {
					p.binding.Observe(time.Now(), 1)
				}
			}
			fill(20_000)
			full := heap()
			fill(1_000_000)
			if more := heap(); more > full+4<<20 {
				t.Errorf("the heap grows from %d to %d KiB with a million readings that nobody takes", full>>10, more>>10)
			} else {
				t.Logf("heap: %d KiB when the queue is full, %d after a million more readings", full>>10, more>>10)
			}
			var size int64
			_ = filepath.Walk(p.state, func(_ string, info os.FileInfo, err error) error {
				if err == nil && !info.IsDir() {
					size += info.Size()
				}
				return nil
			})
			if size > 5<<20 {
				t.Errorf("%d bytes on disk, want at most 4 MiB", size)
			}
		})
	}
}
