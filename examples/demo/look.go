// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

// mapperConfig is the mapper's configuration file in the demo. The environment adds to it what depends on the run.
const mapperConfig = `# Written by the demo.
common: {name: restful-light-mapper, protocol: restful}
anomalyDetection:
  sinks: [log, dmi, devicestatus, metrics, activity, history, recorder, api]
  adapterOptions:
    grpc: {targets: {elsewhere: {address: %q, tls.ca: %q, tls.cert: %q, tls.key: %q, backoff: 1s}}}
  sinkOptions:
    dmi: {severity: warning}                    # what is merely a warning makes a device unhealthy, too
    devicestatus: {server: %q}
    metrics: {address: %q}
    api: {address: %q}
    activity: {file: %q, folder: %q}
`

// outlets are where the mapper shows what it found.
type outlets struct {
	metrics, api string // base URLs
	history      string // file
}

const lookLimit = 15 * time.Second

// look shows a fault, while it lasts, in each of the places where people look. The error says what is not there.
func (s *story) look(ctx context.Context, f fault) error {
	device := f.of.device
	err := s.watch.wait(ctx, lookLimit, func() bool {
		twin, _ := s.core.Twin(namespace, device, f.of.property+"-anomaly")
		return s.core.State(namespace, device) == "unhealthy" && isAnomalous(strings.SplitN(twin.Reported, ":", 2)[0]) &&
			isAnomalous(s.api.severity(device))
	})
	if err != nil {
		return fmt.Errorf("state %q and extension %q of %s: want them to tell of the fault: %w",
			s.core.State(namespace, device), s.api.severity(device), device, err)
	}
	status, err := s.status(device)
	if err != nil {
		return err
	}
	s.print("\n" + s.paint(bold, "Where people look, while the fault lasts. The state and the twin came over DMI, the extension from the sink devicestatus:"))
	s.command("kubectl get devicestatus "+device+" -o yaml", status)

	metrics, err := fetch(ctx, s.out.metrics+"/metrics")
	if err != nil {
		return err
	}
	excerpt := only(metrics, `device="`+device+`"`)
	if !strings.Contains(excerpt, "anomaly{") {
		return fmt.Errorf("the metrics page does not tell of %s:\n%s", device, metrics)
	}
	s.command("curl "+s.out.metrics+"/metrics | grep "+device, excerpt)
	return s.lookAtActivity(ctx)
}

// lookAtActivity shows that an activity ran once, however many faults there were, and the lock that keeps it from
// running again.
func (s *story) lookAtActivity(ctx context.Context) error {
	var activities struct {
		Activities []struct {
			Name   string
			Status struct {
				Runs, Failed int
				For, Output  string
			}
		}
	}
	var locks struct {
		Locks []struct{ Name string }
	}
	for _, page := range []struct {
		path string
		into any
	}{{"/v1/activities", &activities}, {"/v1/locks", &locks}} {
		text, err := fetch(ctx, s.out.api+page.path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), page.into); err != nil {
			return fmt.Errorf("%s: %w", page.path, err)
		}
		s.command("curl "+s.out.api+page.path, indent(text))
	}
	if n := len(activities.Activities); n != 1 || activities.Activities[0].Status.Runs != 1 || activities.Activities[0].Status.Failed != 0 {
		return fmt.Errorf("activities %+v: want one, that ran once", activities.Activities)
	}
	if len(locks.Locks) != 1 || !strings.HasPrefix(locks.Locks[0].Name, activities.Activities[0].Name+"@") {
		return fmt.Errorf("locks %+v: want that of the activity", locks.Locks)
	}
	s.print("")
	return nil
}

// lookBack shows, when all is over, the extension of each device, and what the history has.
func (s *story) lookBack(ctx context.Context) error {
	s.print("\n" + s.paint(bold, "The extensions of all devices, now that all is over:"))
	for _, device := range s.devices() {
		object := field(s.api.Status(namespace, device), "status", "extensions")
		if object == nil {
			return fmt.Errorf("the DeviceStatus of %s has no extension", device)
		}
		text, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		s.command("kubectl get devicestatus "+device+" -o yaml | yq .status.extensions", strings.TrimSpace(string(text)))
	}
	rows, err := s.tool(ctx, "adctl", "verdicts", "--history", s.out.history, "--device", temperature.device, "--since", "1h", "--severity", "warning")
	if err != nil {
		return err
	}
	if bytes.Count(rows, []byte("\n")) < 2 {
		return errors.New("the history has no verdict on " + temperature.device)
	}
	s.command("adctl verdicts --history .demo/state/verdicts.db --device "+temperature.device+" --since 1h --severity warning", string(rows))
	return nil
}

func isAnomalous(severity string) bool { return severity == "warning" || severity == "critical" }

// status is a DeviceStatus as kubectl prints it: what the API server has, and what CloudCore adds of that which EdgeCore
// was told.
func (s *stage) status(device string) (string, error) {
	twins := []any{}
	for _, property := range s.properties[device] {
		if twin, ok := s.core.Twin(namespace, device, property); ok {
			twins = append(twins, map[string]any{"propertyName": property, "reported": map[string]any{"value": twin.Reported}})
		}
	}
	text, err := yaml.Marshal(cloudtest.Merge(s.api.Status(namespace, device), map[string]any{
		"metadata": map[string]any{"managedFields": nil, "resourceVersion": nil, "creationTimestamp": nil},
		"status":   map[string]any{"state": s.core.State(namespace, device), "twins": twins},
	}))
	return strings.TrimSpace(string(text)), err
}

func (s *stage) devices() []string { return slices.Sorted(maps.Keys(s.properties)) }

// learnDevices keeps the names of devices and their properties.
func (s *stage) learnDevices(m edgecoretest.Manifests) {
	s.properties = make(map[string][]string)
	for _, d := range m.Devices {
		for i := range d.Spec.Properties {
			s.properties[d.Name] = append(s.properties[d.Name], d.Spec.Properties[i].Name)
		}
	}
}

// openOutlets starts the API server and writes the configuration of the mapper.
func (s *stage) openOutlets(ctx context.Context) (config string, err error) {
	if s.api, err = startCloud(s.devices()); err != nil {
		return "", err
	}
	var addresses [2]string
	for i := range addresses {
		if addresses[i], err = freeAddress(ctx); err != nil {
			return "", err
		}
	}
	state := filepath.Join(s.logs, "state")
	s.out = outlets{metrics: "http://" + addresses[0], api: "http://" + addresses[1], history: filepath.Join(state, "verdicts.db")}
	// A copy, as the sink takes no scripts that everybody may change, and some checkouts are like that.
	activities := filepath.Join(s.logs, "activities")
	if err := errors.Join(os.RemoveAll(activities), os.CopyFS(activities, os.DirFS(filepath.Join(s.root, "examples", "demo", "activities")))); err != nil {
		return "", err
	}
	for name, mode := range map[string]os.FileMode{".": 0o755, "activities.yaml": 0o644, "call.sh": 0o755} {
		if err := os.Chmod(filepath.Join(activities, name), mode); err != nil {
			return "", err
		}
	}
	if s.elsewhere, err = s.planDetector(ctx); err != nil {
		return "", err
	}
	d, files := s.elsewhere, s.elsewhere.mapper
	return fmt.Sprintf(mapperConfig, d.address, files.CA, files.Cert, files.Key, s.api.URL, addresses[0], addresses[1], filepath.Join(activities, "activities.yaml"), activities), nil
}

// command shows a command line and what it prints.
func (s *stage) command(line, output string) {
	s.print("\n" + s.paint(yellow, "$ "+line) + "\n" + strings.TrimSpace(output))
}

func indent(raw string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(raw), "", "  ") != nil {
		return raw
	}
	return b.String()
}
