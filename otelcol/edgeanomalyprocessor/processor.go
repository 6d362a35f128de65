// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgeanomalyprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/otlp"
	"github.com/kubeedge/edge-anomaly/driver"
)

// judge is the processor.
type judge struct {
	config *Config
	next   consumer.Metrics
	log    *zap.Logger

	end    context.CancelFunc // of the intake; nil before Start
	ended  chan error
	reader *otlp.Reader
	told   map[string]time.Time // of what was refused, by text

	mu sync.Mutex // around what is read and handed over, so that the points of a series come in their order
	in source.Intake
}

func newProcessor(s processor.Settings, c *Config, next consumer.Metrics) (*judge, error) {
	reader, err := c.reader()
	if err != nil {
		return nil, err
	}
	return &judge{config: c, next: next, log: s.Logger, reader: reader, told: make(map[string]time.Time)}, nil
}

// Capabilities says that metrics are changed.
func (*judge) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

// Start opens the intake.
func (j *judge) Start(ctx context.Context, _ component.Host) error {
	c, err := j.config.intake(admethod.Hooks{})
	if err != nil {
		return err
	}
	in, err := intake.New(c)
	if err != nil {
		return err
	}
	client := in.Client(Type.String(), []string{"*"}, intake.Limits{Streams: 1, Series: j.config.Series, Rate: -1, Memory: j.config.Memory})
	ready := make(chan source.Intake, 1)
	ctx, j.end = context.WithCancel(context.WithoutCancel(ctx)) // that of Start is for the start alone
	j.ended = make(chan error, 1)
	part := in.Source(client, feeds(ready))
	go func() { j.ended <- in.Run(ctx, part) }()
	select {
	case j.in = <-ready:
		return nil
	case err := <-j.ended:
		j.end()
		j.end = nil
		return errors.Join(errors.New("the intake has ended"), err)
	}
}

// feeds is a source that lends out its intake.
type feeds chan source.Intake

// Run waits until ctx ends.
func (f feeds) Run(ctx context.Context, in source.Intake) error {
	f <- in
	<-ctx.Done()
	return context.Cause(ctx)
}

// Shutdown keeps what was learned.
func (j *judge) Shutdown(ctx context.Context) error {
	if j.end == nil {
		return nil
	}
	j.end()
	j.end = nil
	select {
	case err := <-j.ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ConsumeMetrics judges metrics and hands them on.
func (j *judge) ConsumeMetrics(ctx context.Context, m pmetric.Metrics) error {
	b, err := j.hand(ctx, m)
	if err != nil {
		return err
	}
	if err := b.wait(ctx); err != nil {
		return err
	}
	b.write(j.config.Output)
	return j.next.ConsumeMetrics(ctx, m)
}

// hand hands the points over to their detectors.
func (j *judge) hand(ctx context.Context, m pmetric.Metrics) (*batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := &batch{done: make(chan struct{})}
	var readings []source.Reading
	skipped := j.reader.Read(m, time.Now(), func(r source.Reading, at otlp.Origin) {
		if at.Scope.Scope().Name() == Scope {
			return // verdicts of another one of this kind
		}
		r.Answer, r.Token = b, uint64(len(readings))
		readings = append(readings, r)
		b.verdicts = append(b.verdicts, verdict{of: at, at: r.At})
	})
	b.left.Store(int64(len(readings)) + 1) // one for the hand that gives
	refused, err := source.Refused(j.in.Take(ctx, readings))
	if err != nil {
		return nil, fmt.Errorf("what was taken of the points is judged, and they may be sent again: %w", err)
	}
	for i := range refused {
		j.tell(refused[i].Err)
	}
	if err := skipped.Err(); err != nil {
		j.tell(err)
	}
	b.leave(int64(len(refused)) + 1)
	return b, nil
}

const (
	tellAgain = time.Minute
	mostTold  = 1000
)

// tell logs why points pass without a verdict, once a minute for each cause. The caller holds the lock.
func (j *judge) tell(why error) {
	now, text := time.Now(), why.Error()
	if now.Sub(j.told[text]) < tellAgain {
		return
	}
	if len(j.told) >= mostTold {
		clear(j.told)
	}
	j.told[text] = now
	j.log.Warn("Points pass without a verdict", zap.Error(why))
}

// verdict is that on a point, where there is one.
type verdict struct {
	of   otlp.Origin
	at   time.Time
	have bool

	Severity                      driver.Severity
	Score, Expected, Lower, Upper float64
	Kind                          driver.Kind
}
