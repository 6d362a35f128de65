// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/model"
)

const schema = "detector/test"

func seal(tb testing.TB, payload []byte) []byte {
	tb.Helper()
	data, err := model.Seal(schema, 3, payload)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestUnsealReturnsWhatWasSealed(t *testing.T) {
	for _, payload := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte{0, 255}, 5000)} {
		got, err := model.Unseal(schema, 3, seal(t, payload))
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes came back as %d, error %v", len(payload), len(got), err)
		}
	}
}

func TestFrameIsStable(t *testing.T) {
	// Files outlive programs: the layout of a frame must not change by accident.
	want := "4541444d010003000d000200000064657465637" + "46f722f746573746f6b2a5ef0e1"
	got := fmt.Sprintf("%x", seal(t, []byte("ok")))
	if got[:len(got)-8] != want[:len(want)-8] {
		t.Errorf("frame is %s, want %s", got, want)
	}
}

func TestUnsealRefusesEveryDamage(t *testing.T) {
	good := seal(t, []byte("what was learned"))
	for n := range good {
		if _, err := model.Unseal(schema, 3, good[:n]); err == nil {
			t.Errorf("a frame cut to %d of %d bytes is accepted", n, len(good))
		}
	}
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := model.Unseal(schema, 3, bad); err == nil {
			t.Errorf("a frame with bit %d flipped is accepted", bit)
		}
	}
	if _, err := model.Unseal(schema, 3, append(bytes.Clone(good), 0)); !errors.Is(err, model.ErrCorrupt) {
		t.Errorf("error for a byte too many is %v, want ErrCorrupt", err)
	}
}

func TestUnsealTellsAnotherSchemaFromDamage(t *testing.T) {
	good := seal(t, []byte("x"))
	for name, open := range map[string]func() error{
		"schema":  func() error { _, err := model.Unseal("detector/other", 3, good); return err },
		"version": func() error { _, err := model.Unseal(schema, 4, good); return err },
	} {
		err := open()
		if !errors.Is(err, model.ErrSchema) || errors.Is(err, model.ErrCorrupt) {
			t.Errorf("%s: error is %v, want only ErrSchema", name, err)
		}
		if err != nil && !strings.Contains(err.Error(), `"detector/test" version 3`) {
			t.Errorf("%s: error %q does not say what the frame is", name, err)
		}
	}
}

func TestSealRefusesWhatUnsealWould(t *testing.T) {
	if _, err := model.Seal(strings.Repeat("x", 257), 1, nil); err == nil {
		t.Error("a schema of 257 bytes is sealed")
	}
	if _, err := model.Seal(schema, 1, make([]byte, model.MaxPayload+1)); err == nil {
		t.Error("a payload over the cap is sealed")
	}
}

func TestNextSplitsAJournal(t *testing.T) {
	a, b := seal(t, []byte("first")), seal(t, nil)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, c := range map[string]struct {
		data  []byte
		want  [][]byte // frames that Unseal accepts
		steps int      // at most
	}{
		"nothing":                {nil, nil, 1},
		"two frames":             {join(a, b), [][]byte{a, b}, 2},
		"garbage before":         {join([]byte("EAD garbage"), a), [][]byte{a}, 3},
		"garbage between":        {join(a, []byte("xEADMy"), b), [][]byte{a, b}, 6},
		"cut in the middle":      {join(a[:len(a)-3], b), [][]byte{b}, 3},
		"cut at the end":         {join(a, b[:len(b)-1]), [][]byte{a}, 3},
		"a length over the cap":  {join([]byte("EADM\x01\x00\x03\x00\x00\x00\xff\xff\xff\xff"), a), [][]byte{a}, 3},
		"a schema over the cap":  {join([]byte("EADM\x01\x00\x03\x00\xff\xff\x00\x00\x00\x00"), a), [][]byte{a}, 3},
		"a header and no more":   {[]byte("EADM"), nil, 1},
		"a frame with a bad sum": {join(a[:len(a)-1], []byte{a[len(a)-1] ^ 1}, b), [][]byte{b}, 3},
		"headers in one another": {bytes.Repeat([]byte("EADM"), 50), nil, 60},
	} {
		t.Run(name, func(t *testing.T) {
			var got [][]byte
			steps := 0
			for rest := c.data; len(rest) > 0; steps++ {
				frame, next := model.Next(rest)
				if _, err := model.Unseal(schema, 3, frame); err == nil {
					got = append(got, frame)
				} else {
					next = model.Resume(rest)
				}
				if len(next) >= len(rest) {
					t.Fatalf("no progress: %d bytes left after %d", len(next), len(rest))
				}
				rest = next
			}
			if len(got) != len(c.want) || steps > c.steps {
				t.Fatalf("%d frames in %d steps, want %d in at most %d", len(got), steps, len(c.want), c.steps)
			}
			for i := range got {
				if !bytes.Equal(got[i], c.want[i]) {
					t.Errorf("frame %d is %q, want %q", i, got[i], c.want[i])
				}
			}
		})
	}
}

// FuzzNext walks arbitrary data: it ends, and finds nothing that is not there.
func FuzzNext(f *testing.F) {
	f.Add(append(seal(f, []byte("payload")), seal(f, nil)...))
	f.Add(bytes.Repeat([]byte("EADM"), 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		for rest := data; len(rest) > 0; {
			frame, next := model.Next(rest)
			if len(next) >= len(rest) || len(frame)+len(next) > len(rest) {
				t.Fatalf("a frame of %d and a rest of %d bytes out of %d", len(frame), len(next), len(rest))
			}
			rest = next
		}
	})
}

func FuzzUnseal(f *testing.F) {
	f.Add(seal(f, []byte("payload")))
	f.Add([]byte("EADM"))
	f.Add(bytes.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		payload, err := model.Unseal(schema, 3, data)
		if !bytes.Equal(before, data) {
			t.Error("Unseal changed its input")
		}
		if err != nil {
			if !errors.Is(err, model.ErrCorrupt) && !errors.Is(err, model.ErrSchema) {
				t.Errorf("error %v is of no class", err)
			}
			return
		}
		again, err := model.Seal(schema, 3, payload)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("a frame that is accepted is not the one that Seal makes (error %v)", err)
		}
	})
}

func ExampleUnseal() {
	data, err := model.Seal("detector/ewma", 1, []byte("learned state"))
	if err != nil {
		fmt.Println(err)
		return
	}
	payload, err := model.Unseal("detector/ewma", 1, data)
	fmt.Printf("%s %v\n", payload, err)

	_, err = model.Unseal("detector/mad", 1, data)
	fmt.Println(err)
	// Output:
	// learned state <nil>
	// frame of another schema: "detector/ewma" version 1, want "detector/mad" version 1
}
