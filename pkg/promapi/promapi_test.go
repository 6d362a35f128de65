// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package promapi_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

func ExampleDecode() {
	answer, err := promapi.Decode(strings.NewReader(`{"status":"success","data":{"resultType":"matrix","result":[
		{"metric":{"__name__":"temperature","room":"hall"},"values":[[1767225600,"20.5"],[1767225615.25,"NaN"]]},
		{"metric":{"__name__":"temperature","room":"attic"},"values":[[1767225600,"soon"]]}]},"warnings":["a store is away"]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Type, answer.Warnings)
	for _, s := range answer.Series {
		for _, p := range s.Points {
			at, _ := p.At()
			value, err := p.Float()
			fmt.Println(s.Labels, at.Format(time.RFC3339Nano), value, err)
		}
	}
	// Output:
	// matrix [a store is away]
	// temperature{room="hall"} 2026-01-01T00:00:00Z 20.5 <nil>
	// temperature{room="hall"} 2026-01-01T00:00:15.25Z NaN <nil>
	// temperature{room="attic"} 2026-01-01T00:00:00Z 0 value "soon": want a number
}

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		text, kind string
		series     int
		points     int
		single     string
	}{
		"vector":        {`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}`, promapi.Vector, 1, 1, ""},
		"empty":         {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, promapi.Matrix, 0, 0, ""},
		"nothing":       {`{"status":"success","data":{"resultType":"matrix","result":null}}`, promapi.Matrix, 0, 0, ""},
		"scalar":        {`{"status":"success","data":{"resultType":"scalar","result":[1,"+Inf"]}}`, promapi.Scalar, 0, 0, "+Inf"},
		"string":        {`{"status":"success","data":{"result":[1,"a \"b\""],"resultType":"string"}}`, promapi.String, 0, 0, `a "b"`},
		"histograms":    {`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1,{"count":"1"}]]}]}}`, promapi.Matrix, 1, 0, ""},
		"odd points":    {`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1],[1,2,3],7,null,[1,2],["x","y"]]}]}}`, promapi.Matrix, 1, 6, ""},
		"VictoriaState": {`{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]},"stats":{"seriesFetched":"1"}}`, promapi.Matrix, 0, 0, ""},
	} {
		a, err := promapi.Decode(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		points := 0
		for _, s := range a.Series {
			points += len(s.Points)
		}
		if a.Type != c.kind || len(a.Series) != c.series || points != c.points || a.Single.Value != c.single {
			t.Errorf("%s: got %+v", name, a)
		}
	}
}

// What is missing in an answer is told in a field, or by warnings; those on the query itself take nothing away.
func TestPartial(t *testing.T) {
	for extra, want := range map[string]bool{
		``: false, `,"isPartial":true`: true, `,"isPartial":false`: false, `,"warnings":[]`: false,
		`,"warnings":["PromQL warning: odd"],"infos":["PromQL info: not a counter"]`:    false,
		`,"warnings":["PromQL warning: odd","fetch series for {}: connection refused"]`: true, // Thanos
		`,"warnings":["remote_read: remote server http://a returned HTTP status 503"]`:  true, // Prometheus that reads from others
	} {
		a, err := promapi.Decode(strings.NewReader(`{"status":"success","data":{"resultType":"matrix","result":[]}` + extra + `}`))
		if err != nil || a.Partial != want {
			t.Errorf("%s: %+v, %v; want partial: %v", extra, a, err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":     {``, "not an answer"},
		"a page":      {`<html>`, "not an answer"},
		"cut off":     {`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],`, "not an answer"},
		"no type":     {`{"status":"success","data":{}}`, "resultType"},
		"streams":     {`{"status":"success","data":{"resultType":"streams","result":[]}}`, "streams"},
		"mixed":       {`{"status":"success","data":{"resultType":"matrix","result":[1,"2"]}}`, "no list of series"},
		"mixed too":   {`{"status":"success","data":{"resultType":"scalar","result":[{"metric":{}}]}}`, "list of series"},
		"failed":      {`{"status":"error","errorType":"bad_data","error":"1:5: parse error"}`, "bad_data: 1:5: parse error"},
		"of another":  {`{"message":"no such page"}`, `status ""`},
		"odd labels":  {`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1}}]}}`, "not an answer"},
		"odd message": {`{"status":"error","error":{}}`, "not an answer"},
	} {
		_, err := promapi.Decode(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
		var failed *promapi.Error
		if is := errors.As(err, &failed); is != strings.HasPrefix(c.want, "bad_data") && name != "of another" {
			t.Errorf("%s: %v: an answer that the query failed: %v", name, err, is)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"1767225600.001": "2026-01-01T00:00:00.001Z", "1.7672256e9": "2026-01-01T00:00:00Z", "-1": "1969-12-31T23:59:59Z",
		"253402300800": "", "1e300": "", "NaN": "", "": "", "soon": "",
	} {
		at, err := promapi.Point{Time: text}.At()
		if (err != nil) != (want == "") || err == nil && at.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %v; want %q", text, at, err, want)
		}
	}
}

// Whatever a server answers, the decoder ends with an answer whose parts can be asked, or with an error.
func FuzzDecode(f *testing.F) {
	f.Add(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1.5,"2"],[2,"-Inf"]]}]}}`)
	f.Add(`{"status":"success","data":{"resultType":"scalar","result":[1,"2"]},"infos":["x"]}`)
	f.Add(`{"status":"error","errorType":"timeout","error":"late"}`)
	f.Add(`{"status":"success","data":{"resultType":"vector","result":[null,{}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := promapi.Decode(strings.NewReader(text))
		if err != nil {
			if a != nil || err.Error() == "" {
				t.Errorf("%+v beside %v", a, err)
			}
			return
		}
		for _, s := range a.Series {
			_ = s.Labels.String()
			for _, p := range s.Points {
				if at, err := p.At(); err == nil && math.Abs(float64(at.Unix())) > 253402300800 {
					t.Errorf("%q is %v", p.Time, at)
				}
				_, _ = p.Float() // must not panic
			}
		}
	})
}
