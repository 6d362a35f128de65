// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package driver has the types of a generated mapper.
package driver

import "github.com/kubeedge/mapper-framework/pkg/common"

type CustomizedDev struct {
	Instance         common.DeviceInstance
	CustomizedClient *CustomizedClient
}

type CustomizedClient struct{}

type VisitorConfig struct {
	ProtocolName      string `json:"protocolName"`
	VisitorConfigData `json:"configData"`
}

type VisitorConfigData struct {
	DataType string `json:"dataType"`
}

func (c *CustomizedClient) GetDeviceData(visitor *VisitorConfig) (interface{}, error) {
	return 1.0, nil
}
