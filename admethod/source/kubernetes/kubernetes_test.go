// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubeedge/api/apis/devices/v1beta1"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes"
	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/driver"
)

type localObjectReference = corev1.LocalObjectReference

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, a *api, options map[string]any) source.Source {
	tb.Helper()
	return openWith(tb, a, "", options)
}

func openWith(tb testing.TB, a *api, state string, options map[string]any) source.Source {
	tb.Helper()
	all := map[string]any{"server": a.URL}
	maps.Copy(all, options)
	f, err := source.Sources.Lookup("source", kubernetes.Name)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := f.New(source.Settings{Name: "cluster", Options: all, StateDir: state, Report: func(string, string, error) {}})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// await waits until so many readings are taken, and returns them.
func await(t *testing.T, in *sourcetest.Intake, n int) []source.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if now, err := in.Wait(ctx, func(s sourcetest.State) bool { return s.Taken >= n }); err != nil {
		t.Fatalf("%d of %d readings: %v", now.Taken, n, in.Readings())
	}
	return in.Readings()
}

// The origin has the newest state only: what changed more than once between two connections is one reading.
func TestSource(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
		a := newAPI(t)
		a.put(t, model("pump"))
		for i := range 3 {
			a.put(t, device(fmt.Sprint("pump-", i), "pump"))
		}
		return &sourcetest.Origin{
			New: func(t *testing.T) source.Source { return open(t, a, nil) },
			Send: func(t *testing.T, n int) {
				a.put(t, status(fmt.Sprint("pump-", n%3), "temperature", n, noon+n))
			},
			Series: 3, Cuts: 2, Cut: func(*testing.T) { a.CloseClientConnections() }, Ready: func(t *testing.T) { a.watched(t) },
		}
	})
}

func TestWhatIsKnownOfADevice(t *testing.T) {
	a := newAPI(t)
	a.put(t, status("pump-1", "temperature", 21.5, noon+123, "temperature-anomaly", "on", 1, "picture", "x", 1, "else", 3, 1, "setpoint", "", 0))
	d := device("pump-1", "pump")
	d.Spec.Properties[0].PushMethod = &v1beta1.PushMethod{AnomalyDetection: &v1beta1.AnomalyDetectionConfig{Data: map[string]any{
		"adMethodName": "grpc", "grpc.target": "t", "sinks": "dmi", "enabled": true, "detector": "ewma", "threshold": 0.9,
	}}}
	a.put(t, d)
	a.put(t, model("pump"))
	out := device("pump-2", "pump")
	out.Labels[kubernetes.OptOut] = "false"
	a.put(t, out)
	a.put(t, status("pump-2", "temperature", 1, 1))
	a.put(t, status("nobody", "temperature", 1, 1))
	var in sourcetest.Intake
	sourcetest.Run(t, open(t, a, nil), &in)
	got := await(t, &in, 1)
	a.watched(t)
	r := got[0]
	p := r.Property
	if len(got) != 1 || r.Key != (driver.Key{Namespace: "plant", Device: "pump-1", Property: "temperature"}) || r.Text != "21.5" || r.At.UnixMilli() != began+123 {
		t.Fatalf("%+v: want one reading of plant/pump-1/temperature", got)
	}
	if p.Model != "pump" || p.Node != "edge-1" || p.DataType != "double" || p.Unit != "°C" || *p.Minimum != -20 || *p.Maximum != 120 || p.Labels["hall"] != "3" {
		t.Errorf("known: %+v", p)
	}
	if fmt.Sprint(p.Detection) != "map[detector:ewma threshold:0.9]" {
		t.Errorf("detection: %v", p.Detection)
	}

	// A verdict in the extensions is no reading, nor is the same report once more.
	a.put(t, status("pump-1", "temperature", 21.5, noon+123))
	a.put(t, status("pump-1", "temperature", 22, noon+1123))
	if got = await(t, &in, 2); got[1].Text != "22" || got[1].Property != p {
		t.Errorf("%+v: want 22, and nothing anew of its property", got[1:])
	}
	d.Labels["hall"] = "4"
	a.put(t, d)
	for i := 0; got[len(got)-1].Property.Labels["hall"] != "4"; i++ { // what is put is seen in its order by kind
		a.put(t, status("pump-1", "temperature", 23+i, noon+2123+i))
		got = await(t, &in, len(got)+1)
	}

	d.Annotations = map[string]string{kubernetes.OptOut: "false"}
	a.put(t, d)
	n := len(got)
	if got = await(t, &in, n+1); !got[n].Gone || got[n].Key != r.Key {
		t.Errorf("opted out: %+v", got[n:])
	}
	d.Annotations = nil
	a.put(t, d)
	a.put(t, status("pump-1", "temperature", 30, noon+900000))
	await(t, &in, n+2)
	a.Delete(cloudtest.Devices, "plant", "pump-1")
	if got = await(t, &in, n+3); !got[n+2].Gone {
		t.Errorf("deleted: %+v", got[n+2:])
	}
}

// What is desired and not reported is found, once, and again when it is over.
func TestDesired(t *testing.T) {
	a := newAPI(t)
	a.put(t, model("pump"))
	d := device("pump-1", "pump")
	d.Spec.Properties[0].Desired.Value = "7" // of one that can only be read
	d.Spec.Properties[2].Desired.Value = "42"
	a.put(t, d)
	a.put(t, status("pump-1", "setpoint", 41, noon, "temperature", 9, noon))
	var in sourcetest.Intake
	sourcetest.Run(t, open(t, a, map[string]any{"desired": "1500ms"}), &in)
	got := await(t, &in, 3)
	f := got[2]
	if f.Finding == nil || f.Key.Property != "setpoint" || f.Finding.Kind != driver.KindDesired || f.Finding.Strength < 1 ||
		!strings.Contains(f.Finding.Message, `"42" is desired, and "41" reported, since `) {
		t.Fatalf("%+v", f.Finding)
	}
	a.put(t, status("pump-1", "setpoint", "42.0", noon+9000, "temperature", 9, noon))
	for {
		got = await(t, &in, len(got)+1)
		if r := got[len(got)-1]; r.Finding != nil && r.Finding.Kind == driver.KindNone {
			break
		}
	}
}

// For how long something stands is counted over restarts; what was desired or well in between counts anew.
func TestStandsOverRestarts(t *testing.T) {
	a := newAPI(t)
	a.put(t, model("pump"))
	pump := func(i int, desired string) *v1beta1.Device {
		d := device(fmt.Sprint("pump-", i), "pump")
		d.Spec.Properties[2].Desired.Value = desired
		return d
	}
	for i := range 3 {
		a.put(t, pump(i, "42"))
		a.put(t, status(fmt.Sprint("pump-", i), "setpoint", 41, noon))
	}
	away := status("pump-3", "temperature", 9, noon)
	away.Status.State = "offline"
	a.put(t, pump(3, ""))
	a.put(t, away)
	state := t.TempDir()
	watch := func(readings int) []source.Reading {
		var in sourcetest.Intake
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- openWith(t, a, state, nil).Run(ctx, &in) }()
		got := await(t, &in, readings)
		a.watched(t)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		return got
	}
	for _, r := range watch(4) { // nothing is told for half a minute
		if r.Finding != nil {
			t.Errorf("%s: %+v", r.Key, r.Finding)
		}
	}

	// An hour later.
	file := filepath.Join(state, "standing.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ago := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	text = regexp.MustCompile(`20\d\d-[^"]+`).ReplaceAll(text, []byte(ago))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	a.put(t, pump(1, "43"))
	a.put(t, status("pump-2", "setpoint", 42, noon+1000))
	want := map[string]string{
		"pump-0": `"42" is desired, and "41" reported, since ` + ago, "pump-3": "the device is offline since " + ago,
	}
	for range 2 {
		found, read := make(map[string]string), make(map[string]bool)
		for _, r := range watch(6) {
			if r.Finding == nil {
				read[r.Key.Device] = true
				continue
			}
			if read[r.Key.Device] {
				t.Errorf("%s: a reading that is well goes before what stands", r.Key)
			}
			found[r.Key.Device] = r.Finding.Message
		}
		if !maps.Equal(found, want) {
			t.Errorf("found %v, want %v", found, want)
		}
	}

	// A file that is damaged is told, and costs no more than that.
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := watch(4); got[0].Finding != nil {
		t.Errorf("%+v", got)
	}
}

// A device that is offline is told of all of its properties.
func TestOffline(t *testing.T) {
	a := newAPI(t)
	a.put(t, model("pump"))
	a.put(t, device("pump-1", "pump"))
	away := status("pump-1", "temperature", 9, noon, "setpoint", 1, 0)
	away.Status.State = "offline"
	a.put(t, away)
	scheduled := device("pump-2", "pump")
	scheduled.Spec.StateReport = &v1beta1.StateReportConfig{ReportToCloud: true, ReportCycle: 1000}
	a.put(t, scheduled)
	silent := status("pump-2", "temperature", 9, noon)
	silent.Status.State, silent.Status.LastOnlineTime = "online", "2026-01-01T00:00:00Z"
	a.put(t, silent)
	var in sourcetest.Intake
	sourcetest.Run(t, open(t, a, map[string]any{"offline": "1s"}), &in)
	found := make(map[driver.Key]string)
	for _, r := range await(t, &in, 6) {
		if r.Finding != nil {
			if r.Finding.Kind != driver.KindMissing {
				t.Errorf("%s: %+v", r.Key, r.Finding)
			}
			found[r.Key] = r.Finding.Message
		}
	}
	key := func(device, property string) driver.Key {
		return driver.Key{Namespace: "plant", Device: device, Property: property}
	}
	for k, want := range map[driver.Key]string{
		key("pump-1", "temperature"): "the device is offline since ", key("pump-1", "setpoint"): "the device is offline since ",
		key("pump-2", "temperature"): "the device was last online at 2026-01-01T00:00:00Z",
	} {
		if !strings.HasPrefix(found[k], want) {
			t.Errorf("%s: %q, want %q", k, found[k], want)
		}
	}
}

// What the server forgot in between is listed anew: what is gone is told, what changed has one reading.
func TestListedAnew(t *testing.T) {
	a := newAPI(t)
	a.put(t, model("pump"))
	for i := range 2 {
		a.put(t, device(fmt.Sprint("pump-", i), "pump"))
		a.put(t, status(fmt.Sprint("pump-", i), "temperature", 1, noon))
	}
	var in sourcetest.Intake
	sourcetest.Run(t, open(t, a, map[string]any{"namespaces": "plant"}), &in)
	await(t, &in, 2)
	a.watched(t)
	a.Lose(cloudtest.Devices, "plant", "pump-0")
	a.CloseClientConnections()
	if got := await(t, &in, 3); !got[2].Gone || got[2].Key.Device != "pump-0" {
		t.Errorf("%+v: want pump-0 gone", got[2:])
	}
	a.put(t, status("pump-1", "temperature", 5, noon+1000))
	if got := await(t, &in, 4); got[3].Text != "5" {
		t.Errorf("%+v: want 5 of pump-1", got[3:])
	}
}

// watchMany names the environment variable with the API server that a child of the test watches.
const watchMany = "EDGE_ANOMALY_WATCH_MANY"

// Ten thousand devices of four properties are listed, and then all report anew, within the memory that is promised: 300 MB
// for the whole process that watches them.
func TestTenThousandDevices(t *testing.T) {
	const devices, properties, limit = 10_000, 4, 300 << 20
	if url := os.Getenv(watchMany); url != "" {
		var in counter
		sourcetest.Run(t, open(t, &api{&cloudtest.Server{Server: &httptest.Server{URL: url}}}, nil), &in)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		in.wait(ctx, t, devices*properties)
		fmt.Println("listed", peak(t))
		in.wait(ctx, t, 2*devices*properties)
		fmt.Println("watched", peak(t))
		return
	}
	if testing.Short() {
		t.Skip("makes ten thousand devices")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip(err)
	}
	a := newAPI(t)
	m := model("pump")
	names := []string{"temperature", "setpoint", "flow", "pressure"}
	for _, name := range names[2:] {
		m.Spec.Properties = append(m.Spec.Properties, v1beta1.ModelProperty{Name: name, Type: v1beta1.DOUBLE})
	}
	a.put(t, m)
	report := func(i, n int) {
		var twins []any
		for _, p := range names {
			twins = append(twins, p, 20+n, noon+n)
		}
		a.put(t, status(fmt.Sprint("pump-", i), twins...))
	}
	for i := range devices {
		d := device(fmt.Sprint("pump-", i), "pump")
		for _, name := range names[2:] {
			d.Spec.Properties = append(d.Spec.Properties, v1beta1.DeviceProperty{Name: name})
		}
		d.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 2000)}
		a.put(t, d)
		report(i, 0)
	}
	a.Forget()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTenThousandDevices$", "-test.v")
	cmd.Env = append(os.Environ(), watchMany+"="+a.URL)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	seen := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		what, rest, _ := strings.Cut(lines.Text(), " ")
		if what != "listed" && what != "watched" {
			continue
		}
		seen++
		bytes, err := strconv.Atoi(rest)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d devices of %d properties: %d MB at most so far", what, devices, properties, bytes/1_000_000)
		if bytes > limit {
			t.Errorf("%s: %d MB, want at most %d", what, bytes>>20, limit>>20)
		}
		if what == "listed" {
			a.watched(t)
			for i := range devices {
				report(i, 1)
			}
		}
	}
	if err := cmd.Wait(); err != nil || seen != 2 {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// peak is the most memory that the process has had, in bytes.
func peak(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib int
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// counter counts readings, and keeps none.
type counter struct {
	in sourcetest.Intake
	n  atomic.Int64
}

func (c *counter) Take(ctx context.Context, readings []source.Reading) error {
	n := c.n.Add(int64(len(readings)))
	one := readings[0]
	one.Value = float64(n)
	one.Property = nil
	return c.in.Take(ctx, []source.Reading{one})
}

func (c *counter) wait(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	if _, err := c.in.Wait(ctx, func(sourcetest.State) bool { return c.n.Load() >= int64(n) }); err != nil {
		t.Fatalf("%d of %d readings", c.n.Load(), n)
	}
}
