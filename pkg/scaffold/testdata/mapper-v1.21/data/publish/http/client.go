// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"encoding/json"

	"k8s.io/klog/v2"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/global"
)

// PushMethod publishes readings.
type PushMethod struct {
	HostName string `json:"hostName"`
}

// NewDataPanel reads the configuration.
func NewDataPanel(config json.RawMessage) (global.DataPanel, error) {
	pm := new(PushMethod)
	return pm, json.Unmarshal(config, pm)
}

// InitPushMethod connects.
func (pm *PushMethod) InitPushMethod() error { return nil }

// Push publishes a reading.
func (pm *PushMethod) Push(data *common.DataModel) {
	klog.V(2).Infof("%s: %s", pm.HostName, data.Value)
}
