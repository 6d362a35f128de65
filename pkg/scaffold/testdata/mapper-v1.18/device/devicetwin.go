// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"time"

	"k8s.io/klog/v2"

	dmiapi "github.com/kubeedge/kubeedge/pkg/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/grpcclient"
	"github.com/kubeedge/mapper-framework/pkg/util/parse"
	"github.com/kubeedge/room/driver"
)

// TwinData reports a twin.
type TwinData struct {
	DeviceName      string
	DeviceNamespace string
	Client          *driver.CustomizedClient
	Name            string
	Type            string
	ObservedDesired common.TwinProperty
	VisitorConfig   *driver.VisitorConfig
	Topic           string
	Results         interface{}
	CollectCycle    time.Duration
	ReportToCloud   bool
}

// GetPayLoad reads the property.
func (td *TwinData) GetPayLoad() ([]byte, error) {
	data, err := td.Client.GetDeviceData(td.VisitorConfig)
	if err != nil {
		return nil, err
	}
	value, err := common.ConvertToString(data)
	if err != nil {
		return nil, err
	}
	return common.CreateMessageTwinUpdate(td.Name, td.Type, value, td.ObservedDesired.Value)
}

// PushToEdgeCore reports the twin once.
func (td *TwinData) PushToEdgeCore() {
	payload, err := td.GetPayLoad()
	if err != nil {
		klog.Error(err)
		return
	}
	var msg common.DeviceTwinUpdate
	if err := json.Unmarshal(payload, &msg); err != nil {
		klog.Error(err)
		return
	}
	request := &dmiapi.ReportDeviceStatusRequest{
		DeviceName: td.DeviceName, DeviceNamespace: td.DeviceNamespace,
		ReportedDevice: &dmiapi.DeviceStatus{Twins: parse.ConvMsgTwinToGrpc(msg.Twin)},
	}
	if err := grpcclient.ReportDeviceStatus(request); err != nil {
		klog.Error(err)
	}
}

// Run reports the twin until ctx ends.
func (td *TwinData) Run(ctx context.Context) {
	if !td.ReportToCloud {
		return
	}
	if td.CollectCycle == 0 {
		td.CollectCycle = common.DefaultCollectCycle
	}
	ticker := time.NewTicker(td.CollectCycle)
	for {
		select {
		case <-ticker.C:
			td.PushToEdgeCore()
		case <-ctx.Done():
			return
		}
	}
}
