// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

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
		admethod.AnomalyDetectionHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
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
				b := newBench(t, admethod.Options{}, over)
				defer admethod.SetDefault(admethod.SetDefault(b.Handler))
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
				b.flush(t)
				if got := b.sink.story(keyOf("temperature")); reads != tt.reads || got != tt.story {
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
	b := newBench(t, admethod.Options{Replay: true}, over)
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
			if err := admethod.Watch(t.Context(), b.Handler, tt.twin, client, tt.visitor, nil); err == nil {
				t.Error("no error")
			}
		})
	}
}

// Shutdown joins the goroutine of every property, also of devices that still run.
func TestShutdownJoinsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, admethod.Options{}, over)
		defer admethod.SetDefault(admethod.SetDefault(b.Handler))
		dataHandler(t.Context(), generatedDevice(`{"detector":"over"}`, 0, func() (any, error) { return 1, nil }))
		<-time.After(3 * time.Second)
		if err := admethod.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		// synctest reports a goroutine that is left behind
		if _, err := b.Bind(driver.Key{Device: "d"}, admethod.ADMethodConfig{}, admethod.Meta{}); !errors.Is(err, admethod.ErrClosed) {
			t.Errorf("Bind after Shutdown: %v", err)
		}
	})
}

func TestCycle(t *testing.T) {
	tests := []struct {
		in   int64
		want time.Duration
	}{
		{0, time.Second}, {-5, time.Second}, {500, 500 * time.Millisecond}, {10_000, 10 * time.Second},
		{86_400_000, 24 * time.Hour}, {500_000_000, 500 * time.Millisecond}, {10_000_000_000, 10 * time.Second},
	}
	for _, tt := range tests {
		if got := admethod.Cycle(tt.in, time.Second); got != tt.want {
			t.Errorf("Cycle(%d) = %v, want %v", tt.in, got, tt.want)
		}
	}
}
