// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command record writes a recording of a running room simulator to standard
// output: CSV with the state that each light reports, ON or OFF, and the
// brightness, for all states of the lights. A model of the room can be trained
// on it:
//
//	go run ./examples/room-simulator &
//	go run ./examples/room-simulator/record > room.csv
//	go run ./cmd/adctl train --detector bayesnet --input room.csv --output room.model
//
// The columns have the names of the properties in the manifests of the mapper,
// and the states those that the mapper reports, so that the model finds both
// there.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

// lights are what is switched, and the columns that tell of it.
var lights = [...]struct{ path, column string }{{"/lights/light1", "light-1/powerstatus"}, {"/lights/light2", "light-2/powerstatus"}}

const (
	sensorPath, sensorColumn = "/brightness", "brightness-sensor-1/brightness"
	// change is how likely a light is switched from one row to the next.
	change = 0.2
	cycle  = time.Second
	// maxAnswer is more than the simulator says.
	maxAnswer = 64
)

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("record", flag.ContinueOnError)
	url := flags.String("url", "http://127.0.0.1:8000", "`address` of the simulator")
	rows := flags.Int("rows", 1000, "how many rows to write, a second apart by their times")
	seed := flags.Uint64("seed", 1, "seed of the switching")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *rows < 1 {
		return errors.New("want at least 1 row, and no arguments")
	}
	c := simulator{url: strings.TrimSuffix(*url, "/"), client: &http.Client{Timeout: 10 * time.Second}}
	w := bufio.NewWriter(out)
	fmt.Fprint(w, "time")
	for _, l := range lights {
		fmt.Fprint(w, ",", l.column)
	}
	fmt.Fprintln(w, ","+sensorColumn)

	rng := rand.New(rand.NewPCG(*seed, 0))
	at := time.Now().UTC().Truncate(time.Second)
	var on [len(lights)]int
	for range *rows {
		fields := []string{at.Format(time.RFC3339)}
		for i, l := range lights {
			if rng.Float64() < change {
				on[i] = 1 - on[i]
			}
			if _, err := c.ask(ctx, http.MethodPut, l.path, fmt.Sprint(on[i])); err != nil {
				return err
			}
		}
		for _, l := range lights {
			state, err := c.ask(ctx, http.MethodGet, l.path, "")
			if err != nil {
				return err
			}
			if state == "1" {
				fields = append(fields, "ON")
			} else {
				fields = append(fields, "OFF")
			}
		}
		brightness, err := c.ask(ctx, http.MethodGet, sensorPath, "")
		if err != nil {
			return err
		}
		fmt.Fprintln(w, strings.Join(append(fields, brightness), ","))
		at = at.Add(cycle)
	}
	return w.Flush()
}

type simulator struct {
	url    string
	client *http.Client
}

// ask sends a request and returns the answer.
func (c *simulator) ask(ctx context.Context, method, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s: %s: %s", method, path, res.Status, strings.TrimSpace(string(text)))
	}
	return string(text), nil
}
