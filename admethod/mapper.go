// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// DeviceReader is what the generated CustomizedClient of a mapper offers: it reads the property that visitor, a
// generated *VisitorConfig, describes.
type DeviceReader[V any] interface {
	GetDeviceData(visitor *V) (any, error)
}

// AnomalyDetectionHandler watches one property of a mapper that was generated from KubeEdge's template. It is the
// handler of KubeEdge's proposal, and fits the generated code as it is; add to dataHandler in device/device.go, beside
// pushHandler and dbHandler:
//
//	admethod.AnomalyDetectionHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
//
// It reads the device on the property's ReportCycle (1 s where it has none) until ctx ends, and runs the readings
// through the [Default] handler. It returns at once; its goroutine is joined by the handler's Shutdown. A property
// without pushMethod.anomalyDetection is left alone, and one whose configuration is wrong is logged and left alone.
//
// The framework's own parser drops anomalyDetection where http, mqtt or otel is set as well, so that this handler never
// hears of it and says so once in the log; a mapper on package device does not have this limit.
func AnomalyDetectionHandler[V any, C DeviceReader[V]](ctx context.Context, twin *common.Twin, client C, visitor *V, dataModel *common.DataModel) {
	h, err := Default() //nolint:contextcheck // the default handler outlives every device
	if err != nil {
		logs.ErrorS(err, "Anomaly detection is off")
		return
	}
	if err := Watch(ctx, h, twin, client, visitor, dataModel); err != nil {
		logs.ErrorS(err, "Anomaly detection is off for this property")
	}
}

// Watch is [AnomalyDetectionHandler] on a handler of the caller's choice, with the error returned.
func Watch[V any, C DeviceReader[V]](ctx context.Context, h *Handler, twin *common.Twin, client C, visitor *V, dataModel *common.DataModel) error {
	if twin == nil || twin.Property == nil {
		return errors.New("admethod: the twin has no property (is it in the DeviceModel?)")
	}
	if visitor == nil {
		return fmt.Errorf("admethod: property %q has no visitor", twin.PropertyName)
	}
	property := *twin.Property // the caller goes on to use its own
	if len(property.PushMethod.AnomalyDetectionConfig) == 0 {
		if method := property.PushMethod.MethodName; method != "" {
			h.account.hides(method)
		}
		return nil
	}
	key := driver.Key{Property: property.PropertyName}
	if key.Property == "" {
		key.Property = twin.PropertyName
	}
	if dataModel != nil {
		key.Namespace, key.Device = dataModel.Namespace, dataModel.DeviceName
	}
	config, err := Parse(property.PushMethod.AnomalyDetectionConfig)
	if err != nil {
		err = fmt.Errorf("%v: %w", key, err)
		h.Reject(key, err) //nolint:contextcheck // sinks live as long as the handler
		return nil
	}
	cycle := Cycle(property.ReportCycle, common.DefaultReportCycle)
	binding, err := h.Bind(key, config, Meta{ //nolint:contextcheck // sinks live as long as the handler
		DataType: property.PProperty.DataType, Minimum: property.PProperty.Minimum, Maximum: property.PProperty.Maximum,
		Unit: property.PProperty.Unit, AccessMode: property.PProperty.AccessMode, Cycle: cycle, Model: property.ModelName,
	})
	if err != nil {
		return nil //nolint:nilerr // Bind has said it
	}
	v := *visitor // generated code gives each property its own; a copy keeps it so
	read := func() (any, error) { return client.GetDeviceData(&v) }
	return h.spawn(func(stop context.Context) { poll(ctx, stop, cycle, binding, read) }) //nolint:contextcheck // both end it
}

// Cycle is the duration that a collectCycle or reportCycle of a Device means, fallback for one that is not positive.
//
// The field has no unit. Mappers of KubeEdge's template take milliseconds, samples in KubeEdge's documentation are
// written in nanoseconds (10000000000 for ten seconds): values from 100,000,000 on, which would be more than a day in
// milliseconds, are nanoseconds here.
func Cycle(v int64, fallback time.Duration) time.Duration {
	const nanosecondsFrom = 100_000_000
	switch {
	case v <= 0:
		return fallback
	case v >= nanosecondsFrom:
		return time.Duration(v)
	}
	return time.Duration(v) * time.Millisecond
}

// spawn runs f in a goroutine that Shutdown joins; the context it gets ends when Shutdown begins.
func (h *Handler) spawn(f func(ctx context.Context)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != started {
		return fmt.Errorf("admethod: %w", ErrClosed)
	}
	ctx := h.ctx
	h.wg.Go(func() { _ = guard.Do("a goroutine of the handler", func() { f(ctx) }) }) // is logged
	return nil
}

// poll reads until one of the contexts ends. A read that fails is a missing reading; it is logged when reading begins
// to fail, not each time.
func poll(ctx, stop context.Context, cycle time.Duration, binding *Binding, read func() (any, error)) {
	defer binding.Close()
	ticker := time.NewTicker(cycle)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-stop.Done():
			return
		case <-ticker.C:
		}
		value, err := safely(read)
		if err != nil {
			if !failing {
				logs.ErrorS(err, "Cannot read the device for anomaly detection", "property", binding.Key().String())
			}
			failing = true
			continue
		}
		failing = false
		_ = guard.Do("a reading", func() { binding.ObserveAny(time.Now(), value) }) // is logged
	}
}

// safely shields the mapper from a device driver that panics.
func safely(read func() (any, error)) (v any, err error) {
	err = guard.Call("GetDeviceData", func() (err error) {
		v, err = read()
		return err
	})
	return v, err
}

var defaultHandler struct {
	sync.Mutex
	handler *Handler
}

// Environment variables that configure the [Default] handler, for mappers that have no configuration of their own
// for it.
const (
	EnvStateDir = "EDGE_ANOMALY_STATE_DIR" // Options.StateDir
	EnvModelDir = "EDGE_ANOMALY_MODEL_DIR" // Options.ModelDir
	EnvSinks    = "EDGE_ANOMALY_SINKS"     // Options.DefaultSinks, comma-separated
	// EnvAdapterOptions is Options.AdapterOptions, a JSON object such as
	// {"grpc":{"targets":{"plant-a":{"address":"detector.edge:6804"}}}}.
	EnvAdapterOptions = "EDGE_ANOMALY_ADAPTER_OPTIONS"
	EnvDeviceSinks    = "EDGE_ANOMALY_DEVICE_SINKS" // Options.DeviceSinks, comma-separated
)

// Default returns the handler that [AnomalyDetectionHandler] uses. The first call makes and starts it from the
// environment, unless [SetDefault] gave one.
func Default() (*Handler, error) {
	defaultHandler.Lock()
	defer defaultHandler.Unlock()
	if defaultHandler.handler != nil {
		return defaultHandler.handler, nil
	}
	opts := Options{StateDir: os.Getenv(EnvStateDir), ModelDir: os.Getenv(EnvModelDir)}
	if sinks := os.Getenv(EnvSinks); sinks != "" {
		opts.DefaultSinks = strings.Split(sinks, ",")
	}
	if sinks, set := os.LookupEnv(EnvDeviceSinks); set {
		opts.DeviceSinks = params.List(sinks)
	}
	if text := os.Getenv(EnvAdapterOptions); text != "" {
		var options map[string]map[string]any
		if err := json.Unmarshal([]byte(text), &options); err != nil {
			return nil, fmt.Errorf("%s: want a JSON object of objects: %w", EnvAdapterOptions, err)
		}
		opts.AdapterOptions = make(map[string]map[string]any, len(options))
		for name, nested := range options {
			flat, err := params.Flatten(nested)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", EnvAdapterOptions, name, err)
			}
			opts.AdapterOptions[name] = flat
		}
	}
	h, err := NewHandler(opts)
	if err != nil {
		return nil, err
	}
	if err := h.Start(context.Background()); err != nil { //nolint:forbidigo // the default handler belongs to the process
		return nil, err
	}
	defaultHandler.handler = h
	return h, nil
}

// SetDefault makes h, which is started, the handler that [AnomalyDetectionHandler] uses, and returns the one before it,
// or nil. nil forgets the current one. The caller shuts handlers down.
func SetDefault(h *Handler) (previous *Handler) {
	defaultHandler.Lock()
	defer defaultHandler.Unlock()
	previous, defaultHandler.handler = defaultHandler.handler, h
	return previous
}

// Shutdown shuts the [Default] handler down, if there is one. A generated mapper may call it before it exits; without
// it, what was learned since the last periodic snapshot is lost.
func Shutdown(ctx context.Context) error {
	if h := SetDefault(nil); h != nil {
		return h.Shutdown(ctx)
	}
	return nil
}
