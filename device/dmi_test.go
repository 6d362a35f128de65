// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/global"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

// within bounds a test that waits for something that must happen.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// socketPath is short enough for a unix socket whatever the test is called.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dmi") //nolint:usetesting // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "m.sock")
}

func startEdgeCore(t *testing.T, devices ...string) *edgecoretest.EdgeCore {
	t.Helper()
	e := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
	if err := e.AddModel(within(t), crdModel("sensor")); err != nil {
		t.Fatal(err)
	}
	for _, name := range devices {
		if err := e.AddDevice(within(t), crdDevice(name, "sensor")); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func crdModel(name string) *v1beta1.DeviceModel {
	return &v1beta1.DeviceModel{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1beta1.DeviceModelSpec{Protocol: "http", Properties: []v1beta1.ModelProperty{
			{Name: "temperature", Type: v1beta1.DOUBLE, AccessMode: v1beta1.ReadOnly},
			{Name: "power", Type: v1beta1.STRING, AccessMode: v1beta1.ReadWrite},
		}},
	}
}

func crdDevice(name, model string) *v1beta1.Device {
	return &v1beta1.Device{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1beta1.DeviceSpec{
			DeviceModelRef: &corev1.LocalObjectReference{Name: model},
			Protocol:       v1beta1.ProtocolConfig{ProtocolName: "http"},
			Properties:     []v1beta1.DeviceProperty{{Name: "temperature"}, {Name: "power"}},
		},
	}
}

func newClient(t *testing.T, e *edgecoretest.EdgeCore) *DMIClient {
	t.Helper()
	c, err := NewDMIClient(ClientOptions{
		Socket: e.Socket(), Timeout: 2 * time.Second, RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func mapperInfo(socket string) *dmiapi.MapperInfo {
	return &dmiapi.MapperInfo{Name: "mapper", Version: "v1", ApiVersion: "v1beta1", Protocol: "http", Address: []byte(socket), State: "ok"}
}

// fakePanel is a global.DevPanel that records, as "method id".
type fakePanel struct {
	global.DevPanel // panics where a test does not expect a call

	mu      sync.Mutex
	log     []string
	models  map[string]common.DeviceModel
	devices map[string]*common.DeviceInstance
	hook    func(call string) // may panic or block
}

func newFakePanel() *fakePanel {
	return &fakePanel{models: map[string]common.DeviceModel{}, devices: map[string]*common.DeviceInstance{}}
}

func (p *fakePanel) record(method, id string) {
	p.mu.Lock()
	p.log = append(p.log, method+" "+id)
	hook := p.hook
	p.mu.Unlock()
	if hook != nil {
		hook(method)
	}
}

func (p *fakePanel) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	log := p.log
	p.log = nil
	return log
}

func (p *fakePanel) UpdateDev(_ *common.DeviceModel, dev *common.DeviceInstance) {
	p.record("UpdateDev", fmt.Sprintf("%s with %d properties", dev.ID, len(dev.Properties)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices[dev.ID] = dev
}

func (p *fakePanel) RemoveDevice(id string) error {
	p.record("RemoveDevice", id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.devices[id] == nil {
		return errors.New("there is no such device")
	}
	delete(p.devices, id)
	return nil
}

func (p *fakePanel) GetDevice(id string) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dev := p.devices[id]; dev != nil {
		return dev, nil
	}
	return nil, errUnknown
}

func (p *fakePanel) GetModel(id string) (common.DeviceModel, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.models[id]; ok {
		return m, nil
	}
	return common.DeviceModel{}, errUnknown
}

func (p *fakePanel) UpdateModel(m *common.DeviceModel) {
	p.record("UpdateModel", m.ID)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.models[m.ID] = *m
}

func (p *fakePanel) RemoveModel(id string) {
	p.record("RemoveModel", id)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.models, id)
}
