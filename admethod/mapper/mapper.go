// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mapper is KubeEdge's proposal for a mapper that was generated from its template: the framework's push method
// extended by anomaly detection, and the line that watches a property. Of all packages of admethod it alone, and who
// imports it, links mapper-framework. A mapper imports it with what is to be linked, as package admethod/all or auto.
package mapper

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

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// PushMethodConfig is the mapper framework's PushMethodConfig, extended by the method of anomaly detection.
type PushMethodConfig struct {
	common.PushMethodConfig
	ADMethod admethod.ADMethodConfig `json:"adMethod,omitzero"`
}

// ParsePushMethod extends a push method of a Device by what its anomalyDetection says, as [admethod.Parse] reads it.
func ParsePushMethod(c common.PushMethodConfig) (PushMethodConfig, error) {
	method, err := admethod.Parse(c.AnomalyDetectionConfig)
	return PushMethodConfig{PushMethodConfig: c, ADMethod: method}, err
}

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
func Watch[V any, C DeviceReader[V]](ctx context.Context, h *pipeline.Handler, twin *common.Twin, client C, visitor *V, dataModel *common.DataModel) error {
	if twin == nil || twin.Property == nil {
		return errors.New("admethod: the twin has no property (is it in the DeviceModel?)")
	}
	if visitor == nil {
		return fmt.Errorf("admethod: property %q has no visitor", twin.PropertyName)
	}
	property := *twin.Property // the caller goes on to use its own
	push, err := ParsePushMethod(property.PushMethod)
	if len(push.AnomalyDetectionConfig) == 0 {
		if push.MethodName != "" {
			hides(push.MethodName)
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
	if err != nil {
		err = fmt.Errorf("%v: %w", key, err)
		h.Reject(key, err) //nolint:contextcheck // sinks live as long as the handler
		return nil
	}
	cycle := admethod.Cycle(property.ReportCycle, common.DefaultReportCycle)
	binding, err := h.Bind(key, push.ADMethod, admethod.Meta{ //nolint:contextcheck // sinks live as long as the handler
		DataType: property.PProperty.DataType, Minimum: property.PProperty.Minimum, Maximum: property.PProperty.Maximum,
		Unit: property.PProperty.Unit, AccessMode: property.PProperty.AccessMode, Cycle: cycle, Model: property.ModelName,
	})
	if err != nil {
		return nil //nolint:nilerr // Bind has said it
	}
	v := *visitor // generated code gives each property its own; a copy keeps it so
	read := func() (any, error) { return client.GetDeviceData(&v) }
	return h.Go(func(stop context.Context) { poll(ctx, stop, cycle, binding, read) }) //nolint:contextcheck // both end it
}

var hidden sync.Once

// hides says once that the framework's parser may have kept something from us.
func hides(method string) {
	hidden.Do(func() {
		logs.ErrorS(nil, "A property pushes its readings; whether it has anomalyDetection beside that cannot be seen, as KubeEdge's framework "+
			"drops it beside http, mqtt and otel: such a property is not watched. adctl lint finds these; a mapper that adctl new writes takes both",
			"pushMethod", method)
	})
}

// poll reads until one of the contexts ends. A read that fails is a missing reading; it is logged when reading begins
// to fail, not each time.
func poll(ctx, stop context.Context, cycle time.Duration, binding *pipeline.Binding, read func() (any, error)) {
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
	handler *pipeline.Handler
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
func Default() (*pipeline.Handler, error) {
	defaultHandler.Lock()
	defer defaultHandler.Unlock()
	if defaultHandler.handler != nil {
		return defaultHandler.handler, nil
	}
	opts := pipeline.Options{StateDir: os.Getenv(EnvStateDir), ModelDir: os.Getenv(EnvModelDir)}
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
	h, err := pipeline.NewHandler(opts)
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
func SetDefault(h *pipeline.Handler) (previous *pipeline.Handler) {
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
