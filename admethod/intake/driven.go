// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// Group is the group that a property of a client is scored in, by what the operator and the author of its device say; ""
// where it is scored alone, or its settings are wrong.
func (c *Config) Group(client string, key driver.Key, about *source.Property) string {
	in := Intake{Config: *c}
	p, err := fed(in.settings(client, key, about), key, about)
	if err != nil {
		return ""
	}
	return p.config.Group
}

// Flush waits until all that was taken is judged.
func (in *Intake) Flush(ctx context.Context) error { return in.handler.Flush(ctx) }

// Advance tells a driven intake what time it is: silence is told, and series that nobody sends for are closed. It waits for
// what was taken to be judged, and nothing may be taken meanwhile. A time before the last one does nothing.
func (in *Intake) Advance(ctx context.Context, now time.Time) error {
	last, ns := in.clock.Load(), now.UnixNano()
	if in.told && ns <= last {
		return nil
	}
	in.clock.Store(ns)
	if every := int64(in.Config.Idle / 4); in.told && every > 0 && ns/every != last/every {
		if err := in.Flush(ctx); err != nil {
			return err
		}
		in.expire(ns - int64(in.Config.Idle))
	}
	in.told = true
	return in.handler.Advance(ctx, now)
}

// Time and SetTime are those of the [pipeline.Handler].
func (in *Intake) Time() (now, resumed int64) { return in.handler.Time() }

// SetTime is called before anything is taken.
func (in *Intake) SetTime(now, resumed int64) {
	if now != 0 {
		in.told = true
		in.clock.Store(now)
		in.handler.SetTime(now, resumed)
	}
}

// Fed is a property that a source brings readings of, as its feed knows it.
type Fed struct {
	Key      driver.Key
	Property *source.Property
	Used     int64  // when the last reading came, Unix ns
	Failed   string // why it is not scored; "" where it is
	Retry    int64  // when it is tried again, Unix ns
}

// Fed are the properties that the feed brings, in order of their keys. It must not be called while readings are taken.
func (f *Feed) Fed() []Fed {
	var all []Fed
	for key, of := range f.session.members {
		one := Fed{Key: key, Property: of.about}
		switch {
		case of.series != nil && !of.series.over():
			one.Used = of.series.used.Load()
		case of.err != nil:
			one.Failed, one.Retry = of.err.Error(), of.retry
		default:
			continue
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(x, y Fed) int { return cmp.Compare(x.Key.String(), y.Key.String()) })
	return all
}

// Restore opens what another feed knew, with what was learned of it.
func (f *Feed) Restore(all []Fed) error {
	var errs []error
	for i := range all {
		of, err := f.session.fedBy(&source.Reading{Key: all[i].Key, Property: all[i].Property, At: time.Unix(0, 1)})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if all[i].Failed != "" {
			of.err, of.retry = errors.New(all[i].Failed), all[i].Retry
			continue
		}
		if err := f.session.reach(of, all[i].Used); err != nil {
			errs = append(errs, plain(err))
		}
	}
	for i := range all { // the members of a group are opened one after the other, each anew
		if of := f.session.members[all[i].Key]; of != nil && all[i].Failed == "" {
			if err := f.session.reach(of, all[i].Used); err == nil && of.series.over() {
				of.series = nil
				errs = append(errs, plain(f.session.reach(of, all[i].Used)))
			}
			if of.series != nil {
				of.series.used.Store(max(all[i].Used, 1))
			}
		}
	}
	return errors.Join(errs...)
}

// MarshalBinary keeps the row that is being put together.
func (r *rows) MarshalBinary() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var w state.Writer
	w.Bool(r.late)
	w.Uint(uint64(len(r.row)))
	for i := range r.row {
		s := &r.row[i]
		w.Bool(!s.At.IsZero())
		if !s.At.IsZero() {
			w.Int(s.At.UnixNano())
		}
		w.Float(s.Value)
		w.Text(s.Text)
		w.Uint(uint64(s.Flags))
		w.Bool(r.fresh[i])
		w.Bool(r.judged[i])
	}
	return w.Bytes, nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (r *rows) UnmarshalBinary(data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := state.NewReader(data)
	late := in.Bool()
	if n := in.Uint(); in.Err() == nil && n != uint64(len(r.row)) {
		in.Fail("%d members, want %d", n, len(r.row))
	}
	for i := range r.row {
		s := &r.row[i]
		s.Key, s.At = r.keys[i], time.Time{}
		if in.Bool() {
			s.At = time.Unix(0, in.Int()).UTC()
		}
		s.Value, s.Text = in.Float(), in.Text("text", model.MaxPayload)
		s.Flags = driver.Flags(in.Uint())
		r.fresh[i], r.judged[i] = in.Bool(), in.Bool()
	}
	r.late = late
	return in.Close()
}

// tellFor is how long sinks may take for verdicts of others before these go on to wait in their queues.
const tellFor = 10 * time.Second

// Tell tells the sinks verdicts that others gave, and waits a while until they are written. A sink that fails is told as
// it is for verdicts of the intake's own, and tries again.
func (in *Intake) Tell(ctx context.Context, verdicts []driver.Result) error {
	for i := range verdicts {
		if err := in.handler.Tell(&verdicts[i]); err != nil { //nolint:contextcheck // a sink outlives what it is started for
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, tellFor)
	defer cancel()
	_ = in.Flush(limited) // what waits is bounded, and is written later
	return ctx.Err()
}
