// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package file_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/file"
)

// notes is an intake that notes what comes.
type notes struct{ strings.Builder }

func (n *notes) Take(_ context.Context, readings []source.Reading) error {
	for i := range readings {
		r := &readings[i]
		_, _ = fmt.Fprintf(n, "%q %v %v %q\n", r.Key.String(), r.At.UTC(), r.Value, r.Text)
	}
	return nil
}

// FuzzTable is of files as anybody may write them: however they come, in pieces or at once, they say the same, and none
// makes the source fail otherwise than by an error.
func FuzzTable(f *testing.F) {
	for _, text := range []string{
		"time,force,state\n2026-03-01T12:00:00Z,20.5,on\n2026-03-01T12:00:01Z,x,\n\n2026-03-01T12:00:02Z,7\n",
		"time;force\n01.03.2026 12:00:00;20,5\n02.03.2026 12:00:00;1.000,5\n",
		`{"time":"2026-03-01T12:00:00Z","force":20.5}` + "\n" + `{"time":1772366401,"force":null,"x":{"y":[1]}}` + "\n",
		"time,series,value\n1772366400,hall/press/force,1\n1772366400,press,2\n1772366401,a/b/c/d,3\n",
		"# comment\n\xff\xfet\x00i\x00m\x00e\x00,\x00v\x00", "1772366400 20.5\r1772366401 \"21\r", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read := func(from io.Reader) (string, string) {
			s, err := file.New(source.Settings{Name: "trial", Options: map[string]any{"path": "/nowhere/press.csv"}, Report: func(string, string, error) {}})
			if err != nil {
				t.Fatal(err)
			}
			in := new(notes)
			err = s.Table(t.Context(), in, from)
			return in.String(), fmt.Sprint(err)
		}
		got, err := read(strings.NewReader(text))
		if pieces, failed := read(iotest.HalfReader(strings.NewReader(text))); pieces != got || failed != err {
			t.Errorf("at once:\n%s%s\nin pieces:\n%s%s", got, err, pieces, failed)
		}
	})
}
