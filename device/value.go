// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"
)

// Reading is one value of one property, as read from the device. It is a plain value and safe to keep.
type Reading struct {
	Namespace, Device, Property string

	At    time.Time // when the read returned
	Value any       // of a basic type, as the driver returned it; nil with Err
	Text  string    // Value in text: floats without exponent, bytes as they are
	Type  string    // data type of the model, in lower case
	Err   error     // why there is no value
}

// readCycle is how often a property is read.
func readCycle(p *common.DeviceProperty) time.Duration {
	return admethod.Cycle(p.CollectCycle, admethod.Cycle(p.ReportCycle, common.DefaultCollectCycle))
}

// formatValue renders what plainValue returned. A float has the digits of its own width, and no exponent.
func formatValue(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", errors.New("the driver returned no value")
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("a value of type %T cannot be reported: %w", v, err)
	}
	return string(raw), nil
}

// plainValue copies what the driver could write to later and gives values of named types their basic type: what has a
// text of its own, such as an enumeration, becomes that text.
func plainValue(v any) any {
	switch v := v.(type) {
	case nil, bool, string, float64, float32, int, int64:
		return v
	case []byte:
		return append([]byte(nil), v...)
	case fmt.Stringer:
		return v.String()
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return r.Int()
	case r.CanUint():
		return r.Uint()
	case r.Kind() == reflect.Float32:
		return float32(r.Float())
	case r.CanFloat():
		return r.Float()
	case r.Kind() == reflect.Bool:
		return r.Bool()
	case r.Kind() == reflect.String:
		return r.String()
	default:
		return v
	}
}

// convertDesired turns the text of a desired value into what the data type of the model declares.
func convertDesired(dataType, text string) (any, error) {
	switch strings.ToLower(dataType) {
	case "int":
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return v, nil
		}
		// A number that passed through a float on its way, such as 3.0, is still the integer that was meant.
		if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
			return int64(f), nil
		}
		return nil, fmt.Errorf("got %q, want an integer", text)
	case "float", "double":
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("got %q, want a number", text)
		}
		return v, nil
	case "boolean":
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("got %q, want true or false", text)
		}
		return v, nil
	case "bytes":
		return []byte(text), nil
	case "string", "":
		return text, nil
	default:
		return nil, fmt.Errorf("data type %q cannot be written, want one of int, float, double, boolean, bytes, string", dataType)
	}
}

// writable reports whether the cloud may set the property.
func writable(p *common.DeviceProperty) bool {
	return strings.EqualFold(p.PProperty.AccessMode, "ReadWrite")
}

// knownState maps what a driver says to the states that EdgeCore accepts.
func knownState(state string) string {
	switch s := strings.ToLower(state); s {
	case common.DeviceStatusOK, common.DeviceStatusOnline, common.DeviceStatusOffline,
		common.DeviceStatusUnhealthy, common.DeviceStatusUnknown:
		return s
	case common.DeviceStatusDisCONN:
		return common.DeviceStatusOffline
	default:
		return common.DeviceStatusUnknown
	}
}
