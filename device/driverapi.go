// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Driver is what the author of a mapper writes: how devices of one protocol are reached.
//
// The [Panel] calls Connect for several devices concurrently, but the methods of one [Client] strictly one after the
// other, so a client needs no lock of its own. A panic in any of the methods is caught and counts as an error.
type Driver interface {
	// Connect reaches the device and returns a client for it. ctx covers the dialling only; a client outlives it. On
	// an error the panel reports the device offline and tries again, with growing pauses.
	//
	// A device whose protocol settings change gets a new client; a change of anything else keeps the client.
	Connect(ctx context.Context, dev *common.DeviceInstance) (Client, error)
}

// Client speaks to one connected device. Each call ends when its ctx does: a client that does not return soon after is
// given up, and the device connected anew.
//
// Methods return an error that wraps [ErrNotConnected] when the connection is gone: the panel then connects anew at
// once. After any other error it goes on with this client, and connects anew only when every read keeps failing.
type Client interface {
	// Read returns the current value of a property: a boolean, any integer or float, a string or []byte.
	Read(ctx context.Context, p *common.DeviceProperty) (any, error)

	// Write sets a property. value has the type that the model declares: int64 (int), float64 (float, double), bool
	// (boolean), []byte (bytes), or string.
	Write(ctx context.Context, p *common.DeviceProperty, value any) error

	// State returns the state of the device as [common.DeviceStatusOK] and its siblings name it.
	State(ctx context.Context) (string, error)

	// Close releases the client. It is called once, after all other calls have returned.
	Close(ctx context.Context) error
}

// ErrNotConnected says that the connection to a device is gone and worth making anew.
var ErrNotConnected = errors.New("not connected")

// DecodeProtocol decodes the settings under protocol.configData of the Device into T, a struct whose fields name their
// settings in `param` tags (see package pkg/params):
//
//	type Connection struct {
//		Address string `param:"address"`
//		Unit    uint8  `param:"unit" min:"1" max:"247"`
//	}
//
// Decoding is strict: every unknown key, wrong type and value out of bounds is an error that names the device and the
// key, all joined. Numbers arrive from EdgeCore as float32 or text: an integer field takes 3, 3.0 and "3" and rejects
// 3.5. Defaults come from a method SetDefaults() and a last check from a method Validate() error, where *T has them.
func DecodeProtocol[T any](dev *common.DeviceInstance) (T, error) {
	var cfg T
	if err := decodeConfigData(&cfg, dev.PProtocol.ConfigData); err != nil {
		return cfg, fmt.Errorf("device %s: protocol.configData: %w", dev.ID, err)
	}
	return cfg, nil
}

// DecodeVisitor decodes the settings under visitors.configData of a property, by the rules of [DecodeProtocol].
func DecodeVisitor[T any](p *common.DeviceProperty) (T, error) {
	var cfg T
	if err := decodeConfigData(&cfg, p.Visitors); err != nil {
		return cfg, fmt.Errorf("property %q: visitors.configData: %w", p.PropertyName, err)
	}
	return cfg, nil
}

func decodeConfigData(dst any, raw json.RawMessage) error {
	var envelope struct {
		ConfigData map[string]any `json:"configData"`
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &envelope); err != nil {
			return err
		}
	}
	if d, ok := dst.(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
	flat, err := params.Flatten(envelope.ConfigData)
	if err != nil {
		return err
	}
	if err := params.Decode(dst, flat); err != nil {
		return err
	}
	if v, ok := dst.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}
