// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

const (
	tickEvery      = time.Second // of a partition to which nothing comes
	mostPublishers = 4096        // that are remembered; the one with the lowest name is forgotten first
	commitAt       = 512         // verdicts that are told at once
)

// partition judges the readings of one partition, as long as it is its worker's.
type partition struct {
	worker  *Worker
	number  int
	release chan struct{} // closed to hand over
	state   *checkpoints
	teller  *teller

	in      *intake.Intake
	adapter *inprocess.Adapter
	feeds   map[string]*intake.Feed
	decoder decoder
	batch   Batch
	seq     uint64 // of the last message that is judged

	mu      sync.Mutex // guards told
	told    []toldOf   // of the message that is being judged
	muted   bool       // it is being shut down
	failed  error      // to write a verdict down
	pending []toldOf   // of messages that are judged

	published map[string]uint64
	next      time.Time // checkpoint
}

// run claims the partition and judges until it is to be handed over, ctx ends, or somebody else claims it.
func (p *partition) run(ctx context.Context) error {
	if err := p.state.claim(ctx); err != nil {
		return err
	}
	if err := p.teller.claim(ctx); err != nil {
		return err
	}
	if err := p.state.load(ctx); err != nil {
		return err
	}
	p.published = maps.Clone(p.state.point.Publishers)
	if p.published == nil {
		p.published = make(map[string]uint64)
	}
	c := p.worker.config.Intake
	c.Driven, c.Told = true, p.hear
	c.StateDir, c.Sinks = "", nil
	c.Snapshot = 365 * 24 * time.Hour // checkpoints are made here
	c.MaxSeries = share(c.MaxSeries, p.worker.bus.Config.Partitions)
	c.Adapters = new(admethod.AdapterRegistry)
	c.Adapters.Register(inprocess.Name, inprocess.FactoryWith(p.state, func(a *inprocess.Adapter) { p.adapter = a }))
	var err error
	if p.in, err = intake.New(c); err != nil {
		return err
	}
	// The intake ends after its part, whatever becomes of ctx: nothing that it tells then is told to anybody.
	return p.in.Run(context.WithoutCancel(ctx), func(context.Context) error {
		defer p.mute()
		return p.judge(ctx)
	})
}

// share is how many of the series of a worker one partition may have: half as many again as if all had the same.
func share(series, partitions int) int {
	if series == 0 {
		series = 10_000
	}
	return 16 + (series*3/2+partitions-1)/partitions
}

// hear takes a verdict of the message that is being judged.
func (p *partition) hear(r *driver.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.muted {
		return
	}
	v, err := sealed(r)
	if err != nil {
		p.failed = errors.Join(p.failed, err)
		return
	}
	p.told = append(p.told, v)
}

func (p *partition) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muted = true
}

// feed is that of an origin.
func (p *partition) feed(origin string) (*intake.Feed, error) {
	if f, ok := p.feeds[origin]; ok {
		return f, nil
	}
	f, err := p.in.Feed(p.in.Client(origin, []string{"*"}, intake.Limits{
		Rate: -1, Memory: -1, Series: p.in.Config.MaxSeries, Streams: 1,
	}))
	if err != nil {
		return nil, err
	}
	p.feeds[origin] = f
	return f, nil
}

// judge reads the stream of the partition on from its checkpoint.
func (p *partition) judge(ctx context.Context) error {
	defer func() {
		for _, f := range p.feeds {
			f.Close(ctx)
		}
	}()
	point := &p.state.point
	p.in.SetTime(point.Now, point.Resumed)
	p.seq = point.Seq
	p.state.known(&p.decoder)
	for _, origin := range slices.Sorted(maps.Keys(p.state.fed)) {
		f, err := p.feed(origin)
		if err != nil {
			return err
		}
		if err := f.Restore(p.state.fed[origin]); err != nil { //nolint:contextcheck // a series outlives what opens it
			p.worker.report(fmt.Sprintf("partition %d", p.number), "some of its series begin anew", err)
		}
	}
	messages, stop, err := p.subscribe(ctx)
	if err != nil {
		return err
	}
	defer stop()
	p.worker.began(p)
	every := p.worker.config.Checkpoint
	p.next = time.Now().Add(every/2 + time.Duration(p.number%16)*every/32)
	tick := time.NewTicker(tickEvery / 2)
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.release:
			return p.handOver(ctx)
		case m, ok := <-messages:
			if !ok {
				return errors.New("the subscription ended")
			}
			heard = time.Now()
			if err := p.take(ctx, m); err != nil {
				return err
			}
			if len(p.pending) >= commitAt || len(messages) == 0 {
				if err := p.commit(ctx); err != nil {
					return err
				}
			}
			if heard.Before(p.next) {
				continue
			}
		case now := <-tick.C:
			if now.Sub(heard) >= tickEvery {
				p.tick()
				heard = now
			}
			if now.Before(p.next) {
				continue
			}
		}
		if err := p.checkpoint(ctx); err != nil {
			return err
		}
	}
}

// subscribe reads messages of the partition from behind the last one that is judged.
func (p *partition) subscribe(ctx context.Context) (<-chan jetstream.Msg, func(), error) {
	var consumer jetstream.Consumer
	err := patiently(ctx, func(ctx context.Context) (err error) {
		consumer, err = p.worker.bus.js.OrderedConsumer(ctx, ReadingsStream, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{subjectOf(readingsSubject, p.number)},
			DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: p.seq + 1,
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var iterator jetstream.MessagesContext
	err = patiently(ctx, func(context.Context) (err error) {
		iterator, err = consumer.Messages(jetstream.PullMaxMessages(64), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	out := make(chan jetstream.Msg, 64)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(out)
		for {
			m, err := iterator.Next()
			switch {
			case errors.Is(err, jetstream.ErrMsgIteratorClosed):
				return
			case err != nil:
				select {
				case <-quit:
					return
				case <-ctx.Done():
					return
				case <-time.After(50 * time.Millisecond):
					continue
				}
			}
			select {
			case out <- m:
			case <-quit:
				return
			}
		}
	})
	return out, func() {
		close(quit)
		iterator.Stop()
		wg.Wait()
	}, nil
}

// tick says that time goes by where nothing comes. It may be lost.
func (p *partition) tick() {
	var e encoder
	data, _, err := e.append(nil, &Batch{Publisher: "", Origin: ""})
	if err == nil {
		_ = p.worker.bus.conn.PublishMsg(&nats.Msg{Subject: subjectOf(readingsSubject, p.number), Data: data})
	}
}

// take judges a message.
func (p *partition) take(ctx context.Context, m jetstream.Msg) error {
	info, err := m.Metadata()
	if err != nil {
		return err
	}
	seq := info.Sequence.Stream
	if seq <= p.seq {
		return nil
	}
	if err := p.in.Advance(ctx, info.Timestamp); err != nil {
		return err
	}
	if err := p.decoder.decode(m.Data(), &p.batch); err != nil {
		p.worker.report("readings on the bus", "they are passed over", err)
		p.batch.Readings = nil
	}
	if p.batch.Publisher != "" {
		if p.batch.Number <= p.published[p.batch.Publisher] { // published again
			p.batch.Readings = nil
		} else {
			p.remember(p.batch.Publisher, p.batch.Number)
		}
	}
	if len(p.batch.Readings) > 0 {
		f, err := p.feed(p.batch.Origin)
		if err != nil {
			return err
		}
		if err := f.Take(ctx, p.batch.Readings); err != nil {
			if refused := (*source.RefusedError)(nil); !errors.As(err, &refused) {
				return err
			}
			p.worker.refused.Add(1)
		}
	}
	if err := p.in.Flush(ctx); err != nil {
		return err
	}
	p.seq = seq
	p.worker.judged.Add(uint64(len(p.batch.Readings)))
	p.mu.Lock()
	defer p.mu.Unlock()
	arrange(p.told, seq)
	for i := range p.told {
		if !p.teller.last.muted(&p.told[i]) {
			p.pending = append(p.pending, p.told[i])
		}
	}
	p.told = p.told[:0]
	err, p.failed = p.failed, nil
	return err
}

// remember notes the last batch of a publisher.
func (p *partition) remember(publisher string, number uint64) {
	if len(p.published) >= mostPublishers {
		delete(p.published, slices.Min(slices.Collect(maps.Keys(p.published))))
	}
	p.published[publisher] = number
}

// commit tells what is pending.
func (p *partition) commit(ctx context.Context) error {
	if len(p.pending) == 0 {
		return nil
	}
	if err := p.teller.tell(ctx, p.pending, p.seq); err != nil {
		return err
	}
	p.worker.told.Add(uint64(len(p.pending)))
	p.pending = p.pending[:0]
	return nil
}

// checkpoint keeps the state as it is after the last message.
func (p *partition) checkpoint(ctx context.Context) error {
	config := &p.worker.config
	p.next = time.Now().Add(config.Checkpoint)
	if err := p.commit(ctx); err != nil {
		return err
	}
	if p.seq == p.state.point.Seq {
		return nil
	}
	began := time.Now()
	if p.adapter != nil {
		if err := p.adapter.Save(ctx); err != nil {
			p.worker.report("checkpoints", "more is replayed after a crash", err)
			return nil
		}
	}
	fed := make(map[string][]intake.Fed)
	for origin, f := range p.feeds {
		if list := f.Fed(); len(list) > 0 {
			fed[origin] = list
		}
	}
	next := point{Seq: p.seq, Publishers: maps.Clone(p.published)}
	next.Now, next.Resumed = p.in.Time()
	limited, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	n, err := p.state.write(limited, next, fed)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.worker.checkpointed.Add(uint64(n))
	// What checkpoints take of the network is bounded: more to write is written less often.
	if bound := config.CheckpointRate / float64(p.worker.bus.Config.Partitions); bound > 0 {
		p.next = began.Add(max(config.Checkpoint, time.Duration(float64(n)/bound*float64(time.Second))))
	}
	if err != nil {
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
			return fmt.Errorf("%w: %w", errFenced, err)
		}
		p.worker.report("checkpoints", "more is replayed after a crash", err)
		return nil
	}
	p.worker.report("checkpoints", "", nil)
	err = p.worker.bus.readings.Purge(limited, jetstream.WithPurgeSubject(subjectOf(readingsSubject, p.number)), jetstream.WithPurgeSequence(p.seq+1))
	if err != nil && ctx.Err() == nil {
		p.worker.report("readings on the bus", "what is judged stays a while", err)
	}
	return nil
}

// handOver keeps everything for the next owner.
func (p *partition) handOver(ctx context.Context) error {
	if err := p.commit(ctx); err != nil {
		return err
	}
	return p.checkpoint(ctx)
}
