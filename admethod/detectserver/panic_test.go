// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"bytes"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// fragile is a driver that panics when it is opened.
func fragile() driver.Factory {
	return driver.NewFactory(driver.Info{Name: "fragile", Summary: "panics when it is opened"}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) { panic("in Open") })
}

// A panic in a call, by gRPC or by HTTP, ends the call, and neither the server nor the calls after it.
func TestPanicOfACall(t *testing.T) {
	c := Config{Insecure: true, Config: intake.Config{Drivers: driver.NewRegistry(fragile()), Defaults: map[string]any{"detector": "fragile"}}}
	address, _ := serve(t, c)
	for range 3 {
		stream := dial(t, address, insecure.NewCredentials())
		if err := stream.Send(&pb.DevicePropertyData{Namespace: "n", DeviceName: "d", PropertyName: "p", PropertyValue: "1"}); err != nil {
			t.Fatal(err)
		}
		if a, err := stream.Recv(); err == nil && a.GetSeverity() != pb.Severity_SEVERITY_UNSPECIFIED && a.GetSeverity() != pb.Severity_SEVERITY_UNKNOWN || status.Code(err) == codes.Unavailable {
			t.Errorf("%v, %v", a, err)
		}
	}
	address, _ = serveBatches(t, c)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range 3 {
		body := []byte(`{"readings":[{"namespace":"n","deviceName":"d","propertyName":"p","propertyValue":"1"}]}`)
		if resp, err := client.Post("http://"+address+"/v1/detect", "application/json", bytes.NewReader(body)); err == nil {
			_ = resp.Body.Close()
		}
	}
	resp, err := client.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
