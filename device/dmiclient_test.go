// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func legalTwin(value string) *dmiapi.Twin {
	return &dmiapi.Twin{PropertyName: "temperature", ObservedDesired: &dmiapi.TwinProperty{}, Reported: &dmiapi.TwinProperty{Value: value}}
}

func TestClientRegister(t *testing.T) {
	e := startEdgeCore(t, "a", "b")
	c := newClient(t, e)
	for range 2 { // again does no harm
		devices, models, err := c.Register(within(t), mapperInfo("/m.sock"), true)
		if err != nil || len(devices) != 2 || len(models) != 2 {
			t.Fatalf("%d devices, %d models, %v; want 2, 2", len(devices), len(models), err)
		}
	}
	if socket, _ := e.MapperSocket("http"); socket != "/m.sock" {
		t.Errorf("edgecore pushes to %q", socket)
	}
}

// Whatever keeps EdgeCore from answering now, registration waits for it.
func TestClientRegisterTriesAgain(t *testing.T) {
	t.Run("edgecore is down", func(t *testing.T) {
		e := startEdgeCore(t, "a")
		c := newClient(t, e)
		e.Kill()
		registered := make(chan error, 1)
		go func() {
			_, _, err := c.Register(within(t), mapperInfo("/m.sock"), true)
			registered <- err
		}()
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		if err := <-registered; err != nil {
			t.Error(err)
		}
	})
	t.Run("limiter exhausted", func(t *testing.T) {
		e := startEdgeCore(t, "a")
		c := newClient(t, e)
		e.SetLimiter(1e-9, 1)
		e.ExhaustLimiter()
		registered := make(chan error, 1)
		go func() {
			_, _, err := c.Register(within(t), mapperInfo("/m.sock"), true)
			registered <- err
		}()
		if err := e.Wait(within(t), func() bool { return e.Counts().Throttled >= 2 }); err != nil {
			t.Fatal(err)
		}
		e.SetLimiter(1e9, 100)
		if err := <-registered; err != nil {
			t.Error(err)
		}
	})
	t.Run("until ctx ends", func(t *testing.T) {
		e := startEdgeCore(t)
		c := newClient(t, e)
		e.Kill()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, _, err := c.Register(ctx, mapperInfo("/m.sock"), true)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "MapperRegister mapper: retryable") {
			t.Errorf("error %v, want the end of ctx and the last failure", err)
		}
	})
	t.Run("not when it is hopeless", func(t *testing.T) {
		e := startEdgeCore(t)
		info := mapperInfo("/m.sock")
		info.Protocol = ""
		if _, _, err := newClient(t, e).Register(within(t), info, true); classOf(err) != CallPermanent {
			t.Errorf("error %v, want a permanent one", err)
		}
		if n := e.Counts().MapperRegister; n != 0 {
			t.Errorf("asked edgecore %d times", n)
		}
	})
}

// A server that hangs costs the deadline and no more.
func TestClientDeadline(t *testing.T) {
	e := startEdgeCore(t, "a")
	c, err := NewDMIClient(ClientOptions{Socket: e.Socket(), Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	e.Pause()
	err = c.ReportTwins(t.Context(), "default", "a", []*dmiapi.Twin{legalTwin("1")})
	if status.Code(errors.Unwrap(err)) != codes.DeadlineExceeded || classOf(err) != CallRetryable {
		t.Errorf("error %v, want DeadlineExceeded, retryable", err)
	}
}

// One connection, kept: it survives a restart of EdgeCore.
func TestClientSurvivesRestart(t *testing.T) {
	e := startEdgeCore(t, "a")
	c := newClient(t, e)
	send := func() error { return c.ReportTwins(within(t), "default", "a", []*dmiapi.Twin{legalTwin("1")}) }
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Register(within(t), mapperInfo("/m.sock"), true); err != nil {
		t.Fatal(err)
	}
	if err := send(); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestClientNeverCrashesEdgeCore(t *testing.T) {
	e := startEdgeCore(t, "a")
	c := newClient(t, e)
	for name, twins := range map[string][]*dmiapi.Twin{
		"no twins":           nil,
		"nil twin":           {nil},
		"no reported":        {{PropertyName: "temperature", ObservedDesired: &dmiapi.TwinProperty{}}},
		"no observedDesired": {legalTwin("1"), {PropertyName: "temperature", Reported: &dmiapi.TwinProperty{}}},
	} {
		err := c.ReportTwins(within(t), "default", "a", twins)
		if classOf(err) != CallPermanent || !strings.Contains(err.Error(), "default/a") {
			t.Errorf("%s: error %v, want a permanent one that names the device", name, err)
		}
	}
	if err := e.Crashed(); err != nil {
		t.Error(err)
	}
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want CallClass
	}{
		{status.Error(codes.Unknown, "fail to report device status because of too many request: a"), CallThrottled},
		{status.Error(codes.ResourceExhausted, "slow down"), CallThrottled},
		{status.Error(codes.Unknown, "database is locked"), CallRetryable},
		{status.Error(codes.Unavailable, "connection refused"), CallRetryable},
		{status.Error(codes.DeadlineExceeded, "late"), CallRetryable},
		{status.Error(codes.Unimplemented, "old edgecore"), CallPermanent},
		{status.Error(codes.InvalidArgument, "no"), CallPermanent},
		{errors.New("not from gRPC"), CallRetryable},
	} {
		if got := classify(tc.err); got != tc.want {
			t.Errorf("%v is %v, want %v", tc.err, got, tc.want)
		}
	}
}
