// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// mostQueued bounds the readings of a partition that wait for the bus.
const mostQueued = 4096

// Publisher publishes readings of any number of origins. It needs [Publisher.Run].
type Publisher struct {
	bus     *Bus
	id      string
	groups  intake.Config // says in which group a property is
	lanes   []*lane
	ended   chan struct{} // closed when Run ends
	written atomic.Uint64 // readings that are on the bus
}

// Publisher makes one; settings are those of the workers, as the group of a property is told by routes.
func (b *Bus) Publisher(settings intake.Config) *Publisher {
	p := &Publisher{bus: b, id: nuid.Next(), groups: settings, ended: make(chan struct{})}
	for i := range b.Config.Partitions {
		p.lanes = append(p.lanes, &lane{publisher: p, partition: i, wake: make(chan struct{}, 1), next: newFlush()})
	}
	return p
}

// Written counts the readings that are on the bus.
func (p *Publisher) Written() uint64 { return p.written.Load() }

// Run publishes until ctx ends. What was taken and is not on the bus by then is told to who brought it.
func (p *Publisher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range p.lanes {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Wait()
	close(p.ended)
	return nil
}

// Origin is one who brings readings, and what it may bring.
type Origin struct {
	Name       string
	Namespaces []string // "*" is every one
	Rate       float64  // readings a second, beyond which it waits; 0 is no bound
}

// Intake takes the readings of an origin. Take returns when they are on the bus, which keeps them; who waits for answers is
// told that there are none, as others judge.
func (p *Publisher) Intake(o Origin) source.Intake {
	t := &taker{publisher: p, origin: o, places: make(map[driver.Key]place)}
	if o.Rate > 0 {
		t.limiter = rate.NewLimiter(rate.Limit(o.Rate), int(min(max(o.Rate, 1), 1<<20)))
	}
	return t
}

type taker struct {
	publisher *Publisher
	origin    Origin
	limiter   *rate.Limiter

	mu     sync.Mutex
	places map[driver.Key]place
}

// place is where the readings of a property go.
type place struct {
	about *source.Property
	lane  *lane
}

// Take is as [source.Intake] has it.
func (t *taker) Take(ctx context.Context, readings []source.Reading) error {
	var refused []source.Refusal
	var flushes []*flush
	for i := range readings {
		r := &readings[i]
		l, err := t.place(r)
		if err != nil {
			refused = append(refused, source.Refusal{Index: i, Err: err})
			continue
		}
		if t.limiter != nil {
			if err := t.limiter.Wait(ctx); err != nil {
				return errors.Join(context.Cause(ctx), err)
			}
		}
		f, err := l.add(ctx, t.origin.Name, r)
		if err != nil {
			return err
		}
		if !slices.Contains(flushes, f) {
			flushes = append(flushes, f)
		}
	}
	for _, f := range flushes {
		if err := f.wait(ctx, t.publisher); err != nil {
			return err
		}
	}
	for i := range readings {
		if a := readings[i].Answer; a != nil && !slices.ContainsFunc(refused, func(r source.Refusal) bool { return r.Index == i }) {
			a.Answer(readings[i].Token, nil)
		}
	}
	if refused != nil {
		return &source.RefusedError{Refused: refused}
	}
	return nil
}

// place checks a reading of a property that is new, and says where it goes.
func (t *taker) place(r *source.Reading) (*lane, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.places[r.Key]
	switch {
	case ok && r.Gone:
		delete(t.places, r.Key)
		return known.lane, nil
	case ok && known.about == r.Property:
		if r.At.IsZero() {
			return nil, r.Check()
		}
		return known.lane, nil
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	if !slices.Contains(t.origin.Namespaces, "*") && !slices.Contains(t.origin.Namespaces, r.Key.Namespace) {
		return nil, fmt.Errorf("source %q may not bring readings for namespace %.253q", t.origin.Name, r.Key.Namespace)
	}
	if err := r.Property.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Key, err)
	}
	group := ""
	if !r.Gone {
		group = t.publisher.groups.Group(t.origin.Name, r.Key, r.Property)
	}
	p := place{r.Property, t.publisher.lanes[Partition(r.Key, group, len(t.publisher.lanes))]}
	if !r.Gone {
		if len(t.places) > 1<<20 {
			clear(t.places)
		}
		t.places[r.Key] = p
	}
	return p.lane, nil
}

// flush is readings that are published together.
type flush struct {
	origins  []string // of each reading
	readings []source.Reading
	done     chan struct{} // closed when all are on the bus
}

func newFlush() *flush { return &flush{done: make(chan struct{})} }

// wait waits until the readings are on the bus.
func (f *flush) wait(ctx context.Context, p *Publisher) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.ended:
		select {
		case <-f.done:
			return nil
		default:
			return errEnded
		}
	}
}

var errEnded = errors.New("the bus is closed")

// lane publishes the readings of one partition, one batch after the other.
type lane struct {
	publisher *Publisher
	partition int
	wake      chan struct{}

	mu   sync.Mutex
	next *flush

	// Of run.
	encoder encoder
	number  uint64
	data    []byte
}

// add queues a reading; it waits while too many are queued.
func (l *lane) add(ctx context.Context, origin string, r *source.Reading) (*flush, error) {
	for {
		l.mu.Lock()
		f := l.next
		if len(f.readings) < mostQueued {
			one := *r
			one.Answer = nil
			f.readings, f.origins = append(f.readings, one), append(f.origins, origin)
			first := len(f.readings) == 1
			l.mu.Unlock()
			if first {
				select {
				case l.wake <- struct{}{}:
				default:
				}
			}
			return f, nil
		}
		l.mu.Unlock()
		if err := f.wait(ctx, l.publisher); err != nil {
			return nil, err
		}
	}
}

func (l *lane) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		l.mu.Lock()
		f := l.next
		l.next = newFlush()
		l.mu.Unlock()
		if l.publish(ctx, f) != nil {
			return
		}
		close(f.done)
	}
}

// publish puts readings on the bus; it tries as long as it takes.
func (l *lane) publish(ctx context.Context, f *flush) error {
	p := l.publisher
	for from := 0; from < len(f.readings); {
		to := from + 1
		for to < len(f.readings) && f.origins[to] == f.origins[from] {
			to++
		}
		l.number++
		data, n, err := l.encoder.append(l.data[:0], &Batch{
			Publisher: p.id, Number: l.number, Origin: f.origins[from], Readings: f.readings[from:to],
		})
		if err != nil { // of a property that no JSON can hold, which Check does not let through
			return err
		}
		l.data = data
		m := &nats.Msg{Subject: subjectOf(readingsSubject, l.partition), Data: data, Header: nats.Header{}}
		m.Header.Set(nats.MsgIdHdr, p.id+"-"+strconv.Itoa(l.partition)+"-"+strconv.FormatUint(l.number, 10))
		err = patiently(ctx, func(ctx context.Context) error {
			_, err := p.bus.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
			if err != nil && ctx.Err() == nil {
				p.bus.Config.Report("publishing to the bus", "sources wait, and drop what they cannot keep", err)
			}
			return err
		})
		if err != nil {
			return err
		}
		p.bus.Config.Report("publishing to the bus", "", nil)
		p.written.Add(uint64(n))
		from += n
	}
	return nil
}
