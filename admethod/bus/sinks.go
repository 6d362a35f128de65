// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	sinksConsumer = "sinks"
	mostAtOnce    = 256              // verdicts that sinks are given at once
	pinnedFor     = 10 * time.Second // to a reader that is not heard of
)

// Tell passes each verdict on the bus on to tell, in order, until ctx ends. All processes that call it under the same name
// share the work, so that each verdict is told by one of them, one process at a time; where it stops, the next one goes on.
// What tell did not take is told again: after a crash sinks hear the last few verdicts twice.
func (b *Bus) Tell(ctx context.Context, name string, tell func(context.Context, []driver.Result) error) error {
	const group = "one"
	var consumer jetstream.Consumer
	err := patiently(ctx, func(ctx context.Context) (err error) {
		consumer, err = b.js.CreateOrUpdateConsumer(ctx, VerdictsStream, jetstream.ConsumerConfig{
			Durable: sinksConsumer + "-" + name, FilterSubject: verdictsSubject + ">", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute,
			MaxAckPending: mostAtOnce, PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{group}, PinnedTTL: pinnedFor,
		})
		return err
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		err := b.passOn(ctx, consumer, group, tell)
		if ctx.Err() == nil {
			b.Config.Report("verdicts from the bus", "they wait on the bus, as long as it keeps them", err)
			_ = wait.Sleep(ctx, time.Second) // ends with ctx, as the loop does
		}
	}
	return context.Cause(ctx)
}

func (b *Bus) passOn(ctx context.Context, consumer jetstream.Consumer, group string, tell func(context.Context, []driver.Result) error) error {
	messages, err := consumer.Messages(jetstream.PullMaxMessages(mostAtOnce), jetstream.PullPriorityGroup(group), jetstream.PullExpiry(5*time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	var batch []driver.Result
	var got []jetstream.Msg
	for {
		wanted, cancel := ctx, context.CancelFunc(func() {})
		if len(batch) > 0 { // what is there is enough
			wanted, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
		}
		m, err := messages.Next(jetstream.NextContext(wanted))
		late := wanted.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			var v verdict.Verdict
			err := json.Unmarshal(m.Data(), &v)
			if err == nil {
				var r driver.Result
				if r, err = v.Result(); err == nil {
					batch = append(batch, r)
				}
			}
			if err != nil {
				b.Config.Report("a verdict on the bus", "it is passed over", fmt.Errorf("%s: %w", m.Subject(), err))
			}
			if got = append(got, m); len(got) < mostAtOnce {
				continue
			}
		case !late || len(batch) == 0:
			return err
		}
		if err := tell(ctx, batch); err != nil {
			return err
		}
		var errs []error
		for _, m := range got {
			errs = append(errs, m.Ack())
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		b.Config.Report("verdicts from the bus", "", nil)
		batch, got = batch[:0], got[:0]
	}
}

// TellAll passes each verdict that is told on the bus from a time on to tell, in order, until ctx ends, whoever else does
// so too.
func (b *Bus) TellAll(ctx context.Context, since time.Time, tell func(context.Context, []driver.Result) error) error {
	for {
		err := b.Read(ctx, Reading{Since: since, Follow: true}, func(told time.Time, data []byte) error {
			since = told.Add(1)
			var v verdict.Verdict
			if err := json.Unmarshal(data, &v); err != nil {
				b.Config.Report("a verdict on the bus", "it is passed over", err)
				return nil
			}
			r, err := v.Result()
			if err != nil {
				b.Config.Report("a verdict on the bus", "it is passed over", err)
				return nil
			}
			return tell(ctx, []driver.Result{r})
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.Config.Report("verdicts from the bus", "they wait on the bus, as long as it keeps them", err)
		if wait.Sleep(ctx, time.Second) != nil {
			return context.Cause(ctx)
		}
	}
}
