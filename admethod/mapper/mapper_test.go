// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mapper_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/mapper"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
)

// memory is a sink that remembers what it hears, in short.
type memory struct {
	mu    sync.Mutex
	words []string
}

func (*memory) Start(context.Context) error    { return nil }
func (*memory) Shutdown(context.Context) error { return nil }
func (m *memory) Write(_ context.Context, batch []driver.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range batch {
		m.words = append(m.words, strings.TrimSuffix(r.Severity.String()+":"+string(r.Kind), ":"))
	}
	return nil
}

func (m *memory) story() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.words, " ")
}

// started is a handler with a detector that takes readings over 100 for spikes. It ends with the test.
func started(t *testing.T, opts pipeline.Options) (*pipeline.Handler, *memory) {
	t.Helper()
	over := drivertest.Func("over", func(row driver.Row, out *driver.Result) {
		score := 0.1
		if row[0].Value > 100 {
			score = 0.96
		}
		out.Judge(score, driver.KindSpike)
	})
	sink := new(memory)
	opts.Adapters, opts.Sinks, opts.Drivers = new(admethod.AdapterRegistry), new(admethod.SinkRegistry), driver.NewRegistry(over)
	opts.Adapters.Register(inprocess.Name, inprocess.Factory())
	opts.Sinks.Register("memory", admethod.SinkFactory{Name: "memory", New: func(admethod.SinkSettings) (admethod.Sink, error) { return sink, nil }})
	opts.DefaultSinks = []string{"memory"}
	return sinktest.Handler(t, opts), sink
}

// The types below have the structure of what KubeEdge v1.23 generates for a mapper: driver/devicetype.go,
// driver/driver.go and the part of device/device.go that handles a property. That this file compiles shows that the
// proposal's line fits generated code as it is.

type CustomizedDev struct {
	Instance         common.DeviceInstance
	CustomizedClient *CustomizedClient
}

type CustomizedClient struct {
	deviceMutex sync.Mutex
	ProtocolConfig
	read func() (any, error) // what the author of the mapper fills in
}

type ProtocolConfig struct {
	ProtocolName string `json:"protocolName"`
	ConfigData   `json:"configData"`
}

type ConfigData struct{}

type VisitorConfig struct {
	ProtocolName      string `json:"protocolName"`
	VisitorConfigData `json:"configData"`
}

type VisitorConfigData struct {
	DataType string `json:"dataType"`
}

func (c *CustomizedClient) GetDeviceData(visitor *VisitorConfig) (any, error) {
	c.deviceMutex.Lock()
	defer c.deviceMutex.Unlock()
	return c.read()
}

func dataHandler(ctx context.Context, dev *CustomizedDev) {
	for _, twin := range dev.Instance.Twins {
		var visitorConfig VisitorConfig
		if err := json.Unmarshal(twin.Property.Visitors, &visitorConfig); err != nil {
			continue
		}
		dataModel := common.NewDataModel(dev.Instance.Name, twin.Property.PropertyName, dev.Instance.Namespace,
			common.WithType(twin.ObservedDesired.Metadata.Type))
		mapper.AnomalyDetectionHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
	}
}

// generatedDevice is a device with one property, as the framework's parser leaves it.
func generatedDevice(config string, cycle time.Duration, read func() (any, error)) *CustomizedDev {
	property := &common.DeviceProperty{
		Name: "temperature", PropertyName: "temperature", ReportCycle: int64(cycle),
		Visitors:  json.RawMessage(`{"protocolName":"room","configData":{"dataType":"double"}}`),
		PProperty: common.ModelProperty{Name: "temperature", DataType: "double"},
	}
	if config != "" {
		property.PushMethod.AnomalyDetectionEnabled = true
		property.PushMethod.AnomalyDetectionConfig = json.RawMessage(config)
	}
	return &CustomizedDev{
		Instance: common.DeviceInstance{
			ID: "default/sensor-1", Name: "sensor-1", Namespace: "default",
			Twins: []common.Twin{{PropertyName: "temperature", Property: property}},
		},
		CustomizedClient: &CustomizedClient{read: read},
	}
}

func TestAnomalyDetectionHandlerInGeneratedMapper(t *testing.T) {
	tests := []struct {
		name   string
		config string
		cycle  time.Duration
		read   func(n int) (any, error)
		reads  int // in 10.5 s
		story  string
	}{
		{"one reading a second by default", `{"detector":"over"}`, 0, func(int) (any, error) { return "20.5", nil }, 10, "normal"},
		{"on the report cycle", `{"detector":"over"}`, 2 * time.Second, func(int) (any, error) { return 20.5, nil }, 5, "normal"},
		{"an anomaly", `{"detector":"over"}`, 0, func(n int) (any, error) {
			if n > 5 {
				return 500, nil
			}
			return 20, nil
		}, 10, "normal warning:spike"},
		{"not configured", "", 0, func(int) (any, error) { return 1, nil }, 0, ""},
		{"configured wrongly", `{"detektor":"over"}`, 0, func(int) (any, error) { return 1, nil }, 0, "unknown:failed"},
		{"unknown detector", `{"detector":"evr"}`, 0, func(int) (any, error) { return 1, nil }, 0, "unknown:failed"},
		{"a read that fails is retried", `{"detector":"over"}`, 0, func(n int) (any, error) {
			if n < 3 {
				return nil, errors.New("no route to device")
			}
			return 20, nil
		}, 10, "normal"},
		{"a driver that panics does no harm", `{"detector":"over"}`, 0, func(n int) (any, error) {
			if n < 3 {
				panic("nil client")
			}
			return 20, nil
		}, 10, "normal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, sink := started(t, pipeline.Options{})
				defer mapper.SetDefault(mapper.SetDefault(h))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				reads := 0
				dev := generatedDevice(tt.config, tt.cycle, func() (any, error) {
					reads++
					return tt.read(reads)
				})
				dataHandler(ctx, dev)
				<-time.After(10*time.Second + 500*time.Millisecond)
				cancel()
				synctest.Wait()
				if err := h.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := sink.story(); reads != tt.reads || got != tt.story {
					t.Errorf("%d reads, the sink heard %q; want %d, %q", reads, got, tt.reads, tt.story)
				}
				<-time.After(time.Minute)
				if reads != tt.reads {
					t.Error("reads go on after the device has stopped")
				}
			})
		})
	}
}

// Twins that upstream's parser leaves incomplete are refused, not dereferenced.
func TestWatchOfIncompleteTwins(t *testing.T) {
	h, _ := started(t, pipeline.Options{Replay: true})
	client := &CustomizedClient{read: func() (any, error) { return 1, nil }}
	tests := []struct {
		name    string
		twin    *common.Twin
		visitor *VisitorConfig
	}{
		{"no twin", nil, new(VisitorConfig)},
		{"property missing from the model", &common.Twin{PropertyName: "t"}, new(VisitorConfig)},
		{"no visitor", &common.Twin{PropertyName: "t", Property: new(common.DeviceProperty)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := mapper.Watch(t.Context(), h, tt.twin, client, tt.visitor, nil); err == nil {
				t.Error("no error")
			}
		})
	}
}

// Shutdown joins the goroutine of every property, also of devices that still run.
func TestShutdownJoinsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := started(t, pipeline.Options{})
		defer mapper.SetDefault(mapper.SetDefault(h))
		dataHandler(t.Context(), generatedDevice(`{"detector":"over"}`, 0, func() (any, error) { return 1, nil }))
		<-time.After(3 * time.Second)
		if err := mapper.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		// synctest reports a goroutine that is left behind
		if _, err := h.Bind(driver.Key{Device: "d"}, admethod.ADMethodConfig{}, admethod.Meta{}); !errors.Is(err, admethod.ErrClosed) {
			t.Errorf("Bind after Shutdown: %v", err)
		}
	})
}

func TestPushMethodConfigRoundTrip(t *testing.T) {
	var c mapper.PushMethodConfig
	in := `{"MethodName":"mqtt","adMethod":{"detector":"ewma","detector.window":60}}`
	if err := json.Unmarshal([]byte(in), &c); err != nil {
		t.Fatal(err)
	}
	if c.MethodName != "mqtt" || c.ADMethod.Detector != "ewma" {
		t.Errorf("got %q, %q", c.MethodName, c.ADMethod.Detector)
	}
	out, err := json.Marshal(c.ADMethod)
	if err != nil || string(out) != `{"detector":"ewma","detector.window":60}` {
		t.Errorf("got %s, %v", out, err)
	}
}

// silentReader reads nothing.
type silentReader struct{}

func (silentReader) GetDeviceData(*struct{}) (any, error) { return 1.0, nil }

// A mapper on KubeEdge's framework cannot see anomalyDetection beside a push method, and says so once.
func TestLogTellsWhatAPushMethodHides(t *testing.T) {
	h, _ := started(t, pipeline.Options{})
	watch := func(method string) {
		t.Helper()
		twin := &common.Twin{PropertyName: "t", Property: &common.DeviceProperty{PropertyName: "t"}}
		twin.Property.PushMethod.MethodName = method
		if err := mapper.Watch(t.Context(), h, twin, silentReader{}, new(struct{}), nil); err != nil {
			t.Error(err)
		}
	}
	journal := logstest.Capture(t)
	watch("")
	watch("mqtt")
	watch("http")
	text := journal.String()
	if n := strings.Count(text, "cannot be seen"); n != 1 || !strings.Contains(text, `pushMethod="mqtt"`) {
		t.Errorf("told %d times, want once:\n%s", n, text)
	}
}
