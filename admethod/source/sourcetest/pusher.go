// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sourcetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Pusher sends what it is given in order, again until it is answered, as peers do who push.
type Pusher[T any] struct {
	mu   sync.Mutex
	have []T
}

const pushedAtOnce = 30

// Start sends until the test ends.
func (p *Pusher[T]) Start(t *testing.T, send func(ctx context.Context, some []T) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var sending sync.WaitGroup
	sending.Go(func() {
		for ctx.Err() == nil {
			p.mu.Lock()
			some := p.have[:min(len(p.have), pushedAtOnce)]
			p.mu.Unlock()
			if len(some) > 0 && send(ctx, some) == nil {
				p.mu.Lock()
				p.have = p.have[len(some):]
				p.mu.Unlock()
				continue
			}
			_ = wait.Sleep(ctx, 5*time.Millisecond) // ctx is looked at
		}
	})
	t.Cleanup(func() {
		cancel()
		sending.Wait()
	})
}

// Push gives it one more.
func (p *Pusher[T]) Push(v T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have = append(p.have, v)
}

// Ended is an intake that takes nothing any more.
type Ended struct{ Err error }

// Take returns Err.
func (in Ended) Take(context.Context, []source.Reading) error { return in.Err }
