// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/room/driver"
)

func TestDataHandler(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	property := &common.DeviceProperty{PropertyName: "temperature", Visitors: json.RawMessage("{}")}
	property.PProperty.AccessMode = "ReadOnly"
	dataHandler(ctx, &driver.CustomizedDev{
		Instance:         common.DeviceInstance{Name: "room", Namespace: "default", Twins: []common.Twin{{PropertyName: "temperature", Property: property}}},
		CustomizedClient: new(driver.CustomizedClient),
	})
}
