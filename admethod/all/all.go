// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package all links everything that this module ships: every adapter, sink and detector driver. A mapper generated
// from KubeEdge's template needs no other import:
//
//	import admethod "github.com/kubeedge/edge-anomaly/admethod/all"
//
// and one line in dataHandler of device/device.go:
//
//	admethod.AnomalyDetectionHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
//
// Programs that want to choose import the parts that they want instead.
package all

import (
	"context"

	"github.com/kubeedge/mapper-framework/pkg/common"

	_ "github.com/kubeedge/edge-anomaly/admethod/grpcmethod" // adapter
	_ "github.com/kubeedge/edge-anomaly/admethod/httpapi"    // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/httpmethod" // adapter
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"  // adapter
	"github.com/kubeedge/edge-anomaly/admethod/mapper"
	_ "github.com/kubeedge/edge-anomaly/admethod/recorder"          // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/activity"     // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/devicestatus" // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/history"      // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/log"          // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/metrics"      // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/mqtt"         // sink
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/webhook"      // sink
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"             // detectors
)

// AnomalyDetectionHandler is [mapper.AnomalyDetectionHandler].
func AnomalyDetectionHandler[V any, C mapper.DeviceReader[V]](ctx context.Context, twin *common.Twin, client C, visitor *V, dataModel *common.DataModel) {
	mapper.AnomalyDetectionHandler(ctx, twin, client, visitor, dataModel)
}

// Shutdown is [mapper.Shutdown].
func Shutdown(ctx context.Context) error { return mapper.Shutdown(ctx) }
