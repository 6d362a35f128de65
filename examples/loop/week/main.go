// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command week records a week of the simulated room in a few seconds: the room and the detection of a mapper run on a
// clock of their own, in which a minute takes no time, and the sink "recorder" writes what the mapper would have recorded.
// Equal seeds give equal weeks. On Saturday from nine to eleven the lamp of light-1 is broken: it reports that it is on,
// but stays dark.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess" // judges
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin" // detectors
	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "week:", err)
		os.Exit(1)
	}
}

// The week, in which each property is read once a minute.
var (
	monday = time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)
	sunday = monday.AddDate(0, 0, 7)

	breaks  = time.Date(2026, time.March, 7, 9, 0, 0, 0, time.UTC)
	repairs = breaks.Add(2 * time.Hour)
)

// properties are those of the manifests of restful-light-mapper, with their settings.
var properties = [...]struct {
	device, property, path, dataType string
	settings                         map[string]any
}{
	{"light-1", "powerstatus", "/lights/light1", "string", group},
	{"light-2", "powerstatus", "/lights/light2", "string", group},
	{"brightness-sensor-1", "brightness", "/brightness", "int", group},
	{"temperature-sensor-1", "temperature", "/temperature", "double", map[string]any{"detector": "auto"}},
}

// group has no model yet, so nothing of it is judged.
var group = map[string]any{"group": "room", "detector": "bayesnet", "model": "room.model"}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("week", flag.ContinueOnError)
	dir := flags.String("data", "week", "`directory` to record to")
	seed := flags.Uint64("seed", 1, "seed of the noise and of those who switch the lights")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: want none", flags.Arg(0))
	}
	w := &week{now: monday, random: rand.New(rand.NewPCG(*seed, 1))}
	var err error
	if w.room, err = room.New(room.Config{Seed: *seed, Now: func() time.Time { return w.now }}); err != nil {
		return err
	}
	// A week of the past is too old to be kept by the default settings.
	w.recorder = recorder.New(recorder.Config{Dir: *dir})
	err = w.record(ctx)
	if err == nil {
		st := w.recorder.Stats()
		fmt.Fprintf(out, "%d readings of %d properties, %s to %s, %d lost\n", st.Written, len(properties),
			monday.Format(time.DateOnly), sunday.AddDate(0, 0, -1).Format(time.DateOnly), st.Lost)
	}
	return err
}

type week struct {
	now      time.Time
	room     *room.Room
	random   *rand.Rand
	recorder *recorder.Recorder
	handler  *pipeline.Handler
	bindings []*pipeline.Binding
}

func (w *week) record(ctx context.Context) (err error) {
	sinks := new(admethod.SinkRegistry)
	factory := recorder.Factory()
	factory.New = func(admethod.SinkSettings) (admethod.Sink, error) { return w.recorder, nil }
	sinks.Register(recorder.Name, factory)
	if w.handler, err = pipeline.NewHandler(pipeline.Options{Sinks: sinks, DefaultSinks: []string{recorder.Name}, ModelDir: ".", Replay: true}); err != nil {
		return err
	}
	if err := w.handler.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.handler.Shutdown(context.WithoutCancel(ctx))) }()
	for _, p := range properties {
		config, err := admethod.ParseSettings(p.settings)
		if err != nil {
			return err
		}
		key, meta := driver.Key{Namespace: "default", Device: p.device, Property: p.property}, admethod.Meta{DataType: p.dataType, Cycle: time.Minute}
		b, err := w.handler.Bind(key, config, meta) //nolint:contextcheck // Bind takes no context
		if err != nil {
			return err
		}
		w.bindings = append(w.bindings, b)
	}
	for n := uint64(0); w.now.Before(sunday); w.now = w.now.Add(time.Minute) {
		if err := w.minute(); err != nil {
			return err
		}
		if n += uint64(len(properties)); n%8000 == 0 { // no more than the recorder's queue holds
			if err := w.catchUp(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// minute lets people do what they do in a minute, and reads each property.
func (w *week) minute() error {
	for i, light := range [...]string{"light1", "light2"} {
		// By day a light is switched every quarter of an hour or so, at night rarely.
		often := 1.0 / 90
		if h := w.now.Hour(); h >= 7 && h < 22 {
			often = 1.0 / 15
		}
		if w.random.Float64() >= often {
			continue
		}
		state, err := w.ask(http.MethodGet, "/lights/"+light, "")
		if err != nil {
			return err
		}
		if _, err := w.ask(http.MethodPut, properties[i].path, map[string]string{"0": "1", "1": "0"}[state]); err != nil {
			return err
		}
	}
	fault := "0"
	if !w.now.Before(breaks) && w.now.Before(repairs) {
		fault = "1"
	}
	if _, err := w.ask(http.MethodPost, "/lights/light1/fault", fault); err != nil {
		return err
	}
	for i, p := range properties {
		text, err := w.ask(http.MethodGet, p.path, "")
		if err != nil {
			return err
		}
		if p.dataType == "string" {
			text = map[string]string{"0": "OFF", "1": "ON"}[text]
		}
		w.bindings[i].ObserveAny(w.now, text)
	}
	return nil
}

// ask sends a request to the room and returns the answer.
func (w *week) ask(method, path, body string) (string, error) {
	answer := httptest.NewRecorder()
	w.room.ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
	if answer.Code != http.StatusOK {
		return "", fmt.Errorf("%s %s: status %d: %s", method, path, answer.Code, answer.Body)
	}
	return answer.Body.String(), nil
}

// catchUp waits until so many readings are written.
func (w *week) catchUp(ctx context.Context, n uint64) error {
	if err := w.handler.Flush(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for st := w.recorder.Stats(); st.Written+st.Lost < n; st = w.recorder.Stats() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
