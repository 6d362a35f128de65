// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// feedInFlight is how many readings of a source are taken and not judged.
const feedInFlight = 4096

// Feed takes the readings of one source. It is a [source.Intake].
type Feed struct {
	session *Session
	asking  chan struct{} // is full while one asks
}

// Feed begins to take readings of a client, which is a source. Close ends it.
func (in *Intake) Feed(c *Client) (*Feed, error) {
	s, err := in.open(c, feedInFlight, true)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admethod.ErrClosed, plain(err))
	}
	return &Feed{session: s, asking: make(chan struct{}, 1)}, nil
}

// Source is a part of [Intake.Run] that runs a source. Its error is nil where it ended with its context.
func (in *Intake) Source(c *Client, s source.Source) func(context.Context) error {
	return func(ctx context.Context) error {
		f, err := in.Feed(c)
		if err == nil {
			err = s.Run(ctx, f)
			f.Close(context.WithoutCancel(ctx))
		}
		if ended := ctx.Err(); ended != nil && (errors.Is(err, ended) || errors.Is(err, context.Cause(ctx)) || errors.Is(err, admethod.ErrClosed)) {
			err = nil
		}
		if err == nil {
			return nil
		}
		return fmt.Errorf("source %q: %w", c.Name, err)
	}
}

// Close waits until what was taken is judged, or [Config.Deadline] has passed for it.
func (f *Feed) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*f.session.intake.Config.Deadline)
	defer cancel()
	f.session.Finish(ErrAllAsked)
	_, _ = f.session.Answers(ctx) // is told when there are none left
	f.session.Close()
}

// Take is as [source.Intake] has it. Readings of several calls at the same time are taken one after the other.
func (f *Feed) Take(ctx context.Context, readings []source.Reading) error {
	select {
	case f.asking <- struct{}{}:
		defer func() { <-f.asking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var refused []source.Refusal
	for i := range readings {
		err := f.session.offer(ctx, &readings[i])
		if err == nil {
			continue
		}
		var end *endError
		if errors.As(err, &end) {
			return end.err
		}
		refused = append(refused, source.Refusal{Index: i, Err: err})
	}
	if refused == nil {
		return nil
	}
	return &source.RefusedError{Refused: refused}
}

// endError is why nothing is taken any more.
type endError struct{ err error }

func (e *endError) Error() string { return e.err.Error() }

// ended is the error for a session that ends, or whose context did.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &endError{context.Cause(ctx)}
	}
	return &endError{fmt.Errorf("%w: %w", admethod.ErrClosed, plain(err))}
}

// plain is an error without the code that gRPC has for it.
func plain(err error) error {
	if st, ok := status.FromError(err); ok && err != nil {
		return errors.New(st.Message())
	}
	return err
}

// offer hands a reading to its series. An error is why it is refused, or an endError.
func (s *Session) offer(ctx context.Context, r *source.Reading) error {
	if s.allowance--; s.allowance < 0 {
		if err := s.pace(ctx); err != nil {
			return ended(ctx, err)
		}
	}
	of, err := s.fedBy(r)
	if err != nil {
		return plain(err)
	}
	switch {
	case r.Gone:
		s.gone(of)
		return nil
	case r.Finding != nil:
		return plain(s.found(of, r)) //nolint:contextcheck // a series outlives what opens it
	}
	a, err := s.admit(ctx, false)
	if err != nil {
		return ended(ctx, err)
	}
	a.state.Store(asking)
	a.waiter, a.token = r.Answer, r.Token
	sample := driver.Sample{Key: of.key, At: r.At, Value: r.Value}
	how := observed
	if r.Past {
		how = past
	}
	if err = s.judge(of, a, nil, nil, &sample, brief(r.Text, longestText), how); err == nil { //nolint:contextcheck // a series outlives what opens it
		return nil
	}
	a.waiter = nil // who is refused gets no answer
	a.fail("")
	if code := status.Code(err); code == codes.Unavailable {
		return ended(ctx, err)
	}
	return plain(err)
}

// fedBy returns where the reading of a source goes.
func (s *Session) fedBy(r *source.Reading) (*member, error) {
	if s.of != nil && s.key == r.Key && s.of.about == r.Property {
		return s.of, nil
	}
	of := s.members[r.Key]
	if of == nil || of.about != r.Property {
		if err := errors.Join(r.Check(), s.client.Permit(r.Key.Namespace)); err != nil {
			return nil, err
		}
		if err := r.Property.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Key, err)
		}
		if err := s.note(&declared{fed: true, about: r.Property}, []driver.Key{r.Key}); err != nil {
			return nil, err
		}
		of = s.members[r.Key]
	} else if r.At.IsZero() && !r.Gone {
		return nil, r.Check()
	}
	s.key, s.of = r.Key, of
	return of, nil
}

// found tells the series of a property what its source found of it.
func (s *Session) found(of *member, r *source.Reading) error {
	now := s.intake.clock.Load()
	for range 3 {
		if err := s.reach(of, now); err != nil {
			return err
		}
		if of.series.found(of.index, now, r.At, r.Finding) {
			break
		}
		of.series = nil
	}
	if r.Answer != nil {
		r.Answer.Answer(r.Token, nil)
	}
	return nil
}

// gone closes the series of a property that is gone. The other members of its group begin a new one.
func (s *Session) gone(of *member) {
	in, c := s.intake, s.client
	delete(s.members, of.key)
	s.of = nil
	c.opening.Lock()
	defer c.opening.Unlock()
	in.leave(c, of.key, "")
	in.mu.Lock()
	n := in.series[of.key.String()]
	if n == nil || n.owner != c {
		in.mu.Unlock()
		in.handler.Forget(of.key) // it may have been rejected
		return
	}
	in.forget(n)
	in.mu.Unlock()
	n.close()
}

// fed is the series of a property that a source brings: settings are those of the operator, over which go those that the
// author of its device has.
func fed(settings map[string]any, key driver.Key, about *source.Property) (p plan, err error) {
	if about == nil {
		about = &unknown
	}
	device := maps.Clone(about.Detection)
	delete(device, "adMethodName") // it is judged here, wherever the mapper would have it
	settings["adMethodName"] = inprocess.Name
	if p.config, err = (admethod.Layers{Operator: settings, Device: device}).Parse(); err != nil {
		return p, fmt.Errorf("%s: %w", key, err)
	}
	m := driver.Member{
		Key: key, DataType: strings.ToLower(about.DataType), Unit: about.Unit, Cycle: p.config.Quality.Cycle,
		Minimum: math.NaN(), Maximum: math.NaN(), Categories: p.config.Categories,
	}
	if about.Minimum != nil {
		m.Minimum = *about.Minimum
	}
	if about.Maximum != nil {
		m.Maximum = *about.Maximum
	}
	if m.Cycle == 0 {
		m.Cycle = about.Cycle
		p.config.Quality.Cycle = about.Cycle
	}
	p.members, p.fed, p.lasting = []driver.Member{m}, true, about.Lasting
	p.id = key.String()
	if p.config.Group != "" {
		p.open = true
		p.group = key.Namespace + "/group/" + p.config.Group
		p.id = "group:" + p.group
	}
	p.finish()
	return p, nil
}

// full says that there is no room for a property that is not scored yet.
func (in *Intake) full(c *Client, key driver.Key) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if c.series < c.Limits.Series && in.weight < in.Config.MaxSeries || in.series[key.String()] != nil || in.groups[key] != nil {
		return nil
	}
	return in.room(c, key.String(), 1)
}

// room says that there is none for so many properties more. The caller holds the lock.
func (in *Intake) room(c *Client, id string, more int) error {
	switch {
	case c.series+more > c.Limits.Series:
		return fmt.Errorf("%s: %q has %d properties scored already, which is all that it may: limits.series", id, c.Name, c.series)
	case in.weight+more > in.Config.MaxSeries:
		return fmt.Errorf("%s: the server scores %d properties already, which is all that it may: limits.series", id, in.weight)
	}
	return nil
}

// leave closes the group that a property was in, if that is another series than id now. Its other members begin a new one.
// The caller holds the client's lock for opening.
func (in *Intake) leave(c *Client, key driver.Key, id string) {
	in.mu.Lock()
	n := in.groups[key]
	if n == nil || n.id == id || n.owner != c {
		in.mu.Unlock()
		return
	}
	in.forget(n)
	in.mu.Unlock()
	n.close()
}
