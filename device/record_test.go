// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/device"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func TestRecord(t *testing.T) {
	var got []store.Entry
	consumer := device.Record(func(e store.Entry) bool { got = append(got, e); return true })
	at := time.Unix(1_700_000_000, 0)
	reading := func(value any, text string) device.Reading {
		return device.Reading{Namespace: "default", Device: "light-1", Property: "lux", At: at, Value: value, Text: text}
	}
	entry := func(value float64, text string) store.Entry {
		return store.Entry{Namespace: "default", Device: "light-1", Property: "lux", At: at, Value: value, Text: text, Score: math.NaN()}
	}
	var want []store.Entry
	for _, c := range []struct {
		value any
		text  string
		want  store.Entry
	}{
		{1.5, "1.5", entry(1.5, "")}, {float32(2), "2", entry(2, "")}, {3, "3", entry(3, "")}, {int64(4), "4", entry(4, "")},
		{uint64(5), "5", entry(5, "")}, {true, "true", entry(1, "")}, {false, "false", entry(0, "")},
		{"open", "open", entry(math.NaN(), "open")}, {[]byte("a"), "a", entry(math.NaN(), "a")},
	} {
		want = append(want, c.want)
		consumer.Consume(reading(c.value, c.text))
	}
	failed := reading(nil, "")
	failed.Err = errors.New("no answer")
	consumer.Consume(failed)
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
