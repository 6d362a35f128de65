// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/room/driver"
)

// StreamHandler handles a property that is a stream.
func StreamHandler(twin *common.Twin, client *driver.CustomizedClient, visitorConfig *driver.VisitorConfig) error {
	return errors.New("this mapper was generated without streams")
}
