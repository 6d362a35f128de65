// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"k8s.io/klog/v2"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/config"
	"github.com/kubeedge/mapper-framework/pkg/grpcclient"
	"github.com/kubeedge/mapper-framework/pkg/grpcserver"
	"github.com/kubeedge/mapper-framework/pkg/httpserver"
	"github.com/kubeedge/room/device"
)

func main() {
	klog.InitFlags(nil)
	defer klog.Flush()
	c, err := config.Parse()
	if err != nil {
		klog.Fatal(err)
	}
	deviceList, deviceModelList, err := grpcclient.RegisterMapper(true)
	if err != nil {
		klog.Fatal(err)
	}
	panel := device.NewDevPanel()
	if err := panel.DevInit(deviceList, deviceModelList); err != nil && !errors.Is(err, device.ErrEmptyData) {
		klog.Fatal(err)
	}
	go panel.DevStart()
	go httpserver.NewRestServer(panel, c.Common.HTTPPort).StartServer()
	server := grpcserver.NewServer(grpcserver.Config{SockPath: c.GrpcServer.SocketPath, Protocol: common.ProtocolCustomized}, panel)
	defer server.Stop()
	if err := server.Start(); err != nil {
		klog.Fatal(err)
	}
}
