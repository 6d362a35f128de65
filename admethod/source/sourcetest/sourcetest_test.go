// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sourcetest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is an origin that keeps all that was sent, and how far it was acknowledged.
type journal struct {
	mu     sync.Mutex
	values []int
	acked  int
	more   chan struct{}
}

func (j *journal) send(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.values = append(j.values, n)
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// next are up to seven values that are not acknowledged.
func (j *journal) next() ([]int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.acked == len(j.values) {
		if j.more == nil {
			j.more = make(chan struct{})
		}
		return nil, j.more
	}
	return j.values[j.acked:min(len(j.values), j.acked+7)], nil
}

func (j *journal) ack(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acked += n
}

// reader is a source of a journal.
type reader struct{ of *journal }

func (r reader) Run(ctx context.Context, in source.Intake) error {
	for {
		values, more := r.of.next()
		if values == nil {
			select {
			case <-more:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		readings := make([]source.Reading, len(values))
		for i, v := range values {
			readings[i] = source.Reading{
				Key: driver.Key{Namespace: "plant", Device: "press", Property: string(rune('a' + v%3))},
				At:  time.Unix(int64(v), 0), Value: float64(v),
			}
		}
		if _, err := source.Refused(in.Take(ctx, readings)); err != nil {
			return err
		}
		r.of.ack(len(values))
	}
}

func TestASourceThatKeepsItsPromises(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
		var j journal
		return &sourcetest.Origin{
			New:    func(*testing.T) source.Source { return reader{&j} },
			Send:   func(_ *testing.T, n int) { j.send(n) },
			Series: 3, Replays: true,
		}
	})
}

func TestIntakeRefusesWhatHasNoName(t *testing.T) {
	var in sourcetest.Intake
	low, high := 3., 1.
	good := source.Reading{Key: driver.Key{Namespace: "n", Device: "d", Property: "p"}, At: time.Unix(1, 0)}
	nameless, timeless, impossible := good, good, good
	nameless.Key.Device, timeless.At = "", time.Time{}
	impossible.Property = &source.Property{Minimum: &low, Maximum: &high}
	refused, err := source.Refused(in.Take(t.Context(), []source.Reading{nameless, good, timeless, impossible}))
	if err != nil || len(refused) != 3 || refused[0].Index != 0 || refused[1].Index != 2 || refused[2].Index != 3 {
		t.Errorf("refused %v, %v", refused, err)
	}
	if taken := in.Readings(); len(taken) != 1 || taken[0] != good {
		t.Errorf("taken: %v", taken)
	}
}
