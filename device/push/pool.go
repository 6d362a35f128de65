// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"
)

// ErrUnsupported says that a push method exists but is not provided here.
var ErrUnsupported = errors.New("push method is not supported, want http or mqtt")

// Options configure a [Pool]. Zero values mean the default.
type Options struct {
	QueueSize int               // readings kept per destination. Default 1024
	Timeout   time.Duration     // of one attempt, where the Device says none. Default 5 s
	RetryMin  time.Duration     // first pause after a failure. Default 500 ms
	RetryMax  time.Duration     // longest pause, reached by doubling. Default 30 s
	Transport http.RoundTripper // default: a clone of http.DefaultTransport
}

// Stats counts readings since the pool was made.
type Stats struct {
	Sent    uint64 // accepted by the destination
	Failed  uint64 // refused by the destination for good
	Dropped uint64 // given up for newer ones, or left in the queue at the end
}

// Pool owns the connections to all destinations. Its methods may be called concurrently.
type Pool struct {
	opts   Options
	client *http.Client
	ctx    context.Context
	stop   context.CancelFunc
	lanes  sync.WaitGroup

	sent, failed, dropped atomic.Uint64

	mu     sync.Mutex
	closed bool
	open   map[string]*lane // by destination
}

// NewPool makes a pool without destinations. It works until ctx ends or [Pool.Shutdown].
func NewPool(ctx context.Context, opts Options) *Pool {
	if opts.QueueSize <= 0 {
		opts.QueueSize = 1024
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Second
	}
	if opts.RetryMin <= 0 {
		opts.RetryMin = 500 * time.Millisecond
	}
	if opts.RetryMax <= 0 {
		opts.RetryMax = 30 * time.Second
	}
	if opts.Transport == nil {
		opts.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	p := &Pool{opts: opts, client: &http.Client{Transport: opts.Transport}, open: make(map[string]*lane)}
	p.ctx, p.stop = context.WithCancel(ctx)
	return p
}

// Open readies the destination that a push method of a Device names: method is "http" or "mqtt", config its settings in
// JSON. It opens no connection yet. The target must be closed.
func (p *Pool) Open(method string, config json.RawMessage) (*Target, error) {
	var destination string
	var to route
	var open func() sender
	switch method {
	case common.PushMethodHTTP:
		r, err := parseHTTP(config, p.opts.Timeout)
		if err != nil {
			return nil, fmt.Errorf("push method http: %w", err)
		}
		destination, to = "http "+r.url, r
		open = func() sender { return &httpSender{client: p.client} }
	case common.PushMethodMQTT:
		r, err := parseMQTT(config)
		if err != nil {
			return nil, fmt.Errorf("push method mqtt: %w", err)
		}
		destination, to = "mqtt "+r.broker, r
		open = func() sender { return newMQTTSender(r.broker, p.opts.Timeout) }
	default:
		return nil, fmt.Errorf("push method %s: %w", method, ErrUnsupported)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.ctx.Err() != nil {
		return nil, errors.New("push: the pool is shut down")
	}
	l, ok := p.open[destination]
	if !ok {
		l = newLane(p, destination, open())
		p.open[destination] = l
		p.lanes.Go(l.run)
	}
	l.users++
	return &Target{lane: l, route: to}, nil
}

// Stats returns the counts so far.
func (p *Pool) Stats() Stats {
	return Stats{Sent: p.sent.Load(), Failed: p.failed.Load(), Dropped: p.dropped.Load()}
}

// Shutdown sends what is queued, as far as destinations answer at the first attempt and until ctx ends, then closes all
// connections and joins every goroutine. It may be called twice.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.open {
		l.finish()
	}
	p.mu.Unlock()
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		p.lanes.Wait()
	}()
	var err error
	select {
	case <-joined:
	case <-ctx.Done():
		err = fmt.Errorf("push: readings were left unsent: %w", context.Cause(ctx))
	}
	p.stop()
	<-joined
	p.client.CloseIdleConnections()
	return err
}

// Target is the destination of one property.
type Target struct {
	lane  *lane
	route route
	once  sync.Once
}

// Push queues a reading and returns at once. A full queue drops its oldest reading.
func (t *Target) Push(data common.DataModel) { t.lane.offer(item{data: data, route: t.route}) }

// Close gives the target up. The last target of a destination closes its connection; what is queued then is dropped.
func (t *Target) Close() {
	t.once.Do(func() {
		p := t.lane.pool
		p.mu.Lock()
		defer p.mu.Unlock()
		if t.lane.users--; t.lane.users == 0 && !p.closed {
			delete(p.open, t.lane.destination)
			t.lane.cancel()
		}
	})
}
