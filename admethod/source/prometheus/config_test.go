// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/source/prometheus"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
)

func TestNewRefuses(t *testing.T) {
	queries := func(all ...map[string]any) []any {
		var list []any
		for _, q := range all {
			list = append(list, q)
		}
		return list
	}
	for name, c := range map[string]struct {
		options map[string]any
		want    []string
	}{
		"no address":     {map[string]any{"url": ""}, []string{"url: must be set"}},
		"plaintext":      {map[string]any{"url": "http://a", "insecure": false}, []string{"insecure: true"}},
		"with a user":    {map[string]any{"url": "https://me:sesame@a"}, []string{"token"}},
		"a question":     {map[string]any{"url": "https://a/?x=1"}, []string{"url", "without ?"}},
		"no query":       {map[string]any{"queries": nil}, []string{"queries: at least one"}},
		"no list":        {map[string]any{"queries": "x"}, []string{"queries"}},
		"an empty query": {map[string]any{"queries": queries(map[string]any{"query": " "})}, []string{"queries[0].query: must be set"}},
		"nameless":       {map[string]any{"queries": queries(map[string]any{"query": "x"}, map[string]any{"query": "rate(x[1m])"})}, []string{"queries[1].metric: must be set", "rate(x[1m])"}},
		"twice":          {map[string]any{"queries": queries(map[string]any{"query": "x"}, map[string]any{"query": "x"})}, []string{"queries[1].query", "queries[0]"}},
		"a typo":         {map[string]any{"queries": queries(map[string]any{"query": "x", "propery": "y"})}, []string{"queries[0].propery", `"property"`}},
		"a template":     {map[string]any{"device": "{a"}, []string{"device", "braces"}},
		"its template":   {map[string]any{"queries": queries(map[string]any{"query": "x", "device": "a}"})}, []string{"queries[0].device", "}}"}},
		"bounds":         {map[string]any{"step": "1ms", "series": 0}, []string{"step", "100ms", "series"}},
		"user":           {map[string]any{"user": "me"}, []string{"user", "passwordFile"}},
		"both":           {map[string]any{"user": "me", "passwordFile": "/nowhere", "tokenFile": "/nowhere"}, []string{"either a token or a user"}},
		"no token":       {map[string]any{"tokenFile": "/nowhere"}, []string{"tokenFile", "/nowhere"}},
		"no password":    {map[string]any{"user": "me", "passwordFile": "/nowhere"}, []string{"passwordFile", "/nowhere"}},
		"their list":     {map[string]any{"prometheus_metric_list": []any{map[string]any{"metric_query": "x", "models": 1}}, "queries": nil}, []string{"prometheus_metric_list[0].models", "predicted_metric_name"}},
		"both lists":     {map[string]any{"prometheus_metric_list": []any{}}, []string{"no queries beside it"}},
		"predicted":      {map[string]any{"queries": queries(map[string]any{"query": "x", "predicted": "a b"})}, []string{"queries[0].predicted", `"a b"`}},
		"tenant":         {map[string]any{"tenant": "a\nb"}, []string{"tenant"}},
		"TLS":            {map[string]any{"tls.ca": "/nowhere"}, []string{"insecure", "tls"}},
	} {
		s := settings(t, "", new(sourcetest.Reports), c.options)
		_, err := prometheus.New(s)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
				t.Errorf("%s: got %v, want an error with %q", name, err, want)
			}
		}
	}
}

func TestSelector(t *testing.T) {
	for query, want := range map[string]string{
		"x": "x", " node:x_1 ": "node:x_1", `x{}`: "x", `x{a="}",b!='{"'} `: "x", "x {a=`\\`}": "x", `x{a="\"}"}`: "x",
		`{__name__="x"}`: "", `{"x.y",a="b"}`: "",
	} {
		if name, plain := prometheus.Selector(query); !plain || name != want {
			t.Errorf("%s: %q, %v; want the selector of %q", query, name, plain, want)
		}
	}
	for _, query := range []string{
		"", "1", "inf", "NaN", "-x", "x[5m]", "x offset 5m", "x @ 1", "x+x", "rate(x[5m])", "sum(x)", "x{a=\"b\"", `x{a="}`, "x{}+1", "x{} # }", "x{#}\n}", `"text"`,
	} {
		if name, plain := prometheus.Selector(query); plain {
			t.Errorf("%s: taken for a selector of %q", query, name)
		}
	}
}

// A selector of some of its series has more matchers, whatever its own end with. Names that servers write differently are left
// out: then there are more series in it.
func TestNarrowed(t *testing.T) {
	labels := map[string]string{"i": "hall \"3\"\n", "b": "", "x.y": "z", "a:b": "c"}
	for query, want := range map[string]string{
		"x": `x{b="",i="hall \"3\"\n"}`, "x{} ": `x{b="",i="hall \"3\"\n"}`, "x{a='}'}": `x{a='}',b="",i="hall \"3\"\n"}`,
		"x{a='b' , }": `x{a='b' , b="",i="hall \"3\"\n"}`, `{"x.y"}`: `{"x.y",b="",i="hall \"3\"\n"}`,
	} {
		if got := prometheus.Narrowed(query, labels); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for query, want := range map[string]string{"x": "x{}", `x{a="b"}`: `x{a="b"}`} {
		if got := prometheus.Narrowed(query, nil); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// What is taken for a plain selector has nothing before or behind it: a range can be put there.
func FuzzSelector(f *testing.F) {
	for _, query := range []string{"x", `x{a="b"}`, "x{a=`}`}", "rate(x[1m])", `{a='\'}`} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		name, plain := prometheus.Selector(query)
		rest := strings.TrimSpace(query)
		if plain && (!strings.HasPrefix(rest, name) || !strings.HasSuffix(rest, "}") && rest != name || strings.HasPrefix(rest, "(")) {
			t.Errorf("%q is taken for a selector of %q", query, name)
		}
		narrow := prometheus.Narrowed(query, map[string]string{"a": query, "b": "c"})
		if again, still := prometheus.Selector(narrow); plain && (!still || again != name) {
			t.Errorf("%q narrowed is %q, and no selector of %q", query, narrow, name)
		}
		if !plain && name != "" {
			t.Errorf("%q is none, and has the name %q", query, name)
		}
	})
}
