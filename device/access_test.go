// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/util/parse"
)

func TestAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := &fakeDriver{read: func(_ context.Context, _ *fakeClient, p string) (any, error) {
			if p == "broken" {
				return nil, errors.New("no such register")
			}
			return 21.5, nil
		}}
		dev := fakeDevice("d", "a", "b+", "broken")
		dev.Properties[1].PProperty.DataType = "Int"
		dev.Twins[1].ObservedDesired.Value = "7"
		dev.Methods = []common.DeviceMethod{{Name: "set", PropertyNames: []string{"a", "b", "ghost"}}, {Name: "other"}}
		p := startPanel(t, PanelOptions{Driver: driver}, dev)
		advance(time.Second)

		got, err := p.GetDevice("ns/d")
		if err != nil || got.(*common.DeviceInstance).Twins[0].Reported.Value != "21.5" {
			t.Errorf("GetDevice: %v, %v", got, err)
		}
		got.(*common.DeviceInstance).Properties[0].PropertyName = "changed" // a copy
		twins, err := p.DeviceTwins("ns/d")
		if err != nil || len(twins) != 3 || twins[0].Reported.Metadata.Type != "float" || twins[1].ObservedDesired.Value != "7" {
			t.Errorf("DeviceTwins: %+v, %v", twins, err)
		}
		if state, err := p.DeviceState("ns/d"); state != "ok" || err != nil {
			t.Errorf("DeviceState: %q, %v", state, err)
		}
		methods, types, err := p.GetDeviceMethod("ns/d")
		if err != nil || !slices.Equal(methods["set"], []string{"a", "b", "ghost"}) || types["b"] != "int" {
			t.Errorf("GetDeviceMethod: %v, %v, %v", methods, types, err)
		}
		if v, typ, err := p.GetTwinResult("ns/d", "a"); v != "21.5" || typ != "float" || err != nil {
			t.Errorf("GetTwinResult: %q, %q, %v", v, typ, err)
		}
		raw, err := p.DealDeviceTwinGet("ns/d", "b")
		var results []parse.TwinResultResponse
		if err != nil || json.Unmarshal(raw.([]byte), &results) != nil || len(results) != 1 || results[0].PropertyName != "b" ||
			!strings.Contains(string(results[0].Payload), `"21.5"`) {
			t.Errorf("DealDeviceTwinGet: %s, %v", raw, err)
		}
		for what, err := range map[string]error{
			"twin of no property":     second(p.DealDeviceTwinGet("ns/d", "ghost")),
			"twin that fails":         second(p.DealDeviceTwinGet("ns/d", "")),
			"twin of no device":       second(p.DealDeviceTwinGet("ns/x", "a")),
			"result of no property":   third(p.GetTwinResult("ns/d", "ghost")),
			"result of no device":     third(p.GetTwinResult("ns/x", "a")),
			"methods of no device":    third(p.GetDeviceMethod("ns/x")),
			"state of no device":      second(p.DeviceState("ns/x")),
			"twins of no device":      second(p.DeviceTwins("ns/x")),
			"write to no device":      p.WriteDevice("set", "ns/x", "b", "1"),
			"write by no method":      p.WriteDevice("none", "ns/d", "b", "1"),
			"write by another method": p.WriteDevice("other", "ns/d", "b", "1"),
			"write of no property":    p.WriteDevice("set", "ns/d", "ghost", "1"),
			"write of read-only":      p.WriteDevice("set", "ns/d", "a", "1"),
			"write of a wrong type":   p.WriteDevice("set", "ns/d", "b", "1.5"),
			"model that is not there": second(p.GetModel("ns/none")),
		} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if err := p.WriteDevice("set", "ns/d", "b", "9"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"d/b=7 (int64)", "d/b=9 (int64)"}, driver.written()); diff != "" {
			t.Error(diff)
		}
	})
}

func second[T any](_ T, err error) error      { return err }
func third[T, U any](_ T, _ U, e error) error { return e }
