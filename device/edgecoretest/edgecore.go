// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package edgecoretest simulates the device side of KubeEdge's EdgeCore, for tests and demos of mappers.
//
// An [EdgeCore] serves DeviceManagerService on a unix socket, holds devices and models as the cloud would send them,
// pushes them to the mapper that registered for their protocol, and keeps what the mapper reports. It behaves as a
// running edgecore v1.23 was observed to behave, including what surprises mapper authors:
//
//   - Values of pushMethod.anomalyDetection, visitors and protocol configData travel as protobuf Any: a number is cut
//     to float32; a null, a nested map, a list or a key named "data" drops the whole device.
//   - One limiter a node, one request a second with a burst of 100, covers registration and both kinds of report.
//   - A twin without observedDesired or reported crashes edgecore.
//   - The first report of each twin reaches the cloud as an empty value. Values outside [a-zA-Z0-9-_.,:/@#]{1,512},
//     unknown properties and unknown states are dropped although the call succeeds.
//   - While the cloud is away it accepts reports and loses them, see [EdgeCore.CutCloud].
//   - Pushes are serial with a timeout of ten seconds, and the last mapper that registers for a protocol takes them.
//
// The zero [Options] give the real figures; tests usually want a faster limiter.
package edgecoretest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
)

// What a real node has.
const (
	DefaultRate        = rate.Limit(1) // requests per second, all mappers and all kinds of requests together
	DefaultBurst       = 100
	DefaultPushTimeout = 10 * time.Second
)

// ErrCrashed is wrapped by everything that reports or follows a fatal violation.
var ErrCrashed = errors.New("edgecore crashed")

// Options configure an EdgeCore. The zero value is a node as it is in the field.
type Options struct {
	// Socket is the path of the DMI socket. Default: dmi.sock in a new temporary directory, which Close removes.
	Socket string
	// Rate and Burst are those of the node's limiter. Default 1/s and 100; rate.Inf switches it off.
	Rate  rate.Limit
	Burst int
	// PushTimeout bounds one call to a mapper. Default 10 s.
	PushTimeout time.Duration
	// OnEvent, when set, is called with everything that happens, from several goroutines and without any lock held.
	OnEvent func(Event)
}

// EdgeCore is a simulated edgecore. Its methods are safe for concurrent use.
type EdgeCore struct {
	opts    Options
	tempDir string
	limiter *rate.Limiter
	pushing chan struct{} // one token: pushes to mappers are serial

	mu        sync.Mutex
	run       *run // nil while not serving
	crashed   error
	crashSeen bool          // somebody asked for crashed
	resume    chan struct{} // non-nil while paused, closed by Resume
	changed   chan struct{} // closed and replaced at each change
	counts    Counts
	models    map[string]*v1beta1.DeviceModel
	devices   map[string]*deviceEntry
	twins     map[twinID]*twinEntry
	states    map[string]string    // as the cloud sees them
	cut       bool                 // the cloud is away
	mappers   []*dmiapi.MapperInfo // as saved in the database, oldest registration first
	sockets   map[string]string    // protocol to mapper socket: the clients that pushes use
	joinable  sync.WaitGroup
}

// run is one life of the process: from Start to a kill, a crash or Close.
type run struct {
	server *grpc.Server
	pushes *grpc.ClientConn // of the push under way, if any; guarded by EdgeCore.mu
	done   chan struct{}    // closed when Serve has returned
}

// New returns an EdgeCore that does not serve yet. Devices and models may be added before Start.
func New(opts Options) *EdgeCore {
	if opts.Rate == 0 {
		opts.Rate = DefaultRate
	}
	if opts.Burst == 0 {
		opts.Burst = DefaultBurst
	}
	if opts.PushTimeout == 0 {
		opts.PushTimeout = DefaultPushTimeout
	}
	e := &EdgeCore{
		opts:    opts,
		limiter: rate.NewLimiter(opts.Rate, opts.Burst),
		pushing: make(chan struct{}, 1),
		changed: make(chan struct{}),
		models:  map[string]*v1beta1.DeviceModel{},
		devices: map[string]*deviceEntry{},
		twins:   map[twinID]*twinEntry{},
		states:  map[string]string{},
		sockets: map[string]string{},
	}
	return e
}

// TB is the part of testing.TB that StartTest needs; with it no program that links this package links testing.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// StartTest starts an EdgeCore that lives as long as the test. A test that crashed it fails, unless it asked
// [EdgeCore.Crashed] for the reason.
func StartTest(tb TB, opts Options) *EdgeCore {
	tb.Helper()
	e := New(opts)
	if err := e.Start(); err != nil {
		tb.Fatalf("edgecoretest: %v", err)
	}
	tb.Cleanup(func() {
		e.mu.Lock()
		err, seen := e.crashed, e.crashSeen
		e.mu.Unlock()
		if err != nil && !seen {
			tb.Errorf("edgecoretest: %v", err)
		}
		if err := e.Close(); err != nil {
			tb.Errorf("edgecoretest: %v", err)
		}
	})
	return e
}

// Socket is the path of the DMI socket; empty before the first Start when Options.Socket was.
func (e *EdgeCore) Socket() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.opts.Socket
}

// Start serves the DMI socket. As a restarted edgecore it knows from its database the devices, models, twins and
// mappers of its earlier lives, with a full limiter. It fails when it already serves.
func (e *EdgeCore) Start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run != nil {
		return errors.New("edgecore already started")
	}
	if e.opts.Socket == "" {
		dir, err := os.MkdirTemp("", "edgecore")
		if err != nil {
			return fmt.Errorf("start edgecore: %w", err)
		}
		e.tempDir = dir
		e.opts.Socket = filepath.Join(dir, "dmi.sock")
	}
	// A killed process leaves its socket file behind.
	if err := os.Remove(e.opts.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start edgecore: %w", err)
	}
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: e.opts.Socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("start edgecore: %w", err)
	}
	lis.SetUnlinkOnClose(false)
	if err := os.Chmod(e.opts.Socket, 0o600); err != nil {
		return errors.Join(fmt.Errorf("start edgecore: %w", err), lis.Close())
	}

	if e.resume != nil { // a new process does not hang
		close(e.resume)
		e.resume = nil
	}
	e.crashed = nil
	e.limiter = rate.NewLimiter(e.opts.Rate, e.opts.Burst)
	e.sockets = map[string]string{}
	for _, m := range e.mappers {
		e.sockets[m.GetProtocol()] = string(m.GetAddress())
	}
	for id, d := range e.devices {
		if d.ghost {
			delete(e.devices, id)
		}
	}

	r := &run{done: make(chan struct{}), server: grpc.NewServer(grpc.WaitForHandlers(true))}
	dmiapi.RegisterDeviceManagerServiceServer(r.server, &service{core: e, run: r})
	e.run = r
	e.counts.Starts++
	e.notifyLocked()
	e.joinable.Go(func() {
		defer close(r.done)
		// ErrServerStopped: killed before it could serve. Any other error is that of a listener closed under it.
		if err := r.server.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			e.emit(Event{Kind: EventStopped, Detail: err.Error()})
		}
	})
	return nil
}

// Kill ends the process as kill -9 does: connections are cut, calls in flight fail, the socket file stays.
// It does nothing while EdgeCore does not serve.
func (e *EdgeCore) Kill() {
	e.mu.Lock()
	r := e.run
	e.run = nil
	e.cutPushLocked(r)
	e.notifyLocked()
	e.mu.Unlock()
	if r == nil {
		return
	}
	r.stop()
	e.emit(Event{Kind: EventStopped})
}

// cutPushLocked ends the push under way with its connection. The caller holds mu.
func (e *EdgeCore) cutPushLocked(r *run) {
	if r != nil && r.pushes != nil {
		_ = r.pushes.Close() // fails only when the push has just ended by itself
		r.pushes = nil
	}
}

func (r *run) stop() {
	r.server.Stop()
	<-r.done
}

// Restart kills the process and starts it again.
func (e *EdgeCore) Restart() error {
	e.Kill()
	return e.Start()
}

// Close kills the process, waits for everything it started and removes its socket. It is idempotent.
func (e *EdgeCore) Close() error {
	e.Kill()
	e.joinable.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.opts.Socket == "" {
		return nil
	}
	if err := os.Remove(e.opts.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("close edgecore: %w", err)
	}
	if e.tempDir != "" {
		if err := os.RemoveAll(e.tempDir); err != nil {
			return fmt.Errorf("close edgecore: %w", err)
		}
		e.tempDir, e.opts.Socket = "", ""
	}
	return nil
}

// crash records why a real edgecore would have died and dies as it would.
func (e *EdgeCore) crash(r *run, why error) error {
	why = fmt.Errorf("%w: %w", ErrCrashed, why)
	e.mu.Lock()
	first := e.run == r
	if first {
		e.crashed = why
		e.run = nil
		e.counts.Crashes++
		e.crashSeen = false
		e.cutPushLocked(r)
		// The handler that is dying must return before Stop can, so somebody else stops the server.
		e.joinable.Go(r.stop)
	}
	e.notifyLocked()
	e.mu.Unlock()
	if first {
		e.emit(Event{Kind: EventCrashed, Detail: why.Error()})
	}
	return why
}

// Crashed tells why the simulated process died, or nil. Start clears it.
func (e *EdgeCore) Crashed() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.crashSeen = true
	return e.crashed
}

// Pause makes EdgeCore hang: it accepts calls and answers none until Resume.
func (e *EdgeCore) Pause() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.resume == nil {
		e.resume = make(chan struct{})
	}
}

// Resume ends Pause. Calls whose caller still waits are answered now.
func (e *EdgeCore) Resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.resume != nil {
		close(e.resume)
		e.resume = nil
	}
}

// CutCloud breaks the link to the cloud: reports are accepted, as if all were well, and lost. The twins and states that
// the cloud has stay as they are until the link is there again and the mapper reports once more.
func (e *EdgeCore) CutCloud() { e.setCut(true) }

// RestoreCloud brings the link to the cloud back. Nothing that was lost is sent again.
func (e *EdgeCore) RestoreCloud() { e.setCut(false) }

func (e *EdgeCore) setCut(cut bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cut = cut
	e.notifyLocked()
}

// ExhaustLimiter takes every token that the limiter holds now.
func (e *EdgeCore) ExhaustLimiter() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := int(e.limiter.Tokens()); n > 0 {
		e.limiter.AllowN(time.Now(), n)
	}
}

// SetLimiter changes the node's limiter, now and for later lives. It keeps the tokens that are there, up to burst.
func (e *EdgeCore) SetLimiter(limit rate.Limit, burst int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opts.Rate, e.opts.Burst = limit, burst
	e.limiter.SetLimit(limit)
	e.limiter.SetBurst(burst)
}
