// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"encoding/json"
	"sync"

	"github.com/kubeedge/mapper-framework/pkg/common"
)

// CustomizedDev is a device and its client.
type CustomizedDev struct {
	Instance         common.DeviceInstance
	CustomizedClient *CustomizedClient
}

// CustomizedClient speaks to a device.
type CustomizedClient struct {
	deviceMutex sync.Mutex
	ProtocolConfig
}

// ProtocolConfig is what a Device says of its protocol.
type ProtocolConfig struct {
	ProtocolName string `json:"protocolName"`
	ConfigData   `json:"configData"`
}

// ConfigData is the protocol's part of it.
type ConfigData struct{}

// VisitorConfig is what a Device says of a property.
type VisitorConfig struct {
	ProtocolName      string `json:"protocolName"`
	VisitorConfigData `json:"configData"`
}

// VisitorConfigData is the protocol's part of it.
type VisitorConfigData struct {
	DataType string `json:"dataType"`
}

// AnomalyDetectionRequest is a reading to be judged.
type AnomalyDetectionRequest struct {
	Enabled                bool            `json:"enabled"`
	VisitorConfig          VisitorConfig   `json:"visitorConfig"`
	AnomalyDetectionConfig json.RawMessage `json:"anomalyDetectionConfig"`
	Data                   interface{}     `json:"data"`
}
