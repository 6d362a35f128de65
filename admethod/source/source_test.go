// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// beat is a source that brings a number in each period.
type beat struct {
	Every time.Duration `param:"every" min:"1ms" doc:"time between two readings"`
	Of    struct {
		Device string `param:"device" doc:"name of the device"`
	} `param:"of"`
}

func (b *beat) Run(ctx context.Context, in source.Intake) error {
	key := driver.Key{Namespace: "default", Device: b.Of.Device, Property: "beat"}
	ticker := time.NewTicker(b.Every)
	defer ticker.Stop()
	for n := 0.; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case now := <-ticker.C:
			refused, err := source.Refused(in.Take(ctx, []source.Reading{{Key: key, At: now, Value: n}}))
			if err != nil {
				return err
			}
			for _, r := range refused {
				fmt.Println(r.Err)
			}
		}
	}
}

// three ends a source when it has taken three readings.
type three struct {
	end  context.CancelFunc
	left int
}

func (in *three) Take(ctx context.Context, readings []source.Reading) error {
	if ctx.Err() != nil { // as an intake has it; the source's ticker may be as early as the end of its context
		return context.Cause(ctx)
	}
	for _, r := range readings {
		fmt.Println(r.Key, r.Value)
		if in.left--; in.left == 0 {
			in.end()
		}
	}
	return nil
}

func ExampleRegister() {
	var sources source.Registry // source.Sources in a package that registers itself
	defaults := func() beat { return beat{Every: time.Second} }
	sources.Register("beat", source.Factory{
		Name: "beat", Summary: "brings a number in each period",
		New: func(s source.Settings) (source.Source, error) {
			b := defaults()
			return &b, source.Decode(&b, s.Options)
		},
		Params: func() []params.Param { return params.Describe(defaults()) },
	})
	f, err := sources.Lookup("source", "beat")
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := f.New(source.Settings{Name: "heart", Options: map[string]any{
		"every": "1ms", "of": map[string]any{"device": "pump"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, end := context.WithCancel(context.Background())
	fmt.Println(s.Run(ctx, &three{end, 3}))
	// Output:
	// default/pump/beat 0
	// default/pump/beat 1
	// default/pump/beat 2
	// context canceled
}

func TestRefused(t *testing.T) {
	cause := errors.New("no name")
	for _, c := range []struct {
		err     error
		refused int
		left    error
	}{
		{nil, 0, nil},
		{context.Canceled, 0, context.Canceled},
		{&source.RefusedError{Refused: []source.Refusal{{Index: 2, Err: cause}}}, 1, nil},
		{fmt.Errorf("intake: %w", &source.RefusedError{Refused: []source.Refusal{{Index: 2, Err: cause}, {Index: 3, Err: cause}}}), 2, nil},
	} {
		refused, err := source.Refused(c.err)
		if len(refused) != c.refused || !errors.Is(err, c.left) {
			t.Errorf("%v: %v, %v: want %d refused, and %v", c.err, refused, err, c.refused, c.left)
		}
		if c.refused > 0 && (!errors.Is(c.err, cause) || !strings.Contains(c.err.Error(), "no name")) {
			t.Errorf("%v: want the cause in it", c.err)
		}
	}
}

func TestCheck(t *testing.T) {
	low, high := 1., 3.
	good := source.Property{Model: "pump", DataType: "float", Unit: "bar", Minimum: &low, Maximum: &high, Labels: map[string]string{"hall": "3"}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*source.Property){
		"minimum 3, maximum 1":             func(p *source.Property) { p.Minimum, p.Maximum = &high, &low },
		"cycle: got -1s, want at least 0":  func(p *source.Property) { p.Cycle = -time.Second },
		`label "hall": 604 bytes`:          func(p *source.Property) { p.Labels = map[string]string{"hall": strings.Repeat("x", 600)} },
		"unit of 300 bytes: want at most ": func(p *source.Property) { p.Unit = strings.Repeat("x", 300) },
		"65 labels: want at most 64": func(p *source.Property) {
			p.Labels = make(map[string]string)
			for i := range 65 {
				p.Labels[fmt.Sprint(i)] = ""
			}
		},
	} {
		p := good
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}
