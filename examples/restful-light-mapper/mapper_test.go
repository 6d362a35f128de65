// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/api/apis/devices/v1beta1"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/device"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/restful-light-mapper/verdictlog"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// manifests are those in the folder and in further files, with the room's address and cycles of at most 20 ms.
func manifests(t *testing.T, room string, further ...string) edgecoretest.Manifests {
	t.Helper()
	var all edgecoretest.Manifests
	for _, name := range append([]string{"device-models.yaml", "devices.yaml"}, further...) {
		raw, err := os.ReadFile(filepath.Join("manifests", name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := edgecoretest.ParseManifests(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all.Models = append(all.Models, m.Models...)
		all.Devices = append(all.Devices, m.Devices...)
	}
	for _, d := range all.Devices {
		if room != "" {
			d.Spec.Protocol.ConfigData.Data["baseURL"] = room
		}
		for i := range d.Spec.Properties {
			p := &d.Spec.Properties[i]
			p.CollectCycle, p.ReportCycle = min(p.CollectCycle, 20), min(p.ReportCycle, 20)
			if p.PushMethod != nil {
				p.PushMethod.AnomalyDetection.Data["quality.missing"] = 0
				p.PushMethod.AnomalyDetection.Data["quality.late"] = 0
			}
		}
	}
	return all
}

// What the manifests say arrives at the mapper as it was written, and the mapper understands all of it.
func TestManifestsTravelWithoutLoss(t *testing.T) {
	m := manifests(t, "", "devices-group.yaml")
	models := make(map[string]*v1beta1.DeviceModel)
	for _, model := range m.Models {
		models[model.Name] = model
	}
	if len(m.Models) != 3 || len(m.Devices) != 4+3 {
		t.Fatalf("%d models and %d devices, want 3 and 7", len(m.Models), len(m.Devices))
	}
	for _, d := range m.Devices {
		model := models[d.Spec.DeviceModelRef.Name]
		modelMessage, err := edgecoretest.ConvertModel(model)
		if err != nil {
			t.Fatal(err)
		}
		message, err := edgecoretest.ConvertDevice(d, model)
		if err != nil {
			t.Fatal(err)
		}
		arrived := message.GetSpec()
		sameScalars(t, d.Name+" protocol", d.Spec.Protocol.ConfigData.Data, arrived.GetProtocol().GetConfigData().GetData())
		for i, p := range d.Spec.Properties {
			got := arrived.GetProperties()[i]
			sameScalars(t, d.Name+" visitors", p.Visitors.ConfigData.Data, got.GetVisitors().GetConfigData().GetData())
			if p.PushMethod != nil {
				sameScalars(t, d.Name+" anomalyDetection", p.PushMethod.AnomalyDetection.Data,
					got.GetPushMethod().GetAnomalyDetection().GetData())
			}
		}

		parsedModel, err := device.ParseModel(modelMessage)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := device.ParseDevice(message, &parsedModel)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := device.DecodeProtocol[connection](instance); err != nil {
			t.Error(err)
		}
		for i := range instance.Properties {
			p := &instance.Properties[i]
			if p.PropertyName == "temperature-anomaly" {
				continue // is not visited
			}
			if _, err := device.DecodeVisitor[visitor](p); err != nil {
				t.Errorf("%s: %v", d.Name, err)
			}
			if !p.PushMethod.AnomalyDetectionEnabled {
				continue
			}
			if _, err := admethod.Parse(p.PushMethod.AnomalyDetectionConfig); err != nil {
				t.Errorf("%s: %v", d.Name, err)
			}
		}
	}
}

func sameScalars(t *testing.T, what string, written map[string]any, arrived map[string]*anypb.Any) {
	t.Helper()
	got := make(map[string]any)
	for key, value := range arrived {
		message, err := value.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := protojson.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		var scalar any
		if err := json.Unmarshal(raw, &scalar); err != nil {
			t.Fatal(err)
		}
		got[key] = scalar
	}
	var want map[string]any
	raw, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-written +arrived):\n%s", what, diff)
	}
}

func edgeCore(t *testing.T, m edgecoretest.Manifests) *edgecoretest.EdgeCore {
	t.Helper()
	core := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
	for _, model := range m.Models {
		if err := core.AddModel(t.Context(), model); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range m.Devices {
		if err := core.AddDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	return core
}

func post(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", url, resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// The whole way: the cloud's wish switches the light, the sensors follow, and a brightness beyond the model's range is
// an anomaly.
func TestMapperEndToEnd(t *testing.T) {
	room := newRoom(t)
	core := edgeCore(t, manifests(t, room.URL))
	t.Setenv("EDGE_ANOMALY_EDGECORE_SOCK", core.Socket())
	t.Setenv("EDGE_ANOMALY_SOCKET_PATH", filepath.Join(t.TempDir(), "m.sock"))

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, verdicts := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"--verdicts", "-"}, verdicts)
		verdicts.CloseWithError(io.EOF)
		ended <- err
	}()
	seen := make(chan verdictlog.Line, 1000)
	go func() {
		defer close(seen)
		dec := json.NewDecoder(reader)
		for {
			var l verdictlog.Line
			if dec.Decode(&l) != nil {
				return
			}
			seen <- l
		}
	}()

	wait := within(t, 20*time.Second)
	for _, want := range []struct{ device, property, value string }{
		{"light-1", "powerstatus", "OFF"}, {"brightness-sensor-1", "brightness", "0"},
	} {
		if err := core.WaitTwin(wait, "default", want.device, want.property, want.value); err != nil {
			t.Fatal(err)
		}
	}
	for _, light := range []string{"light-1", "light-2"} {
		if err := core.SetDesired(wait, "default", light, "powerstatus", "ON"); err != nil {
			t.Fatal(err)
		}
		if err := core.WaitTwin(wait, "default", light, "powerstatus", "ON"); err != nil {
			t.Fatal(err)
		}
	}
	if err := core.WaitTwin(wait, "default", "brightness-sensor-1", "brightness", "3"); err != nil {
		t.Fatal(err)
	}
	if err := core.Wait(wait, func() bool {
		twin, ok := core.Twin("default", "temperature-sensor-1", "temperature")
		return ok && twin.Reported != ""
	}); err != nil {
		t.Fatal(err)
	}

	post(t, room.URL+"/sensors/brightness/fault", "jump")
	alarm := func() verdictlog.Line {
		for {
			select {
			case l := <-seen:
				if l.Device == "brightness-sensor-1" && l.Severity.Anomalous() {
					return l
				}
			case <-wait.Done():
				t.Fatal("no verdict on the jump")
			}
		}
	}()
	if alarm.Kind != driver.KindRange || alarm.Severity != driver.Critical || alarm.Value != 8 || alarm.Property != "brightness" {
		t.Errorf("verdict %+v, want a critical range on 8", alarm)
	}
	if err := core.WaitTwin(wait, "default", "brightness-sensor-1", "brightness", "8"); err != nil {
		t.Error(err)
	}

	stop()
	for {
		if _, more := <-seen; !more {
			break
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// The real program ends within five seconds of SIGTERM and with status 0, whether EdgeCore answers or not, and while a
// device hangs.
func TestSIGTERM(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program, which the race detector does not see")
	}
	binary := filepath.Join(t.TempDir(), "mapper")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	asked := make(chan struct{}, 1) // a device hangs
	stuck := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			wait.Wake(asked)
			<-r.Context().Done()
		}
	}))
	none := make(chan struct{})
	close(none)
	for name, tt := range map[string]struct {
		room     string
		edgeCore bool
		until    <-chan struct{}
	}{
		"at work":                  {newRoom(t).URL, true, nil},
		"without EdgeCore":         {newRoom(t).URL, false, none},
		"while devices hang":       {stuck.URL, true, asked},
		"with devices that refuse": {"http://127.0.0.1:1", true, none},
	} {
		t.Run(name, func(t *testing.T) {
			core := edgeCore(t, manifests(t, tt.room))
			if !tt.edgeCore {
				core.Kill()
			}
			socket := filepath.Join(t.TempDir(), "m.sock")
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append(os.Environ(), "EDGE_ANOMALY_EDGECORE_SOCK="+core.Socket(),
				"EDGE_ANOMALY_SOCKET_PATH="+socket, "EDGE_ANOMALY_STATE_DIR="+t.TempDir())
			var log bytes.Buffer
			cmd.Stderr = &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitSocket(t, socket)
			if tt.edgeCore {
				if err := core.WaitMapper(within(t, 20*time.Second), "restful"); err != nil {
					t.Error(err)
				}
			}
			if tt.until != nil {
				<-tt.until
			} else if err := core.WaitTwin(within(t, 20*time.Second), "default", "light-1", "powerstatus", "OFF"); err != nil {
				t.Error(err)
			}
			began := time.Now()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			took := time.Since(began)
			t.Logf("took %v", took.Round(time.Millisecond))
			if err != nil || took > 5*time.Second {
				t.Errorf("ended after %v: %v\n%s", took, err, log.Bytes())
			}
		})
	}
}

// awaitSocket returns when somebody serves the socket.
func awaitSocket(t *testing.T, path string) {
	t.Helper()
	waittest.Eventually(t, "the mapper serves its socket", func() bool {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
		return err == nil && c.Close() == nil
	})
}

// Both the shipped configuration and the one of the Deployment can be used.
func TestConfigurations(t *testing.T) {
	if _, err := config.Load("config.yaml"); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile(filepath.Join("manifests", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n---\n")
	var configMap struct{ Data map[string]string }
	if err := yaml.Unmarshal([]byte(first), &configMap); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse([]byte(configMap.Data["config.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	if c.AnomalyDetection.StateDir == "" || !strings.Contains(string(raw), "mountPath: "+c.AnomalyDetection.StateDir) {
		t.Errorf("stateDir %q is not mounted", c.AnomalyDetection.StateDir)
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"here"}, `argument "here": want none`},
		{[]string{"--config", "no.yaml"}, "no such file"},
		{[]string{"--verdicts", filepath.Join(t.TempDir(), "no", "dir")}, "verdicts: open"},
	} {
		if err := run(t.Context(), tt.args, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want %q", tt.args, err, tt.want)
		}
	}
	t.Setenv("EDGE_ANOMALY_VERDICTS_ALL", "perhaps")
	if err := run(t.Context(), nil, io.Discard); err == nil || !strings.Contains(err.Error(), "EDGE_ANOMALY_VERDICTS_ALL") {
		t.Errorf("error %v", err)
	}
}
