// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	_ "github.com/kubeedge/edge-anomaly/admethod/httpmethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// document is what this test needs of the description. Whatever a schema says beyond it is an error: a keyword that is
// not checked would promise nothing.
type document struct {
	Paths      map[string]map[string]operation
	Components struct {
		Schemas   map[string]schema
		Responses map[string]struct{ Content map[string]media }
	}
}

type operation struct {
	RequestBody struct{ Content map[string]media } `yaml:"requestBody"`
	Responses   map[string]struct {
		Ref     string `yaml:"$ref"`
		Content map[string]media
	}
}

type media struct{ Schema schema }

type schema struct {
	Ref                  string            `yaml:"$ref"`
	Type                 any               `yaml:"type"` // text or a list of them
	Description          string            `yaml:"description"`
	Format               string            `yaml:"format"`
	Properties           map[string]schema `yaml:"properties"`
	AdditionalProperties *schema           `yaml:"additionalProperties"`
	Required             []string          `yaml:"required"`
	Items                *schema           `yaml:"items"`
	MaxItems             *int              `yaml:"maxItems"`
	Enum                 []string          `yaml:"enum"`
	Pattern              string            `yaml:"pattern"`
	MinLength            int               `yaml:"minLength"`
	MaxLength            *int              `yaml:"maxLength"`
	Minimum              *float64          `yaml:"minimum"`
	Maximum              *float64          `yaml:"maximum"`
}

func (s *schema) types() []string {
	switch t := s.Type.(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, one := range t {
			all = append(all, fmt.Sprint(one))
		}
		return all
	}
	return nil
}

func load(tb testing.TB) *document {
	tb.Helper()
	var loose map[string]any
	if err := yaml.Unmarshal(batch.OpenAPI, &loose); err != nil {
		tb.Fatal(err)
	}
	// Schemas are read strictly, the rest as far as it is needed.
	schemas, err := yaml.Marshal(loose["components"].(map[string]any)["schemas"])
	if err != nil {
		tb.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(schemas))
	dec.KnownFields(true)
	var strict map[string]schema
	if err := dec.Decode(&strict); err != nil {
		tb.Fatal(err)
	}
	d := new(document)
	if err := yaml.Unmarshal(batch.OpenAPI, d); err != nil {
		tb.Fatal(err)
	}
	return d
}

func (d *document) resolve(s schema) (schema, error) {
	if s.Ref == "" {
		return s, nil
	}
	name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/")
	target, known := d.Components.Schemas[name]
	if !ok || !known {
		return s, fmt.Errorf("%s leads nowhere", s.Ref)
	}
	return target, nil
}

// check compares a value with a schema. An object may have no property that the schema does not name.
func (d *document) check(path string, s schema, v any) error {
	s, err := d.resolve(s)
	if err != nil {
		return err
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
	var kind string
	switch v := v.(type) {
	case map[string]any:
		kind = "object"
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return wrong("%s is required", name)
			}
		}
		for name, value := range v {
			property, ok := s.Properties[name]
			if !ok {
				if s.AdditionalProperties == nil {
					return wrong("the schema has no property %s", name)
				}
				property = *s.AdditionalProperties
			}
			if err := d.check(path+"."+name, property, value); err != nil {
				return err
			}
		}
	case []any:
		kind = "array"
		if s.Items == nil {
			return wrong("an array without items in the schema")
		}
		if s.MaxItems != nil && len(v) > *s.MaxItems {
			return wrong("%d items, at most %d", len(v), *s.MaxItems)
		}
		for i := range v {
			if err := d.check(fmt.Sprintf("%s[%d]", path, i), *s.Items, v[i]); err != nil {
				return err
			}
		}
	case string:
		kind = "string"
		switch {
		case len(s.Enum) > 0 && !slices.Contains(s.Enum, v):
			return wrong("%q is none of %q", v, s.Enum)
		case s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v):
			return wrong("%q does not match %s", v, s.Pattern)
		case len(v) < s.MinLength || s.MaxLength != nil && len(v) > *s.MaxLength:
			return wrong("%d characters", len(v))
		}
		if s.Format == "date-time" {
			if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
				return wrong("%v", err)
			}
		}
	case bool:
		kind = "boolean"
	case json.Number:
		kind = "number"
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil && slices.Contains(s.types(), "integer") {
			kind = "integer"
		}
		f, err := v.Float64()
		if err != nil || s.Minimum != nil && f < *s.Minimum || s.Maximum != nil && f > *s.Maximum {
			return wrong("%s is out of bounds", v)
		}
	default:
		return wrong("a value of type %T", v)
	}
	if !slices.Contains(s.types(), kind) {
		return wrong("got %s, want %v", kind, s.Type)
	}
	return nil
}

func parse(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// Each message has a schema with its fields and no others, of the right types; and each schema is used.
func TestSchemasAreTheMessages(t *testing.T) {
	d := load(t)
	scalar := map[protoreflect.Kind]schema{
		protoreflect.StringKind: {Type: "string"}, protoreflect.BoolKind: {Type: "boolean"}, protoreflect.DoubleKind: {Ref: "Double"}, protoreflect.Uint32Kind: {Ref: "Uint32"},
		protoreflect.Uint64Kind: {Ref: "Uint64"}, protoreflect.Int64Kind: {Ref: "Int64"}, protoreflect.Sfixed64Kind: {Ref: "Int64"},
	}
	used := map[string]bool{"ReadingEvent": true, "VerdictEvent": true, "Problem": true}
	same := func(where string, got schema, field protoreflect.FieldDescriptor) {
		want, ok := scalar[field.Kind()]
		switch {
		case field.Message() != nil && !field.IsMap():
			want = schema{Ref: string(field.Message().Name())}
		case field.Enum() != nil:
			want = schema{Ref: string(field.Enum().Name())}
		case !ok:
			t.Fatalf("%s: no rule for %s", where, field.Kind())
		}
		if want.Ref != "" {
			used[want.Ref] = true
			want.Ref = "#/components/schemas/" + want.Ref
		}
		if got.Ref != want.Ref || want.Type != nil && fmt.Sprint(got.Type) != fmt.Sprint(want.Type) {
			t.Errorf("%s: got type %v %s, want %v %s", where, got.Type, got.Ref, want.Type, want.Ref)
		}
	}
	messages := pb.File_anomalydetector_v1_anomalydetector_proto.Messages()
	for i := range messages.Len() {
		m := messages.Get(i)
		name := string(m.Name())
		s, ok := d.Components.Schemas[name]
		if !ok {
			t.Errorf("%s has no schema", name)
			continue
		}
		used[name] = true
		var fields []string
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			fields = append(fields, f.JSONName())
			property, where := s.Properties[f.JSONName()], name+"."+f.JSONName()
			switch {
			case f.IsMap():
				if fmt.Sprint(property.Type) != "object" || property.AdditionalProperties == nil {
					t.Errorf("%s: want an object", where)
					continue
				}
				same(where, *property.AdditionalProperties, f.MapValue())
			case f.IsList():
				if fmt.Sprint(property.Type) != "array" || property.Items == nil {
					t.Errorf("%s: want an array", where)
					continue
				}
				same(where, *property.Items, f)
			default:
				same(where, property, f)
			}
		}
		slices.Sort(fields)
		if properties := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(properties, fields) {
			t.Errorf("%s: properties %q, fields %q", name, properties, fields)
		}
	}
	enums := pb.File_anomalydetector_v1_anomalydetector_proto.Enums()
	for _, enum := range []protoreflect.Name{"Severity", "IncidentPhase"} {
		values := enums.ByName(enum).Values()
		var names []string
		for i := range values.Len() {
			names = append(names, string(values.Get(i).Name()))
		}
		if got := d.Components.Schemas[string(enum)].Enum; !slices.Equal(got, names) {
			t.Errorf("%s: %q, want %q", enum, got, names)
		}
	}
	for name := range d.Components.Schemas {
		if !used[name] {
			t.Errorf("the schema %s is of nothing", name)
		}
	}
}

// exchange is a request that was seen on its way, and the response.
type exchange struct {
	method, path, contentType string
	body                      []byte
	status                    int
	answerType                string
	answer                    []byte
}

// recorder passes requests on to a server, and keeps them.
func recorder(tb testing.TB, target string) (address string, taken func() []exchange) {
	tb.Helper()
	u, err := url.Parse(target)
	if err != nil {
		tb.Fatal(err)
	}
	var mu sync.Mutex
	var all []exchange
	proxy := httputil.NewSingleHostReverseProxy(u)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		plain, err := batch.ReadBody(bytes.NewReader(body), r.Header.Get("Content-Encoding"), 1<<24)
		if err != nil {
			plain = nil // refused by the server too
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen := httptest.NewRecorder()
		proxy.ServeHTTP(seen, r)
		mu.Lock() // before the client has its answer, after which it may ask what was seen
		all = append(all, exchange{
			strings.ToLower(r.Method), r.URL.Path, r.Header.Get("Content-Type"), plain,
			seen.Code, seen.Header().Get("Content-Type"), seen.Body.Bytes(),
		})
		mu.Unlock()
		maps.Copy(w.Header(), seen.Header())
		w.WriteHeader(seen.Code)
		_, _ = w.Write(seen.Body.Bytes())
	}))
	tb.Cleanup(s.Close)
	return s.URL, func() []exchange {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// What a mapper and a server really say to each other is as described, property by property.
func TestRealTraffic(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and what runs at once is of other packages")
	}
	s, err := detectserver.New(detectserver.Config{Insecure: true, Anonymous: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.ServeBoth(ctx, nil, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	address, taken := recorder(t, "http://"+l.Addr().String())
	for _, format := range []string{"json", "cloudevents"} {
		speak(t, address, format)
	}
	for path, body := range map[string]string{batch.Path: "garbage", "/healthz": "", "/readyz": "", "/openapi.yaml": ""} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()

	d := load(t)
	kinds := make(map[string]int)
	for _, e := range taken() {
		op, ok := d.Paths[e.path][e.method]
		if !ok {
			t.Fatalf("%s %s is not described", e.method, e.path)
		}
		kinds[fmt.Sprintf("%s %d %s", e.path, e.status, base(e.contentType))]++
		if e.method == "post" && e.status == http.StatusOK {
			checkBody(t, d, op.RequestBody.Content, e.contentType, e.body)
		}
		answer, ok := op.Responses[fmt.Sprint(e.status)]
		if !ok {
			t.Fatalf("%s %s: status %d is not described", e.method, e.path, e.status)
		}
		content := answer.Content
		if name, ok := strings.CutPrefix(answer.Ref, "#/components/responses/"); ok {
			content = d.Components.Responses[name].Content
		}
		if strings.Contains(e.answerType, "json") {
			checkBody(t, d, content, e.answerType, e.answer)
		}
	}
	for _, want := range []string{
		"/v1/detect 200 application/json", "/v1/detect 200 application/cloudevents-batch+json", "/v1/detect 400 ",
		"/healthz 200 ", "/readyz 200 ", "/openapi.yaml 200 ",
	} {
		if kinds[want] == 0 {
			t.Errorf("no exchange %q among %v", want, kinds)
		}
	}
}

func base(contentType string) string {
	media, _, _ := mime.ParseMediaType(contentType)
	return media
}

func checkBody(t *testing.T, d *document, content map[string]media, contentType string, body []byte) {
	t.Helper()
	described, ok := content[base(contentType)]
	if !ok {
		t.Fatalf("%s is not described", contentType)
	}
	v, err := parse(body)
	if err == nil {
		err = d.check("body", described.Schema, v)
	}
	if err != nil {
		t.Fatalf("%v in %.2000s", err, body)
	}
}

// speak lets a mapper watch a property, a group and an enumeration through the server.
func speak(t *testing.T, address, format string) {
	t.Helper()
	h, err := pipeline.NewHandler(pipeline.Options{Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{}, Replay: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}()
	bind := func(namespace, property, kind string, more map[string]any) *pipeline.Binding {
		settings := map[string]any{
			"adMethodName": "http", "http.address": address, "http.insecure": true, "http.format": format, "http.gzip": true, "detector": "ewma",
		}
		maps.Copy(settings, more)
		config, err := admethod.ParseSettings(settings)
		if err != nil {
			t.Fatal(err)
		}
		key := driver.Key{Namespace: namespace, Device: "lamp of " + format, Property: property}
		b, err := h.Bind(key, config, admethod.Meta{DataType: kind, Minimum: "0", Unit: "lx", Cycle: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	start := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	bindings := []*pipeline.Binding{
		bind("default", "light", "double", map[string]any{"detector.window": 60}),
		bind("other", "light", "double", nil), // is refused, reading by reading
		bind("default", "a", "double", map[string]any{"detector": "pca", "group": "g"}),
		bind("default", "b", "double", map[string]any{"detector": "pca", "group": "g"}),
	}
	text := bind("default", "mode", "string", map[string]any{"detector": "auto", "categories": "ON,OFF"})
	for i := range 600 {
		at := start.Add(time.Duration(i) * time.Second)
		for j, b := range bindings {
			b.Observe(at, float64(20+(i*7+j)%5))
		}
		text.ObserveAny(at, []string{"ON", "OFF", "\"<\xff"}[i%3])
	}
	bindings[0].Observe(start.Add(601*time.Second), 9000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}
