// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package device has the structure of the part of a generated mapper that handles a device's properties.
package device

import (
	"context"
	"encoding/json"

	"k8s.io/klog/v2"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/room/driver"
)

// Start handles the properties of a device.
func Start(ctx context.Context, dev *driver.CustomizedDev) { go dataHandler(ctx, dev) }

func dataHandler(ctx context.Context, dev *driver.CustomizedDev) {
	for _, twin := range dev.Instance.Twins {
		var visitorConfig driver.VisitorConfig

		err := json.Unmarshal(twin.Property.Visitors, &visitorConfig)
		if err != nil {
			klog.Errorf("Unmarshal VisitorConfig error: %v", err)
			continue
		}
		// handle push method
		if twin.Property.PushMethod.MethodConfig != nil && twin.Property.PushMethod.MethodName != "" {
			dataModel := common.NewDataModel(dev.Instance.Name, twin.Property.PropertyName, dev.Instance.Namespace, common.WithType(twin.ObservedDesired.Metadata.Type))
			pushHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
		}
	}
}

func pushHandler(context.Context, *common.Twin, *driver.CustomizedClient, *driver.VisitorConfig, *common.DataModel) {
}
