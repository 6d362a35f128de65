// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

const (
	detectorName = "anomaly-detector"
	clientName   = "mapper.edge" // in the certificate of the mapper
	moveLimit    = 30 * time.Second
)

// detectorConfig is the external detector's configuration file in the demo.
const detectorConfig = `# Written by the demo.
listen: %q
tls: {ca: %q, cert: %q, key: %q}
clients: [{name: %s, namespaces: [%s]}]
anomalyDetection:
  modelDir: %q
  sinks: [log, api]
  sinkOptions: {api: {address: %q}}
`

// elsewhereFaults are of devices whose group is judged by the external detector.
var elsewhereFaults = []fault{darkLight(), stuckSensor()}

// external is the external detector.
type external struct {
	address string         // gRPC
	api     string         // base URL
	own     tlsfiles.Files // its certificate
	mapper  tlsfiles.Files // the mapper's
}

// goElsewhere plays the second round: the lights and the brightness sensor are judged by an external detector, over gRPC
// with mutual TLS, and the verdicts come back to the mapper. It returns what became of its faults.
func (s *story) goElsewhere(ctx context.Context) ([]outcome, error) {
	s.print("\n" + s.paint(bold, "Second round: an external detector judges the lights and the brightness, over gRPC with mutual TLS."))
	d, err := s.startDetector(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.moveTo(ctx, d); err != nil {
		return nil, fmt.Errorf("moving to the external detector: %w", err)
	}
	round := &story{stage: s.stage}
	for _, f := range elsewhereFaults {
		if err := round.breakDown(ctx, f); err != nil {
			return round.outcomes, fmt.Errorf("%v: %w", f, err)
		}
	}
	return round.outcomes, s.showDetector(ctx, d)
}

// planDetector makes certificates and chooses addresses: the mapper's configuration has the detector as a target, before
// any Device names it.
func (s *stage) planDetector(ctx context.Context) (*external, error) {
	dir := filepath.Join(s.dir, "tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	authority := certtest.New()
	d := new(external)
	var err error
	if d.own, err = authority.Write(dir, "localhost", "127.0.0.1"); err != nil {
		return nil, err
	}
	if d.mapper, err = authority.Write(dir, clientName); err != nil {
		return nil, err
	}
	api, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	d.api = "http://" + api
	d.address, err = freeAddress(ctx)
	return d, err
}

// startDetector starts the external detector.
func (s *stage) startDetector(ctx context.Context) (*external, error) {
	d, own := s.elsewhere, s.elsewhere.own
	file := filepath.Join(s.logs, "detector.yaml")
	config := fmt.Sprintf(detectorConfig, d.address, own.CA, own.Cert, own.Key, clientName, namespace, s.logs, strings.TrimPrefix(d.api, "http://"))
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	err := s.start(command{
		name: detectorName, path: filepath.Join(s.dir, detectorName), args: []string{"--config", file},
		stdout: &lines{take: func(line []byte) {
			if a, ok := strings.CutPrefix(string(line), detectorName+": grpc "); ok && len(address) == 0 {
				address <- a
			}
		}},
	})
	if err != nil {
		return nil, err
	}
	// The mapper sends to it up to its own end, so it is the last to end.
	last := len(s.processes) - 1
	s.processes = slices.Insert(s.processes[:last], 0, s.processes[last])
	timer := time.NewTimer(startLimit)
	defer timer.Stop()
	select {
	case <-address:
		s.say(plain, "detector  serves at %s, for who has the certificate of %s", d.address, clientName)
		return d, nil
	case <-timer.C:
		return nil, fmt.Errorf("the external detector does not tell its address: %w", errTimeout)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// settings are what a Device says to be judged there.
func (d *external) settings() map[string]any {
	return map[string]any{
		"adMethodName": "grpc",
		"grpc.target":  "elsewhere",
		// A property cannot leave one group for another of the same name that is judged otherwise.
		"group": "room-elsewhere",
	}
}

// moveTo updates the Devices of the group as kubectl apply would, and waits until the detector has found each of them
// normal for a while.
func (s *story) moveTo(ctx context.Context, d *external) error {
	m, err := readManifests(filepath.Join(s.root, mapperDir, "manifests"))
	if err != nil {
		return err
	}
	s.watch.move(true)
	for _, device := range m.Devices {
		if !slices.ContainsFunc(group, func(of stream) bool { return of.device == device.Name }) {
			continue
		}
		patch(device, s.room.url)
		d.patch(device)
		if err := s.core.UpdateDevice(ctx, device); err != nil {
			return err
		}
	}
	since, before := time.Now(), s.watch.readings(brightness)
	if err := s.watch.wait(ctx, moveLimit, func() bool { return s.watch.normalSince(since, group...) }); err != nil {
		return err
	}
	s.watch.move(false)
	s.say(plain, "demo      the external detector judges the lights and the brightness")
	return s.watch.wait(ctx, settleLimit, func() bool {
		return s.watch.calm(group...) && s.watch.readings(brightness) >= before+calmReadings+quietReadings
	})
}

func (d *external) patch(device *v1beta1.Device) {
	for i := range device.Spec.Properties {
		p := &device.Spec.Properties[i]
		if p.Desired.Value != "" {
			p.Desired.Value = "ON" // as it is at the end of the first round
		}
		if p.PushMethod != nil && p.PushMethod.AnomalyDetection != nil {
			maps.Copy(p.PushMethod.AnomalyDetection.Data, d.settings())
		}
	}
}

// showDetector asks the external detector for its verdicts. The error says whose are missing.
func (s *stage) showDetector(ctx context.Context, d *external) error {
	text, err := fetch(ctx, d.api+"/v1/verdicts")
	if err != nil {
		return err
	}
	var answer struct {
		Verdicts []struct{ Device, Property, Severity, Detector, Model string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("%s: %w", d.api, err)
	}
	var b strings.Builder
	for _, of := range group {
		i := slices.IndexFunc(answer.Verdicts, func(v struct{ Device, Property, Severity, Detector, Model string }) bool {
			return v.Device == of.device && v.Property == of.property
		})
		if i < 0 {
			return fmt.Errorf("the external detector has no verdict on %v:\n%s", of, text)
		}
		v := answer.Verdicts[i]
		fmt.Fprintf(&b, "%s %s %s (%s, %s)\n", v.Device, v.Property, v.Severity, v.Detector, v.Model)
	}
	s.command("curl "+d.api+"/v1/verdicts   # what the external detector itself has", b.String())
	return nil
}

// move says whether properties are on their way to another detector.
func (w *watch) move(moving bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moving = moving
}

// normalSince reports whether a detector has found all the streams normal in readings taken since then.
func (w *watch) normalSince(since time.Time, streams ...stream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(streams, func(s stream) bool {
		l := w.of(s).last
		return l.At.Before(since) || l.Severity != driver.Normal
	})
}
