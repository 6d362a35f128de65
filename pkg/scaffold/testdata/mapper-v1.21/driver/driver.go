// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package driver has the structure of a generated mapper's driver, with a device that only counts.
package driver

import (
	"github.com/kubeedge/mapper-framework/pkg/common"
)

var reads float64

// NewClient returns a client that is not connected.
func NewClient(protocol ProtocolConfig) (*CustomizedClient, error) {
	return &CustomizedClient{ProtocolConfig: protocol}, nil
}

// InitDevice connects.
func (c *CustomizedClient) InitDevice() error { return nil }

// GetDeviceData reads a property.
func (c *CustomizedClient) GetDeviceData(visitor *VisitorConfig) (interface{}, error) {
	c.deviceMutex.Lock()
	defer c.deviceMutex.Unlock()
	reads++
	return reads, nil
}

// DeviceDataWrite writes a property by a method of the device.
func (c *CustomizedClient) DeviceDataWrite(visitor *VisitorConfig, deviceMethodName string, propertyName string, data interface{}) error {
	return nil
}

// SetDeviceData writes a property.
func (c *CustomizedClient) SetDeviceData(data interface{}, visitor *VisitorConfig) error { return nil }

// StopDevice disconnects.
func (c *CustomizedClient) StopDevice() error { return nil }

// GetDeviceStates says how the device is.
func (c *CustomizedClient) GetDeviceStates() (string, error) { return common.DeviceStatusOK, nil }
