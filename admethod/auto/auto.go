// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package auto links what detection inside a mapper needs and no more: the adapter inprocess, all detectors, and the
// sink log. A mapper generated from KubeEdge's template imports it instead of package all where its program is to stay
// small, and other sinks and adapters beside it by blank import:
//
//	import (
//		admethod "github.com/kubeedge/edge-anomaly/admethod/auto"
//		_ "github.com/kubeedge/edge-anomaly/admethod/sink/devicestatus"
//	)
package auto

import (
	"context"

	"github.com/kubeedge/mapper-framework/pkg/common"

	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess" // adapter
	"github.com/kubeedge/edge-anomaly/admethod/mapper"
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/log" // sink
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"    // detectors
)

// AnomalyDetectionHandler is [mapper.AnomalyDetectionHandler].
func AnomalyDetectionHandler[V any, C mapper.DeviceReader[V]](ctx context.Context, twin *common.Twin, client C, visitor *V, dataModel *common.DataModel) {
	mapper.AnomalyDetectionHandler(ctx, twin, client, visitor, dataModel)
}

// Shutdown is [mapper.Shutdown].
func Shutdown(ctx context.Context) error { return mapper.Shutdown(ctx) }
