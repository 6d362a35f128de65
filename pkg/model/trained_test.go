// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

func room() *model.Trained {
	return &model.Trained{
		Facts: model.Facts{
			Driver: "bayesnet", Members: []string{"light-1", "light-2", "brightness"}, Rows: 4000,
			From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
			Settings: map[string]string{"structure": "chowliu"},
			Metrics:  map[string]float64{"logLikelihood": -1.25},
		},
		Payload: []byte{0, 1, 255},
	}
}

func encode(tb testing.TB, m *model.Trained) []byte {
	tb.Helper()
	data, err := m.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	for name, m := range map[string]*model.Trained{
		"everything":  room(),
		"the least":   {Facts: model.Facts{Driver: "pca", Members: []string{"flow"}}, Payload: []byte{}},
		"odd names":   {Facts: model.Facts{Driver: "pca", Members: []string{"débit <l/s>", "a,b;c\n", `"`}}, Payload: []byte("x")},
		"big payload": {Facts: model.Facts{Driver: "iforest", Members: []string{"x"}}, Payload: bytes.Repeat([]byte("tree"), 1<<18)},
	} {
		got, err := model.Decode(encode(t, m))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEncodingIsStable(t *testing.T) {
	if a, b := encode(t, room()), encode(t, room()); !bytes.Equal(a, b) {
		t.Error("two encodings of a model differ: their versions would")
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for want, change := range map[string]func(*model.Trained){
		"names no driver":     func(m *model.Trained) { m.Driver = "" },
		"no members":          func(m *model.Trained) { m.Members = nil },
		`metric "f1" is NaN`:  func(m *model.Trained) { m.Metrics["f1"] = math.NaN() },
		`metric "f1" is -Inf`: func(m *model.Trained) { m.Metrics["f1"] = math.Inf(-1) },
		"facts of":            func(m *model.Trained) { m.Settings["note"] = strings.Repeat("x", 1<<20) },
		"payload of":          func(m *model.Trained) { m.Payload = make([]byte, model.MaxPayload) },
	} {
		m := room()
		change(m)
		if _, err := m.Encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one that says %s", err, want)
		}
	}
}

// frame seals what a model file holds by hand.
func frame(tb testing.TB, parts ...string) []byte {
	tb.Helper()
	var w state.Writer
	for _, p := range parts {
		w.Text(p)
	}
	data, err := model.Seal("model", 1, w.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestDecodeRefuses(t *testing.T) {
	const facts = `{"driver":"pca","members":["a"]}`
	if _, err := model.Decode(frame(t, facts, "payload")); err != nil {
		t.Fatalf("what is made by hand is refused: %v", err)
	}
	newer, err := model.Seal("model", 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := model.Seal("detector/pca", 1, []byte("learned"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":                {nil, model.ErrCorrupt},
		"text":                   {[]byte("timestamp,flow\n"), model.ErrCorrupt},
		"a newer version":        {newer, model.ErrSchema},
		"a snapshot":             {snapshot, model.ErrSchema},
		"no payload":             {frame(t, facts), model.ErrCorrupt},
		"bytes left over":        {frame(t, facts, "payload", "more"), model.ErrCorrupt},
		"facts that are no JSON": {frame(t, "{", "payload"), model.ErrCorrupt},
		"facts of other types":   {frame(t, `{"driver":7,"members":["a"]}`, "payload"), model.ErrCorrupt},
		"no driver":              {frame(t, `{"members":["a"]}`, "payload"), model.ErrCorrupt},
		"no members":             {frame(t, `{"driver":"pca"}`, "payload"), model.ErrCorrupt},
	} {
		if _, err := model.Decode(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v, want %v", name, err, c.want)
		}
	}
}

func TestDecodeRefusesEveryDamage(t *testing.T) {
	good := encode(t, room())
	for i := range good {
		if _, err := model.Decode(good[:i]); err == nil {
			t.Errorf("a file cut to %d of %d bytes is accepted", i, len(good))
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := model.Decode(bad); err == nil {
			t.Errorf("a file with a bit flipped in byte %d is accepted", i)
		}
	}
}

// Facts may be added without a new version: older programs pass over them.
func TestDecodePassesOverNewFacts(t *testing.T) {
	m, err := model.Decode(frame(t, `{"driver":"pca","members":["a"],"author":"x"}`, ""))
	if err != nil || m.Driver != "pca" {
		t.Errorf("a file with a new fact gives %+v, %v", m, err)
	}
}

func TestVersion(t *testing.T) {
	for file, want := range map[string]string{
		"room.model":                 "room@",
		"/var/lib/models/room.model": "room@",
		`C:\models\room.model`:       "room@",
		"room.v2":                    "room.v2@",
		"":                           "@",
	} {
		got := model.Version(file, []byte("content"))
		if !strings.HasPrefix(got, want) || len(got) != len(want)+8 {
			t.Errorf("version of %q is %q, want %q and a checksum", file, got, want)
		}
		if got == model.Version(file, []byte("other content")) {
			t.Errorf("two files have version %q", got)
		}
	}
}

// FuzzDecode reads arbitrary facts and payloads in sound frames: refused with a class, or as Encode writes them.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"driver":"pca","members":["a"]}`), []byte("payload"), true)
	f.Add([]byte(`{"driver":"pca","members":["a"],"from":"2026-01-01T00:00:00Z","metrics":{"x":1e308}}`), []byte{}, true)
	f.Add([]byte(`{"driver":`), []byte{}, true)
	f.Add(encode(f, room()), []byte{}, false)
	f.Fuzz(func(t *testing.T, a, b []byte, sealed bool) {
		data := a
		if sealed {
			data = frame(t, string(a), string(b))
		}
		m, err := model.Decode(data)
		if err != nil {
			if !errors.Is(err, model.ErrCorrupt) && !errors.Is(err, model.ErrSchema) {
				t.Errorf("error %v is of no class", err)
			}
			return
		}
		again, err := model.Decode(encode(t, m))
		if err != nil {
			t.Fatalf("what was decoded is refused when encoded: %v", err)
		}
		if !bytes.Equal(m.Payload, again.Payload) || m.Driver != again.Driver || !cmp.Equal(m.Members, again.Members) {
			t.Errorf("%+v came back as %+v", m, again)
		}
	})
}

func ExampleDecode() {
	trained := model.Trained{
		Facts:   model.Facts{Driver: "bayesnet", Members: []string{"light-1", "light-2", "brightness"}, Rows: 4000},
		Payload: []byte("what the detector learned"),
	}
	data, err := trained.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := model.Decode(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Driver, m.Members, m.Rows)

	_, err = model.Decode(data[:100])
	fmt.Println(errors.Is(err, model.ErrCorrupt))
	// Output:
	// bayesnet [light-1 light-2 brightness] 4000
	// true
}
