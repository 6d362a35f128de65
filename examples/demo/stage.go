// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

// speed is by how much everything is faster than in the field: the cycles of the manifests, and the room's day with
// them, so that from reading to reading as much happens as there.
const speed = 20

const mapperDir = "examples/restful-light-mapper"

// stage is what the story is played on: EdgeCore in this process, the room simulator and the mapper as children.
type stage struct {
	*account
	root  string // of the module
	dir   string // temporary: programs and sockets
	logs  string
	core  *edgecoretest.EdgeCore
	api   cloud
	watch *watch
	room  *roomClient
	paced []*paced // sensors at the pace of the field
	out   outlets

	elsewhere *external // the detector of the second round

	properties map[string][]string // of each device

	processes []*process // the last ends first
	fail      context.CancelCauseFunc
}

// newStage prepares directories. fail ends the story when something that must run does not.
func newStage(ctx context.Context, a *account, fail context.CancelCauseFunc) (*stage, error) {
	gomod, err := goTool(ctx, "", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	s := &stage{account: a, root: filepath.Dir(strings.TrimSpace(gomod)), watch: newWatch(a.incident), fail: fail}
	s.watch.onEnd = func(t told) { s.say(plain, "incident  %v", t) }
	if _, err := os.Stat(filepath.Join(s.root, mapperDir)); err != nil {
		return nil, fmt.Errorf("the demo runs in a checkout of edge-anomaly: %w", err)
	}
	s.logs = filepath.Join(s.root, ".demo")
	if err := os.MkdirAll(s.logs, 0o755); err != nil {
		return nil, err
	}
	// The path of a unix socket has 107 characters at most.
	parent := ""
	if len(os.TempDir()) > 60 {
		parent = "/tmp"
	}
	if s.dir, err = os.MkdirTemp(parent, "edge-anomaly-demo-"); err != nil {
		return nil, err
	}
	return s, nil
}

func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends its own children
	cmd.WaitDelay = patience
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return stdout.String(), nil
}

// set builds and starts everything, and returns when the mapper has registered and its first verdicts are there.
func (s *stage) set(ctx context.Context) error {
	s.say(plain, "demo      building the room simulator, the mapper, the external detector and adctl, which takes a while the first time")
	if _, err := goTool(ctx, s.root, "build", "-o", s.dir+"/", "./cmd/adctl", "./examples/room-simulator",
		"./examples/room-simulator/record", "./cmd/"+detectorName, "./"+mapperDir); err != nil {
		return err
	}
	s.begin() // how long the compiler took is no part of the story
	if err := s.startRooms(ctx); err != nil {
		return err
	}
	if err := s.train(ctx); err != nil {
		return fmt.Errorf("training the model of the room: %w", err)
	}
	s.core = edgecoretest.New(edgecoretest.Options{Socket: filepath.Join(s.dir, "dmi.sock"), OnEvent: s.onEvent})
	if err := s.core.Start(); err != nil {
		return err
	}
	if err := s.applyManifests(ctx); err != nil {
		return err
	}
	if err := s.startMapper(ctx); err != nil {
		return err
	}
	within, cancel := context.WithTimeoutCause(ctx, startLimit, errTimeout)
	defer cancel()
	if err := s.core.WaitMapper(within, "restful"); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if err := s.watch.wait(ctx, startLimit, func() bool {
		return s.watch.readings(temperature) > 0 && s.watch.readings(brightness) > 0
	}); err != nil {
		return fmt.Errorf("waiting for the first verdicts: %w", err)
	}
	s.say(bold, "page      %s shows what is wrong, since when and why, as it happens", s.out.api)
	return nil
}

// startRooms starts the room of the story, and those whose days are as long as outside.
func (s *stage) startRooms(ctx context.Context) (err error) {
	if s.room, err = s.startRoom(ctx, 1, 24*time.Hour/speed); err != nil {
		return err
	}
	for i, f := range paceFaults {
		p := &paced{fault: f}
		if p.room, err = s.startRoom(ctx, 2+i, 24*time.Hour); err != nil {
			return err
		}
		s.paced = append(s.paced, p)
	}
	return nil
}

func (s *stage) startRoom(ctx context.Context, seed int, day time.Duration) (*roomClient, error) {
	const announcement = "room-simulator: "
	address := make(chan string, 1)
	err := s.start(command{
		name: fmt.Sprintf("room-simulator-%d", seed), path: filepath.Join(s.dir, "room-simulator"),
		args: []string{"--listen", "127.0.0.1:0", "--seed", strconv.Itoa(seed), "--day", day.String()},
		stdout: &lines{take: func(line []byte) {
			if url, ok := strings.CutPrefix(string(line), announcement); ok && len(address) == 0 {
				address <- url
			}
		}},
	})
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(startLimit)
	defer timer.Stop()
	select {
	case url := <-address:
		s.say(plain, "room      serves at %s", url)
		return newRoomClient(url), nil
	case <-timer.C:
		return nil, fmt.Errorf("the room simulator does not tell its address: %w", errTimeout)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *stage) startMapper(ctx context.Context) error {
	config, err := s.openOutlets(ctx)
	if err != nil {
		return err
	}
	file := filepath.Join(s.logs, "mapper.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	// What an earlier run learned, and locked, is no part of this one.
	if err := os.RemoveAll(filepath.Join(s.logs, "state")); err != nil {
		return err
	}
	return s.start(command{
		name: "mapper", path: filepath.Join(s.dir, "restful-light-mapper"),
		args: []string{"--config", file, "--verdicts", "-", "--verdicts-all"},
		env: []string{
			"EDGE_ANOMALY_SOCKET_PATH=" + filepath.Join(s.dir, "mapper.sock"),
			"EDGE_ANOMALY_EDGECORE_SOCK=" + s.core.Socket(),
			"EDGE_ANOMALY_MODEL_DIR=" + s.logs,
			"EDGE_ANOMALY_STATE_DIR=" + filepath.Join(s.logs, "state"),
		},
		stdout: &lines{take: s.watch.take},
	})
}

var errEarly = errors.New("although nobody told it to")

// start starts a child, without which the story cannot go on.
func (s *stage) start(c command) error {
	c.onEnd = func(err error) { s.fail(fmt.Errorf("%s has ended: %w", c.name, cmp.Or(err, errEarly))) }
	p, err := start(c, s.logs)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return err
}

// applyManifests gives EdgeCore the mapper's models and devices as they are written for a cluster, made faster.
func (s *stage) applyManifests(ctx context.Context) error {
	m, err := readManifests(filepath.Join(s.root, mapperDir, "manifests"))
	if err != nil {
		return err
	}
	s.learnDevices(m)
	for _, model := range m.Models {
		if err := s.core.AddModel(ctx, model); err != nil {
			return err
		}
	}
	if err := s.addPaced(ctx, m.Devices); err != nil {
		return err
	}
	for _, d := range m.Devices {
		patch(d, s.room.url)
		if err := s.core.AddDevice(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// readManifests reads the manifests as kubectl apply would: a device in a later file replaces that of an earlier one.
func readManifests(dir string) (edgecoretest.Manifests, error) {
	var all edgecoretest.Manifests
	for _, name := range []string{"device-models.yaml", "devices.yaml", "devices-group.yaml"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return all, err
		}
		m, err := edgecoretest.ParseManifests(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return all, fmt.Errorf("%s: %w", name, err)
		}
		all.Models = append(all.Models, m.Models...)
		for _, d := range m.Devices {
			all.Devices = slices.DeleteFunc(all.Devices, func(old *v1beta1.Device) bool { return old.Name == d.Name })
			all.Devices = append(all.Devices, d)
		}
	}
	return all, nil
}

// patch is all that is different from the manifests.
func patch(d *v1beta1.Device, room string) {
	d.Spec.Protocol.ConfigData.Data["baseURL"] = room
	for i := range d.Spec.Properties {
		p := &d.Spec.Properties[i]
		p.CollectCycle /= speed
		p.ReportCycle /= speed
		if p.PushMethod != nil && p.PushMethod.AnomalyDetection != nil {
			// Cycles are faster, but a busy machine is not: that a program gets no time for a second or two happens, and
			// is no fault of a sensor.
			settings := p.PushMethod.AnomalyDetection.Data
			settings["quality.late"] = 0
			settings["quality.missing"] = 80 // cycles: 4 s
		}
	}
}

// onEvent tells what EdgeCore sees; what it could not use is a defect of the mapper.
func (s *stage) onEvent(ev edgecoretest.Event) {
	s.edge(ev)
	switch ev.Kind {
	case edgecoretest.EventCrashed, edgecoretest.EventDropped, edgecoretest.EventTwinDropped,
		edgecoretest.EventStateDropped, edgecoretest.EventPushFailed:
		s.fail(fmt.Errorf("edgecore: %v", ev))
	}
}

// clear stops the children, the last one first, then EdgeCore, so that the mapper can report to the end, and removes the
// temporary directory.
func (s *stage) clear() error {
	s.fail(nil) // whoever ends now has been told to
	var errs []error
	for _, p := range slices.Backward(s.processes) {
		errs = append(errs, p.stop(patience))
	}
	if s.core != nil {
		errs = append(errs, s.core.Close())
	}
	if s.api.Server != nil {
		s.api.Close()
	}
	if s.room != nil {
		s.room.close()
	}
	for _, p := range s.paced {
		p.room.close()
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// showLogs prints the ends of the children's logs.
func (s *stage) showLogs() {
	for _, p := range s.processes {
		s.print(fmt.Sprintf("\nend of %s:\n%s", p.log.Name(), p.tail(15)))
	}
}
