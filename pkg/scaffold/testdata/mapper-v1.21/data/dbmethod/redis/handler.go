// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/room/driver"
)

// DataHandler stores a property's readings.
func DataHandler(ctx context.Context, twin *common.Twin, client *driver.CustomizedClient, visitorConfig *driver.VisitorConfig, dataModel *common.DataModel) {
	klog.V(2).Infof("%s has no database", twin.PropertyName)
}
