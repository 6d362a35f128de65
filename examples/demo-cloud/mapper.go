// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
)

// tick is the time between two readings of a device: everything is 40 times faster than in the field.
const tick = 25 * time.Millisecond

// mapper knows nothing of detection. It reads the devices, and what it reads reaches the cloud as KubeEdge has it: twins in
// the DeviceStatus, which CloudCore patches, or messages to a broker, as mappers of KubeEdge's template push them.
type mapper struct {
	cloud  *cloudtest.Server
	broker *mochi.Server
	begun  time.Time
	ticks  int
}

// startBroker starts a broker on a port of this machine.
func startBroker(ctx context.Context) (broker *mochi.Server, url string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	broker = mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	return broker, "mqtt://" + l.Addr().String(),
		errors.Join(broker.AddHook(new(open), nil), broker.AddListener(listeners.NewNet("tcp", l)), broker.Serve())
}

// open lets every client of this machine in.
type open struct{ mochi.HookBase }

func (*open) Provides(b byte) bool                                     { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }
func (*open) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*open) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

// report reads all devices once, and reports them.
func (m *mapper) report(ctx context.Context, all []*device) error {
	now := time.Now()
	for _, d := range all {
		d.read(m.ticks)
		if d.silent {
			continue
		}
		var err error
		if d.byMQTT {
			err = m.publish(d)
		} else {
			err = m.patch(ctx, d, now)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	m.ticks++
	return nil
}

// patch does what CloudCore does when the edge reports twins.
func (m *mapper) patch(ctx context.Context, d *device, now time.Time) error {
	twins := make([]any, 0, len(d.sensors))
	for i := range d.sensors {
		twins = append(twins, map[string]any{
			"propertyName": d.sensors[i].name, "observedDesired": map[string]any{"value": d.desired},
			"reported": map[string]any{"value": d.sensors[i].text, "metadata": map[string]any{
				"timestamp": strconv.FormatInt(now.UnixMilli(), 10), "type": "string",
			}},
		})
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{
		"twins": twins, "state": "online", "lastOnlineTime": now.UTC().Format(time.RFC3339),
	}})
	if err != nil {
		return err
	}
	url := fmt.Sprintf("%s/apis/devices.kubeedge.io/v1beta1/namespaces/%s/devicestatuses/%s", m.cloud.URL, namespace, d.name)
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/merge-patch+json")
	resp, err := m.cloud.Client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// publish pushes what the mappers of KubeEdge's template push. Their times have no parts of a second, so those of a plant
// that is 40 times faster are a second apart.
func (m *mapper) publish(d *device) error {
	at := m.begun.Add(time.Duration(m.ticks) * time.Second)
	for i := range d.sensors {
		topic := fmt.Sprintf("%s/%s/%s", namespace, d.name, d.sensors[i].name)
		payload := fmt.Sprintf("time is %s  %s: %s", at.Format(time.DateTime), topic, d.sensors[i].text)
		if err := m.broker.Publish(topic, []byte(payload), false, 1); err != nil {
			return err
		}
	}
	return nil
}
