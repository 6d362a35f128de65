// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told lets the DeviceStatus of a device tell incidents, a pair of property and kind each.
func told(t *testing.T, cloud *cloudtest.Server, device string, pairs ...string) {
	t.Helper()
	s := &v1beta1.DeviceStatus{}
	s.Namespace, s.Name = namespace, device
	var incidents []any
	for i := 0; i < len(pairs); i += 2 {
		incidents = append(incidents, map[string]any{"property": pairs[i], "kind": pairs[i+1], "severity": "warning"})
	}
	s.Status.Extensions.Data = map[string]any{"anomaly-detector": map[string]any{"data": map[string]any{"incidents": incidents}}}
	if err := cloud.Put(s); err != nil {
		t.Fatal(err)
	}
}

// The demonstration fails where a fault is missed, takes another name, or something is found that is none.
func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name  string
		tells map[string][]string // by device
		want  string              // "" is all right
	}{
		{"all found", map[string][]string{"pump-1": {"pressure", "freeze"}, "pump-4": {"flow", "missing", "pressure", "missing"}}, ""},
		{"missed", map[string][]string{"pump-4": {"flow", "missing"}}, "pump-1/pressure: the sensor stands still: MISSED"},
		{"of another property", map[string][]string{"pump-1": {"flow", "freeze"}, "pump-4": {"flow", "missing"}}, "pump-1/pressure: the sensor stands still: MISSED\npump-1/flow: freeze, although nothing is wrong"},
		{"of another name", map[string][]string{"pump-1": {"pressure", "noise"}, "pump-4": {"flow", "missing"}}, "MISNAMED"},
		{"of another device", map[string][]string{"pump-1": {"pressure", "freeze"}, "pump-4": {"flow", "missing"}, "hall-3": {"temperature", "spike"}}, "hall-3/temperature: spike, although nothing is wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cloud := cloudtest.Start()
			defer cloud.Close()
			var a account
			now := time.Now()
			for i := range faults {
				if d := faults[i].device; d == "pump-1" || d == "pump-4" {
					a.outcomes = append(a.outcomes, outcome{fault: &faults[i], begun: now})
				}
			}
			for device, pairs := range tt.tells {
				told(t, cloud, device, pairs...)
			}
			for range 2 { // a second look finds nothing new
				if _, err := a.take(cloud, newPlant(), now.Add(time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			if news, err := a.take(cloud, newPlant(), now); len(news) > 0 || err != nil {
				t.Errorf("news %+v, %v", news, err)
			}
			err := a.verdict()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("verdict %v, want %q", err, tt.want)
			}
			if table := a.table(); strings.Count(table, "\n") != 3 {
				t.Errorf("table:\n%s", table)
			}
		})
	}
}

// Each fault is of a device that there is, and one device has one.
func TestFaults(t *testing.T) {
	broken := make(map[string]bool)
	for _, f := range faults {
		for _, d := range newPlant() {
			if d.name == f.device && !broken[f.device] && (f.property == everything || d.sensor(f.property) != nil) {
				broken[f.device] = true
				d.read(0)
				before := *d
				if f.begin(d); d.silent == before.silent && d.desired == before.desired && d.sensor(f.property).spoils == nil {
					t.Errorf("%s: nothing begins", f.device)
				}
			}
		}
	}
	if len(broken) != len(faults) {
		t.Errorf("broken: %v", broken)
	}
}
