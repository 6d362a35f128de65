// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sourcetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
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

// Client is an HTTP client that has a connection of its own for each request.
func Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// Post sends a body. An answer is its status, when to come again where it says that, and its text.
func Post(ctx context.Context, client *http.Client, url string, body []byte, header map[string]string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(fmt.Sprintf("%d %s%s", resp.StatusCode, resp.Header.Get("Retry-After"), said)), err
}

// Ended is an intake that takes nothing any more.
type Ended struct{ Err error }

// Take returns Err.
func (in Ended) Take(context.Context, []source.Reading) error { return in.Err }
