// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"log"
	"time"

	"k8s.io/klog/v2"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/grpcclient"
	"github.com/kubeedge/room/driver"
)

// DeviceStates reports the state of a device.
type DeviceStates struct {
	Client          *driver.CustomizedClient
	DeviceName      string
	DeviceNamespace string
	ReportToCloud   bool
	ReportCycle     time.Duration
}

// PushStatesToEdgeCore reports the state once.
func (deviceStates *DeviceStates) PushStatesToEdgeCore() {
	states, err := deviceStates.Client.GetDeviceStates()
	if err != nil {
		klog.Error(err)
		return
	}
	request := &dmiapi.ReportDeviceStatesRequest{DeviceName: deviceStates.DeviceName, State: states, DeviceNamespace: deviceStates.DeviceNamespace}
	log.Printf("send statesRequest", request.DeviceName, request.State)
	if err := grpcclient.ReportDeviceStates(request); err != nil {
		klog.Error(err)
	}
}

// Run reports the state until ctx ends.
func (deviceStates *DeviceStates) Run(ctx context.Context) {
	ticker := time.NewTicker(2 * time.Second)
	for {
		select {
		case <-ticker.C:
			deviceStates.PushStatesToEdgeCore()
		case <-ctx.Done():
			return
		}
	}
}
