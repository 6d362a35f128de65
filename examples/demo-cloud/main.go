// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo-cloud shows what somebody gets who runs KubeEdge and starts one program beside it, without a cluster: a
// plant of pumps, valves and halls is reported to a simulated API server as CloudCore does it, and to an MQTT broker as
// mappers of KubeEdge's template do it. Its mapper knows nothing of detection, and nor do its Devices. anomaly-detector, the
// program that is released, watches both. Faults are injected, one a second, and what the DeviceStatuses say of them is
// told. It ends with 0 if each fault is found in the DeviceStatus of its device, by its name, and nothing else is.
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
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo-cloud:", err)
		os.Exit(1)
	}
}

const (
	healthy = 400              // readings before the first fault
	between = 40               // readings from one fault to the next
	most    = 12 * time.Second // until the last fault is found
	after   = 2 * time.Second  // in which nothing else may be found
	patient = time.Minute      // until all is judged
	program = "anomaly-detector"
	dir     = ".demo-cloud"
)

// configuration is all that the detector is told: where the readings are, and where verdicts go.
const configuration = `sources:
- type: kubernetes                     # what KubeEdge knows of every device
  options: {server: %[1]q, desired: 1s}
- type: mqtt                           # what mappers push to a broker
  options:
    broker: %[2]q
    insecure: true                     # plaintext, on this machine
    topics: [{topic: "{namespace}/{device}/{property}", payload: mapper}]
anomalyDetection:
  sinks: [log, devicestatus]           # verdicts go back to the DeviceStatus of their device
  sinkOptions: {devicestatus: {server: %[1]q, interval: 100ms}}
`

// stage is what runs.
type stage struct {
	out    io.Writer
	cloud  *cloudtest.Server
	plant  []*device
	mapper *mapper
	found  account
	begun  time.Time
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("demo-cloud", flag.ContinueOnError)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: want none", flags.Arg(0))
	}
	s := &stage{out: out, cloud: cloudtest.Start(), plant: newPlant()}
	defer s.cloud.Close()
	if err := s.furnish(); err != nil {
		return err
	}
	broker, url, err := startBroker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Close()) }()
	s.mapper = &mapper{cloud: s.cloud, broker: broker, begun: time.Now().Add(-time.Hour)}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end, err := s.startDetector(ctx, cancel, fmt.Sprintf(configuration, s.cloud.URL, url))
	if err != nil {
		return err
	}
	err = s.play(ctx)
	if ended := end(); err == nil {
		err = ended
	}
	return err
}

// furnish makes what KubeEdge knows of the plant.
func (s *stage) furnish() error {
	var errs []error
	for i := range plant {
		errs = append(errs, s.cloud.Put(plant[i].modelObject()))
	}
	for _, d := range s.plant {
		errs = append(errs, s.cloud.Put(d.object()), s.cloud.Put(d.status()))
	}
	return errors.Join(errs...)
}

// startDetector builds the detector and starts it. end ends it, and says whether it did so by itself.
func (s *stage) startDetector(ctx context.Context, fail context.CancelCauseFunc, config string) (end func() error, err error) {
	fmt.Fprintf(s.out, "A plant of %d devices: KubeEdge's API server and a broker are simulated, and the mapper knows nothing of detection.\n", len(s.plant))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	binary, err := filepath.Abs(filepath.Join(dir, program))
	if err != nil {
		return nil, err
	}
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/kubeedge/edge-anomaly/cmd/"+program).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, text)
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, program+".log"))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(s.out, "\n$ cat config.yaml\n%s\n$ %s --config config.yaml\n\n", config, program)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(running, binary, "--config", file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the demo
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		stop()
		return nil, errors.Join(err, log.Close())
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if running.Err() != nil && errors.Is(err, running.Err()) { // it was told to
			err = nil
		}
		err = errors.Join(err, log.Close())
		fail(fmt.Errorf("%s has ended, see %s: %w", program, log.Name(), errors.Join(err, errEarly)))
		ended <- err
	}()
	s.begun = time.Now()
	return func() error { stop(); return <-ended }, nil
}

var errEarly = errors.New("although nobody told it to")

// say prints a line with the time since the beginning.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%6.1f s  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
}

// play plays until all is found, or the time is over.
func (s *stage) play(ctx context.Context) error {
	pace := time.NewTicker(tick)
	defer pace.Stop()
	var judged bool
	var first int // tick of the first fault
	last := s.begun.Add(patient)
	for {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now := time.Now()
		if judged && s.mapper.ticks >= first {
			s.spoil(now, s.mapper.ticks-first)
		}
		if err := s.mapper.report(ctx, s.plant); err != nil {
			return err
		}
		news, err := s.found.take(s.cloud, s.plant, now)
		if err != nil {
			return err
		}
		for _, f := range news {
			s.say("found     %s/%s: %s %s: %s", f.device, f.property, f.severity, f.kind, f.message)
		}
		if !judged && s.mapper.ticks >= healthy {
			if judged, err = s.judged(); err != nil {
				return err
			}
			if judged {
				s.say("judged    all devices; nothing is wrong with them")
				first = s.mapper.ticks + between
				last = now.Add(time.Duration(between*(len(faults)+1))*tick + most)
			}
		}
		done := len(s.found.outcomes) == len(faults) && s.found.all()
		if done && last.After(now.Add(after)) {
			last = now.Add(after)
		}
		if now.After(last) {
			if !judged {
				return fmt.Errorf("after %v not all devices are judged, see %s", patient, filepath.Join(dir, program+".log"))
			}
			return s.conclude()
		}
	}
}

// spoil lets something go wrong when its time has come.
func (s *stage) spoil(now time.Time, tick int) {
	n := tick / between
	if tick%between != 0 || n >= len(faults) {
		return
	}
	f := &faults[n]
	for _, d := range s.plant {
		if d.name != f.device {
			continue
		}
		f.begin(d)
		if d.desired != "" { // somebody changes the Device
			if err := s.cloud.Put(d.object()); err != nil {
				s.say("%v", err)
			}
		}
	}
	s.found.outcomes = append(s.found.outcomes, outcome{fault: f, begun: now})
	s.say("fault     %s/%s: %s", f.device, f.property, f.what)
}

// judged says that all that is reported is judged, and normal.
func (s *stage) judged() (bool, error) {
	for _, d := range s.plant {
		if e, err := look(s.cloud, d.name); err != nil || !e.normal(d) {
			return false, err
		}
	}
	return true, nil
}

// conclude shows what KubeEdge said before and says now, and returns whether that is right.
func (s *stage) conclude() error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tLAST REPORT\tWITHOUT IT\tWITH IT")
	for _, d := range s.plant {
		var values []string
		for _, p := range d.sensors {
			values = append(values, fmt.Sprintf("%s %s %s", p.name, p.text, p.unit))
		}
		e, err := look(s.cloud, d.name)
		if err != nil {
			return err
		}
		said := "online"
		if d.byMQTT {
			said = "-" // such devices report nothing to KubeEdge
		}
		says := []string{e.Data.Severity}
		for _, i := range e.Data.Incidents {
			says = append(says, i.Property+": "+i.Kind)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", d.name, strings.Join(values, ", "), said, strings.Join(says, ", "))
	}
	_ = t.Flush() // a strings.Builder takes everything
	shown := faults[1].device
	extensions, err := yaml.Marshal(map[string]any{"extensions": s.cloud.Status(namespace, shown)["status"].(map[string]any)["extensions"]})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nWhat KubeEdge says of the devices without the detector, and with it:\n\n%s", b.String())
	fmt.Fprintf(s.out, "\n$ kubectl -n %s get devicestatus %s -o yaml    # in part\n%s\n", namespace, shown, extensions)
	fmt.Fprintln(s.out, s.found.table())
	err = s.found.verdict()
	if err == nil {
		s.say("All %d faults were found in the DeviceStatus of their device, and nothing else.", len(faults))
	}
	return err
}
