// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// forgetful is a detector that can tell repeats among so many readings only, and keeps the answer to the first row back
// in its first sessions, which end when nothing comes for a moment.
type forgetful struct {
	t        *testing.T
	most     uint64
	sessions int
	waiting  map[uint64]uint64 // readings of the rows that are not answered, by their first sequence
	answers  chan uint64
}

func (f *forgetful) Close() error { return nil }

func (f *forgetful) Open(ctx context.Context) (Session, error) {
	f.sessions++
	f.answers = make(chan uint64, 1024)
	return &forgetfulSession{f, ctx}, nil
}

type forgetfulSession struct {
	*forgetful
	ctx context.Context
}

func (s *forgetfulSession) Send(batch []Request) error {
	for i := range batch {
		r := &batch[i]
		n := uint64(len(r.Row))
		s.waiting[r.Sequence] = n
		for first := range s.waiting {
			if span := r.Sequence + n - first; r.Sequence >= first && span > s.most {
				s.t.Errorf("reading %d is sent while %d is not answered: %d at once, want at most %d", r.Sequence+n-1, first, span, s.most)
			}
		}
		if len(s.waiting) > 1 || s.sessions > 3 {
			delete(s.waiting, r.Sequence)
			s.answers <- r.Sequence + n - 1
		}
	}
	return nil
}

func (s *forgetfulSession) Receive() (uint64, func(*Stream, *driver.Result), error) {
	select {
	case sequence := <-s.answers:
		return sequence, func(_ *Stream, r *driver.Result) { r.Judge(0.1, driver.KindNone) }, nil
	case <-time.After(time.Second):
		return 0, nil, errors.New("cut")
	case <-s.ctx.Done():
		return 0, nil, s.ctx.Err()
	}
}

// However answers come, and over sessions, no reading is sent that is too far ahead of the oldest that is not answered.
func TestNothingIsSentTooFarAhead(t *testing.T) {
	for _, members := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			f := &forgetful{t: t, most: 16, waiting: make(map[uint64]uint64)}
			kind := Kind[settings]{
				Name: "forgetful", Defaults: func() settings { return settings{DefaultConfig()} },
				Shared:    func(c *settings) *Config { return &c.Config },
				Transport: func(settings, Identity) (Transport, error) { return f, nil },
			}
			a, err := kind.Factory().New(admethod.AdapterSettings{
				Hooks: new(admethod.Hooks), StateDir: t.TempDir(),
				Options: map[string]any{
					"address": "here", "insecure": true, "delivery": "atLeastOnce", "maxInFlight": int(f.most), "staleAfter": "1h", "backoff": "500ms",
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			row := make(driver.Row, members)
			s := admethod.StreamSettings{Dropped: func(int) {}}
			answered := 0
			s.Deliver = func(*driver.Result, driver.Row) { answered++ }
			for i := range row {
				row[i] = driver.Sample{Key: driver.Key{Device: "d", Property: string(rune('a' + i))}, At: time.Now()}
				s.Members = append(s.Members, driver.Member{Key: row[i].Key})
			}
			if members > 1 {
				s.Group = "g"
			}
			stream, err := a.Open(s)
			if err != nil {
				t.Fatal(err)
			}
			const rows = 100
			for range rows {
				stream.TrySubmit(row)
			}
			if err := a.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if err := a.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if answered != rows || f.sessions < 4 {
				t.Errorf("%d of %d rows answered in %d sessions", answered, rows, f.sessions)
			}
		})
	}
}
