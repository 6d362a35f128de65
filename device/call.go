// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

const (
	// grace is what a call may take to return after its context has ended, before its client is given up.
	grace = 500 * time.Millisecond
	// maxStuck is how many calls of one device may hang in the driver at once. A device with more is not connected
	// anew, or a driver that never returns would fill the memory with goroutines.
	maxStuck = 3
)

var errStuck = errors.New("the driver does not return")

// call runs a call into the driver. It returns when the call does, but not later than grace after the timeout or the
// end of ctx: then with errStuck, and what the call writes must not be touched any more. cleanup, which may be nil,
// runs when such a call returns at last.
func (o *owner) call(ctx context.Context, timeout time.Duration, fn func(context.Context) error, cleanup func()) error {
	callCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	returned := make(chan error, 1)
	o.panel.calls.Go(func() { returned <- protect(callCtx, fn) })
	select {
	case err := <-returned:
		return err
	case <-callCtx.Done():
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case err := <-returned:
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("no answer within %v: %w", timeout, err)
		}
		return err
	case <-patience.C:
	}
	o.stuck.Add(1)
	o.panel.calls.Go(func() {
		<-returned
		if cleanup != nil {
			cleanup()
		}
		o.stuck.Add(-1)
	})
	return fmt.Errorf("%w %v after its deadline", errStuck, grace)
}

// protect turns a panic of a driver into an error.
func protect(ctx context.Context, fn func(context.Context) error) error {
	return guard.Call("the device driver", func() error { return fn(ctx) })
}
