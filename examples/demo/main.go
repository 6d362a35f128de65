// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo shows a mapper that detects anomalies, without a cluster: a simulated EdgeCore, the room simulator and
// the RESTful mapper talk over their real protocols, faults are injected one after the other, and a table tells what
// was found. In between it shows what people see of a fault: the DeviceStatus, written to a simulated API server, the
// metrics page, an activity that ran once, and its lock. In a second round the lights and the brightness are judged by an
// external detector, while faults last at the pace of the field, a reading a second. It ends with 0 if every fault was
// detected, the right device was blamed, no alarm was raised without one, the verdicts at the pace of the field lasted as
// their faults did, and all of this was there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var errInterrupted = errors.New("interrupted")

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	live := flags.Bool("live", false, "leave everything running until Ctrl-C")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: want none", flags.Arg(0))
	}
	a := newAccount(out, time.Now())
	playing, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	defer context.AfterFunc(ctx, func() { fail(errInterrupted) })()
	s, err := newStage(playing, a, fail)
	if err != nil {
		return err
	}
	t := &story{stage: s}
	defer func() {
		clearErr := s.clear()
		if err = errors.Join(err, clearErr); err != nil && !errors.Is(err, errInterrupted) {
			s.showLogs()
		}
	}()
	if err := s.set(playing); err != nil {
		return err
	}
	told := t.tell(playing)
	if told == nil {
		told = t.breakAtPace(playing)
	}
	if told == nil {
		t.elsewhere, told = t.goElsewhere(playing)
	}
	if told == nil {
		told = t.lastAtPace(playing)
	}
	if told == nil {
		told = t.lookBack(playing)
	}
	verdict := t.conclude(told)
	if told != nil {
		return verdict
	}
	if !*live && !a.watched { // nobody sits there to look at it
		a.print("Where all of this is looked at: make demo-live leaves it running, and opens the page for operators.")
		return verdict
	}
	s.watch.disturb(watched...) // what happens from now on is the user's doing
	if *live {
		a.print(fmt.Sprintf(cheatSheet, s.room.url, s.out.api, s.out.metrics))
		openPage(playing, s.out.api)
	}
	a.print("The page for operators: " + s.paint(bold, s.out.api) + "  (Ctrl-C ends it, and the demo)")
	<-playing.Done()
	if cause := context.Cause(playing); !errors.Is(cause, errInterrupted) {
		return errors.Join(verdict, cause)
	}
	return verdict
}

// openPage shows the page to who has a desktop. Without one nothing is lost: its address is printed.
func openPage(ctx context.Context, url string) {
	for _, opener := range []string{"xdg-open", "open"} {
		if opener == "xdg-open" && os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			continue
		}
		if path, err := exec.LookPath(opener); err == nil {
			_ = exec.CommandContext(ctx, path, url).Run() // as far as there is a browser
			return
		}
	}
}

// conclude prints the table and says whether all went as it should.
func (s *story) conclude(told error) error {
	if len(s.outcomes) > 0 {
		s.print("\n" + table(s.outcomes) + "\n")
	}
	if len(s.elsewhere) > 0 {
		s.print("Judged by the external detector, over gRPC with mutual TLS:\n\n" + table(s.elsewhere) + "\n")
	}
	if len(s.atPace) > 0 {
		s.print("At the pace of the field, a reading a second:\n\n" + table(s.atPace) + "\n")
	}
	if all := s.watch.ended(); len(all) > 0 {
		s.print(incidentLines(all, s.since))
	}
	if told != nil {
		return told
	}
	alarms := s.watch.falseAlarms()
	outcomes := slices.Concat(s.outcomes, s.elsewhere, s.atPace)
	failed := failures(outcomes, alarms, s.since)
	if len(failed) == 0 {
		s.print(s.paint(green, fmt.Sprintf("All %d faults were detected and the right devices blamed, without a false alarm, in %.0f s.",
			len(outcomes), s.since(time.Now()).Seconds())))
		return nil
	}
	for _, f := range failed {
		s.print(s.paint(red, f))
	}
	return fmt.Errorf("%d of %d faults detected, %d located, %d false alarms",
		count(outcomes, func(o *outcome) bool { return o.alarm != nil }), len(outcomes),
		count(outcomes, func(o *outcome) bool { return o.alarm != nil && o.located() }), len(alarms))
}

func count(outcomes []outcome, which func(*outcome) bool) (n int) {
	for i := range outcomes {
		if which(&outcomes[i]) {
			n++
		}
	}
	return n
}

const cheatSheet = `
Everything goes on running; verdicts appear below. Ctrl-C ends it. In another terminal:

  ROOM=%s
  API=%s
  METRICS=%s
  curl $ROOM                                              # the room at a glance
  curl -X PUT -d 0 $ROOM/lights/light1                    # somebody uses the switch on the wall
  curl -d jump $ROOM/sensors/temperature/fault            # or freeze, drift, noise, dropout; none repairs it
  curl -d jump $ROOM/sensors/brightness/fault
  curl -d 1 $ROOM/lights/light1/fault                     # dark, whatever it reports; 0 repairs it
  curl $ROOM/faults                                       # what is broken now
  curl $API/v1/verdicts?severity=warning                  # what was found
  curl -N $API/v1/events                                  # as it happens
  curl $API/v1/locks                                      # the caretaker was called once; to call again:
  curl -X DELETE $API/v1/locks/call-caretaker
  curl $METRICS/metrics                                   # for Prometheus
  adctl verdicts --history .demo/state/verdicts.db --device light-1 --since 1h

What the programs log is in .demo/, as are the recording of the room and the model.
`
