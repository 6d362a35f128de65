// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"errors"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/kube"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "devicestatus"

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "writes the latest verdicts into the extension of each device's DeviceStatus",
		New:     func(s admethod.SinkSettings) (admethod.Sink, error) { return New(s) },
		Params:  func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Config is the mapper's configuration of the sink.
type Config struct {
	Extension  string        `param:"extension" doc:"key below .status.extensions that is the sink's own"`
	Kubeconfig string        `param:"kubeconfig" doc:"file that says how to reach the API server; empty: the pod's service account"`
	Context    string        `param:"context" doc:"context of the kubeconfig; empty: its current one"`
	Server     string        `param:"server" doc:"URL to write to instead, for EdgeCore's MetaServer: http://127.0.0.1:10550"`
	TokenFile  string        `param:"tokenFile" doc:"with server: file with a bearer token, read again when it changes"`
	CAFile     string        `param:"caFile" doc:"with server: certificates that an https server is trusted by"`
	Create     bool          `param:"create" doc:"create a DeviceStatus that is missing, owned by its Device; needs create on devicestatuses and get on devices"`
	Heartbeat  time.Duration `param:"heartbeat" min:"1s" doc:"longest time between two writes for a device whose verdicts keep coming but do not change"`
	Interval   time.Duration `param:"interval" min:"10ms" doc:"shortest time between two writes for a device"`
	Rate       float64       `param:"rate" min:"0.1" max:"10000" doc:"writes a second, of all devices together"`
	Writers    int           `param:"writers" min:"1" max:"64" doc:"writes under way at a time"`
	Timeout    time.Duration `param:"timeout" min:"100ms" doc:"time after which a write is given up and tried again"`
	Devices    int           `param:"devices" min:"1" max:"1000000" doc:"devices that are remembered at most; verdicts on others are refused"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Extension: "anomaly-detector", Heartbeat: 5 * time.Minute, Interval: time.Second, Rate: 50, Writers: 4,
		Timeout: 10 * time.Second, Devices: 20000,
	}
}

// connection is how to reach the server that the configuration names.
func (c *Config) connection() (*rest.Config, error) {
	if c.Extension == "" {
		return nil, errors.New("extension: a name, not an empty one")
	}
	return kube.Connection{
		Kubeconfig: c.Kubeconfig, Context: c.Context, Server: c.Server, TokenFile: c.TokenFile, CAFile: c.CAFile,
	}.Config()
}
