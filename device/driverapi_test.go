// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/mapper-framework/pkg/common"
)

type visitor struct {
	Register int     `param:"register" min:"0" max:"65535"`
	Scale    float64 `param:"scale"`
	Path     string  `param:"path"`
	Signed   bool    `param:"signed"`
}

func (v *visitor) SetDefaults() { v.Scale = 1 }

func (v *visitor) Validate() error {
	if v.Path == "" {
		return errors.New("path is missing")
	}
	return nil
}

func ExampleDecodeVisitor() {
	p := &common.DeviceProperty{
		PropertyName: "temperature",
		Visitors:     json.RawMessage(`{"protocolName":"room","configData":{"register":3.0,"path":"/t"}}`),
	}
	v, err := DecodeVisitor[visitor](p)
	fmt.Println(v, err)
	// Output: {3 1 /t false} <nil>
}

func TestDecodeConfigData(t *testing.T) {
	tests := []struct {
		name, data string
		want       visitor
		wantErrors []string
	}{
		{name: "numbers as EdgeCore sends them", data: `{"register":3.0,"scale":"0.5","signed":"true","path":"p"}`,
			want: visitor{Register: 3, Scale: 0.5, Path: "p", Signed: true}},
		{name: "defaults", data: `{"path":"p"}`, want: visitor{Scale: 1, Path: "p"}},
		{name: "all errors at once", data: `{"register":3.5,"scal":2,"signed":"maybe"}`,
			wantErrors: []string{"register", "3.5", `did you mean "scale"`, "signed"}},
		{name: "out of bounds", data: `{"register":70000,"path":"p"}`, wantErrors: []string{`property "x"`, "visitors.configData", "65535"}},
		{name: "checked last", data: `{}`, wantErrors: []string{"path is missing"}},
		{name: "not an object", data: `7`, wantErrors: []string{"visitors.configData"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeVisitor[visitor](&common.DeviceProperty{
				PropertyName: "x", Visitors: json.RawMessage(`{"protocolName":"p","configData":` + tt.data + `}`),
			})
			if (err != nil) != (tt.wantErrors != nil) {
				t.Fatalf("error %v", err)
			}
			for _, want := range tt.wantErrors {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if err == nil && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	if _, err := DecodeProtocol[struct {
		Port int `param:"port"`
	}](&common.DeviceInstance{ID: "ns/d", PProtocol: common.ProtocolConfig{ConfigData: json.RawMessage(`{"configData":{"port":"x"}}`)}}); err == nil ||
		!strings.Contains(err.Error(), "device ns/d: protocol.configData: port") {
		t.Errorf("protocol: %v", err)
	}
}

func TestConvertDesired(t *testing.T) {
	tests := []struct {
		dataType, text string
		want           any // nil: an error
	}{
		{"int", "42", int64(42)}, {"INT", "-3.0", int64(-3)}, {"int", "1e3", int64(1000)}, {"int", "9223372036854775807", int64(math.MaxInt64)},
		{"int", "3.5", nil}, {"int", "1e300", nil}, {"int", "x", nil}, {"int", "NaN", nil},
		{"float", "0.1", 0.1}, {"double", "1e20", 1e20}, {"float", "", nil},
		{"boolean", "true", true}, {"Boolean", "0", false}, {"boolean", "yes", nil},
		{"bytes", "ab", []byte("ab")}, {"string", "ON", "ON"}, {"", "ON", "ON"}, {"stream", "x", nil},
	}
	for _, tt := range tests {
		got, err := convertDesired(tt.dataType, tt.text)
		if (err != nil) != (tt.want == nil) || err == nil && !cmp.Equal(got, tt.want) {
			t.Errorf("%s %q: got %#v, %v; want %#v", tt.dataType, tt.text, got, err, tt.want)
		}
	}
}

type mode int

func (m mode) String() string { return [...]string{"off", "auto"}[m] }

type celsius float64

func TestFormatValue(t *testing.T) {
	tests := []struct {
		in   any
		want string
	}{
		{1.5, "1.5"}, {float32(0.1), "0.1"}, {1e20, "100000000000000000000"}, {celsius(2.5), "2.5"}, {true, "true"},
		{7, "7"}, {int8(-7), "-7"}, {uint64(math.MaxUint64), "18446744073709551615"}, {uint8(200), "200"},
		{"x", "x"}, {[]byte("ab"), "ab"}, {mode(1), "auto"}, {[]int{1, 2}, "[1,2]"},
	}
	for _, tt := range tests {
		if got, err := formatValue(plainValue(tt.in)); err != nil || got != tt.want {
			t.Errorf("%#v: got %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []any{nil, make(chan int), math.NaN} {
		if _, err := formatValue(plainValue(bad)); err == nil {
			t.Errorf("%T: no error", bad)
		}
	}
	buf := []byte("ab")
	kept := plainValue(buf)
	buf[0] = 'x'
	if string(kept.([]byte)) != "ab" {
		t.Error("bytes alias the driver's")
	}
}

func TestKnownState(t *testing.T) {
	for in, want := range map[string]string{"ok": "ok", "OK": "ok", "online": "online", "disconnected": "offline", "broken": "unknown", "": "unknown"} {
		if got := knownState(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
