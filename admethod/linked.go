// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import "github.com/kubeedge/edge-anomaly/pkg/registry"

const module = "github.com/kubeedge/edge-anomaly/admethod/"

// Where the library's own adapters and sinks are: a program links what it uses, and an error for one that it does not
// link says what to import.
var (
	adapterPackages = map[string]string{
		"grpc": module + "grpcmethod", "http": module + "httpmethod", "inprocess": module + "inprocess",
	}
	sinkPackages = map[string]string{
		"activity": module + "sink/activity", "api": module + "httpapi", "devicestatus": module + "sink/devicestatus",
		"history": module + "sink/history", "log": module + "sink/log", "metrics": module + "sink/metrics",
		"mqtt": module + "sink/mqtt", "recorder": module + "recorder", "webhook": module + "sink/webhook",
	}
)

// Adapters is the registry that adapters register themselves in when they are imported.
var Adapters = &AdapterRegistry{registry.Registry[AdapterFactory]{Packages: adapterPackages}}

// Sinks is the registry that sinks register themselves in when they are imported.
var Sinks = &SinkRegistry{registry.Registry[SinkFactory]{Packages: sinkPackages}}
