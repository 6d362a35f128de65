// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const namespace = "plant-1"

// property is what a kind of device has.
type property struct {
	name, unit   string
	level, noise float64
	writable     bool // it is what it is told to be
}

// kind is a DeviceModel.
type kind struct {
	model      string
	devices    int
	byMQTT     bool // its mapper pushes to a broker, and reports no twins
	properties []property
}

var plant = []kind{
	{model: "pump", devices: 6, properties: []property{{name: "pressure", unit: "bar", level: 4, noise: 0.05}, {name: "flow", unit: "m3/h", level: 12, noise: 0.2}}},
	{model: "valve", devices: 3, properties: []property{{name: "position", unit: "%", level: 40, writable: true}}},
	{model: "hall", devices: 4, byMQTT: true, properties: []property{{name: "temperature", unit: "°C", level: 21, noise: 0.1}}},
}

// device is a device of the plant, as its mapper sees it.
type device struct {
	*kind
	name    string
	random  *rand.Rand
	silent  bool
	desired string
	sensors []sensor // of the properties, in their order
}

// sensor is where a property is measured.
type sensor struct {
	*property
	text   string // of the last reading
	spoils func(healthy float64, since int) float64
	since  int // readings since it is broken
}

func newPlant() (all []*device) {
	for k := range plant {
		for i := range plant[k].devices {
			d := &device{kind: &plant[k], name: fmt.Sprintf("%s-%d", plant[k].model, i+1), random: rand.New(rand.NewPCG(uint64(k), uint64(i)))}
			for p := range d.properties {
				d.sensors = append(d.sensors, sensor{property: &d.properties[p]})
				if d.properties[p].writable {
					d.desired = format(d.properties[p].level)
				}
			}
			all = append(all, d)
		}
	}
	return all
}

// read reads all sensors, the tick-th time.
func (d *device) read(tick int) {
	for i := range d.sensors {
		s := &d.sensors[i]
		v := s.level + s.noise*(d.random.NormFloat64()+math.Sin(float64(tick)/17))
		if s.spoils != nil {
			v = s.spoils(v, s.since)
			s.since++
		}
		s.text = format(v)
	}
}

func (d *device) sensor(property string) *sensor {
	for i := range d.sensors {
		if d.sensors[i].name == property {
			return &d.sensors[i]
		}
	}
	return nil
}

func format(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// modelObject is the DeviceModel.
func (k *kind) modelObject() *v1beta1.DeviceModel {
	m := &v1beta1.DeviceModel{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: k.model}}
	for _, p := range k.properties {
		access := v1beta1.ReadOnly
		if p.writable {
			access = v1beta1.ReadWrite
		}
		m.Spec.Properties = append(m.Spec.Properties, v1beta1.ModelProperty{Name: p.name, Type: v1beta1.DOUBLE, AccessMode: access, Unit: p.unit})
	}
	return m
}

// object is the Device, as somebody wrote it who knows nothing of detection.
func (d *device) object() *v1beta1.Device {
	o := &v1beta1.Device{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: d.name, Labels: map[string]string{"line": "3"}}}
	o.Spec.DeviceModelRef = &corev1.LocalObjectReference{Name: d.model}
	for _, p := range d.properties {
		one := v1beta1.DeviceProperty{Name: p.name, ReportToCloud: !d.byMQTT, ReportCycle: int64(tick / time.Millisecond)}
		if p.writable {
			one.Desired.Value = d.desired
		}
		o.Spec.Properties = append(o.Spec.Properties, one)
	}
	return o
}

// status is the DeviceStatus that CloudCore makes with the Device.
func (d *device) status() *v1beta1.DeviceStatus {
	return &v1beta1.DeviceStatus{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: d.name}}
}

// fault is something that goes wrong.
type fault struct {
	device, property string
	what             string   // in words
	kinds            []string // of which each is a right name for it
	begin            func(*device)
}

const everything = "all" // properties of a device

var faults = []fault{
	{"pump-1", "pressure", "the sensor stands still", []string{"freeze"}, func(d *device) {
		s := d.sensor("pressure")
		last, _ := strconv.ParseFloat(s.text, 64)
		s.spoils = func(float64, int) float64 { return last }
	}},
	{"pump-2", "flow", "jumps to half", []string{"level", "spike", "range"}, func(d *device) {
		d.sensor("flow").spoils = func(v float64, _ int) float64 { return v / 2 }
	}},
	{"pump-3", "pressure", "drifts, by 0.05 bar from one reading to the next", []string{"drift", "level"}, func(d *device) {
		d.sensor("pressure").spoils = func(v float64, since int) float64 { return v + 0.05*float64(since) }
	}},
	{"pump-4", everything, "the device says nothing any more", []string{"missing"}, func(d *device) { d.silent = true }},
	{"valve-1", "position", "is to open to 80 %, and does not", []string{"desired"}, func(d *device) { d.desired = "80" }},
	{"hall-1", "temperature", "jumps by 6 °C (by MQTT)", []string{"level", "spike", "range"}, func(d *device) {
		d.sensor("temperature").spoils = func(v float64, _ int) float64 { return v + 6 }
	}},
	{"hall-2", "temperature", "nothing comes any more (by MQTT)", []string{"missing"}, func(d *device) { d.silent = true }},
}
