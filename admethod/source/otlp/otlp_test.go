// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubeedge/edge-anomaly/admethod/internal/faultproxy"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/otlp"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings(r *sourcetest.Reports, options map[string]any) source.Settings {
	all := map[string]any{"listen": "127.0.0.1:1", "insecure": true}
	maps.Copy(all, options)
	return source.Settings{Name: "test", Options: all, Report: r.Report}
}

func newSource(t *testing.T, r *sourcetest.Reports, options map[string]any) *otlp.Source {
	t.Helper()
	s, err := otlp.New(settings(r, options))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run starts a source on an address of its own.
func run(t *testing.T, in source.Intake, r *sourcetest.Reports, options map[string]any) (address string) {
	t.Helper()
	address = proctest.FreeAddress(t)
	all := map[string]any{"listen": address}
	maps.Copy(all, options)
	sourcetest.Run(t, newSource(t, r, all), in)
	return address
}

// pushed are metrics as a mapper of KubeEdge pushes them: a gauge named as the property, of a resource with the device.
func pushed(device, property string, at time.Time, value float64) pmetric.Metrics {
	m := pmetric.NewMetrics()
	r := m.ResourceMetrics().AppendEmpty()
	r.Resource().Attributes().PutStr("device.id", "plant/"+device)
	r.Resource().Attributes().PutStr("service.name", "unknown_service:mapper")
	s := r.ScopeMetrics().AppendEmpty()
	s.Scope().SetName("github.com/kubeedge/Template/data/dbmethod/otel")
	g := s.Metrics().AppendEmpty()
	g.SetName(property)
	point(g.SetEmptyGauge().DataPoints(), at, value)
	return m
}

func point(to pmetric.NumberDataPointSlice, at time.Time, value float64) pmetric.NumberDataPoint {
	p := to.AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.SetDoubleValue(value)
	return p
}

func inProto(m pmetric.Metrics) []byte {
	body, err := pmetricotlp.NewExportRequestFromMetrics(m).MarshalProto()
	if err != nil {
		panic(err) // of the test
	}
	return body
}

func inJSON(m pmetric.Metrics) []byte {
	body, err := pmetricotlp.NewExportRequestFromMetrics(m).MarshalJSON()
	if err != nil {
		panic(err) // of the test
	}
	return body
}

// send is how metrics are sent to an address, and sent again by who gets an error.
type send func(ctx context.Context, address string, m pmetric.Metrics) error

func overHTTP(format string, marshal func(pmetric.Metrics) []byte) send {
	client := sourcetest.Client()
	return func(ctx context.Context, address string, m pmetric.Metrics) error {
		answer, err := sourcetest.Post(ctx, client, "http://"+address+otlp.Path, marshal(m), map[string]string{"Content-Type": format})
		if err == nil && !strings.HasPrefix(answer, "200") {
			err = errors.New(answer)
		}
		return err
	}
}

func overGRPC(ctx context.Context, address string, m pmetric.Metrics) error {
	_, err := call(ctx, address, insecure.NewCredentials(), m)
	return err
}

func call(ctx context.Context, address string, security credentials.TransportCredentials, m pmetric.Metrics) (pmetricotlp.ExportPartialSuccess, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(security))
	if err != nil {
		return pmetricotlp.NewExportPartialSuccess(), err
	}
	defer func() { _ = conn.Close() }()
	response, err := pmetricotlp.NewGRPCClient(conn).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(m))
	if err != nil {
		return pmetricotlp.NewExportPartialSuccess(), err
	}
	return response.PartialSuccess(), nil
}

// What a source promises, over each of its protocols: nothing is lost and nothing comes twice, over connections that break
// and restarts.
func TestSource(t *testing.T) {
	for name, send := range map[string]send{
		"gRPC": overGRPC, "protobuf": overHTTP("application/x-protobuf", inProto), "JSON": overHTTP("application/json; charset=utf-8", inJSON),
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
				address, last := proctest.FreeAddress(t), time.Now()
				proxy := faultproxy.New(t, address)
				var p sourcetest.Pusher[pmetric.Metrics]
				p.Start(t, func(ctx context.Context, some []pmetric.Metrics) error {
					all := pmetric.NewMetrics()
					for _, m := range some {
						for _, r := range m.ResourceMetrics().All() {
							r.CopyTo(all.ResourceMetrics().AppendEmpty())
						}
					}
					return send(ctx, proxy.Addr(), all)
				})
				return &sourcetest.Origin{
					New: func(t *testing.T) source.Source {
						return newSource(t, new(sourcetest.Reports), map[string]any{"listen": address})
					},
					Send: func(_ *testing.T, n int) {
						last = last.Add(time.Millisecond)
						p.Push(pushed(fmt.Sprint("press-", n%3), "force", last, float64(n)))
					},
					Series:  3,
					Cut:     func(*testing.T) { proxy.Cut() },
					Replays: true,
				}
			})
		})
	}
}

var began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func texts(all []source.Reading) (out []string) {
	for _, r := range all {
		out = append(out, fmt.Sprint(r.Key, " ", r.At.Sub(began), " ", r.Value))
	}
	return out
}

func listens(t *testing.T, address string) {
	t.Helper()
	empty := overHTTP("application/x-protobuf", inProto)
	waittest.Eventually(t, "it listens", func() bool { return empty(t.Context(), address, pmetric.NewMetrics()) == nil })
}

// What is sent wrongly is refused, and nothing of it is taken.
func TestRequests(t *testing.T) {
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	address := run(t, in, r, map[string]any{"maxBody": 4096})
	listens(t, address)
	good := inProto(pushed("press", "force", began, 1))
	packed := func(body []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body)
		_ = w.Close()
		return b.Bytes()
	}
	protobuf := map[string]string{"Content-Type": "application/x-protobuf"}
	zipped := map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
	asJSON := map[string]string{"Content-Type": "application/json"}
	for name, c := range map[string]struct {
		path   string
		body   []byte
		header map[string]string
		want   string
	}{
		"another path":     {"/v1/traces", good, protobuf, "404"},
		"another type":     {otlp.Path, good, map[string]string{"Content-Type": "text/plain"}, "415"},
		"no type":          {otlp.Path, good, nil, "415"},
		"another encoding": {otlp.Path, good, map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "br"}, "415"},
		"not protobuf":     {otlp.Path, []byte("hello"), protobuf, "400"},
		"cut protobuf":     {otlp.Path, good[:len(good)-3], protobuf, "400"},
		"not JSON":         {otlp.Path, good, asJSON, `400 {"code":3`},
		"not gzip":         {otlp.Path, good, zipped, "400"},
		"cut gzip":         {otlp.Path, packed(good)[:20], zipped, "400"},
		"a bomb":           {otlp.Path, packed(make([]byte, 1<<20)), zipped, "413"},
		"too long":         {otlp.Path, make([]byte, 5000), protobuf, "413"},
	} {
		answer, err := sourcetest.Post(t.Context(), sourcetest.Client(), "http://"+address+c.path, c.body, c.header)
		if err != nil || !strings.HasPrefix(strings.ReplaceAll(answer, `": `, `":`), c.want) {
			t.Errorf("%s: %s, %v; want %s", name, answer, err, c.want)
		}
	}
	long := pushed("press", strings.Repeat("x", 5000), began, 1)
	if err := overGRPC(t.Context(), address, long); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too long over gRPC: %v", err)
	}
	if n := len(in.Readings()); n > 0 {
		t.Fatalf("%d readings were taken", n)
	}
	if told := r.Now("source test: requests"); !strings.Contains(told, "was refused") {
		t.Errorf("told %q", told)
	}
	for _, header := range []map[string]string{protobuf, zipped} { // what comes again is passed over
		body := good
		if header["Content-Encoding"] != "" {
			body = packed(good)
		}
		if answer, err := sourcetest.Post(t.Context(), sourcetest.Client(), "http://"+address+otlp.Path, body, header); err != nil || !strings.HasPrefix(answer, "200") {
			t.Errorf("%s, %v", answer, err)
		}
		if got := fmt.Sprint(texts(in.Readings())); got != "[plant/press/force 0s 1]" {
			t.Errorf("got %s", got)
		}
	}
	if told := r.Now("source test: requests"); told != "" {
		t.Errorf("still told: %q", told)
	}
}

// Gauges and sums are readings. Of all others, and of what makes no sense, the sender is told how many points there were.
func TestPartialSuccess(t *testing.T) {
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	in.Refuse = func(r *source.Reading) error {
		if r.Value == 13 {
			return errors.New("thirteen")
		}
		return nil
	}
	address := run(t, in, r, nil)
	listens(t, address)
	m := pushed("press", "force", began, 1)
	metrics := m.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	add := func(name string) pmetric.Metric {
		one := metrics.AppendEmpty()
		one.SetName(name)
		return one
	}
	strokes := add("strokes").SetEmptySum()
	strokes.SetIsMonotonic(true)
	strokes.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	point(strokes.DataPoints(), began, 0).SetIntValue(7)
	point(add("ended").SetEmptyGauge().DataPoints(), began, 3).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	add("nothing").SetEmptyGauge().DataPoints().AppendEmpty()
	point(add("unlucky").SetEmptyGauge().DataPoints(), began, 13)
	odd := point(add("late").SetEmptyGauge().DataPoints(), began, 13)
	odd.SetTimestamp(math.MaxUint64)
	for i, axis := range []string{"x", "y"} {
		g := metrics.AppendEmpty()
		g.SetName("shake")
		point(g.SetEmptyGauge().DataPoints(), began, float64(i)).Attributes().PutStr("axis", axis)
	}
	add("spread").SetEmptyHistogram().DataPoints().AppendEmpty()
	h := add("spread2").SetEmptyExponentialHistogram()
	h.DataPoints().AppendEmpty()
	h.DataPoints().AppendEmpty()
	add("quantiles").SetEmptySummary().DataPoints().AppendEmpty()

	got, err := call(t.Context(), address, insecure.NewCredentials(), m)
	if err != nil || got.RejectedDataPoints() != 7 {
		t.Errorf("%d points rejected, %v: %s", got.RejectedDataPoints(), err, got.ErrorMessage())
	}
	for _, want := range []string{"1 points of kind Histogram", "2 points of kind ExponentialHistogram", "1 points of kind Summary", "thirteen", "late: time_unix_nano", `axis="y"`, "want templates that tell them apart"} {
		if !strings.Contains(got.ErrorMessage(), want) {
			t.Errorf("message %q: want %q", got.ErrorMessage(), want)
		}
	}
	if got := fmt.Sprint(texts(in.Readings())); got != "[plant/press/force 0s 1 plant/press/strokes 0s 7 plant/press/shake 0s 0]" {
		t.Errorf("got %s", got)
	}
	if told := r.Now("source test: kinds"); !strings.Contains(told, "Histogram") || !strings.Contains(told, "want gauge or sum") {
		t.Errorf("told %q", told)
	}
	if told := r.Now("source test: points"); !strings.Contains(told, "thirteen") {
		t.Errorf("told %q", told)
	}
}

// Names are made of attributes, and ready-made for what mappers push.
func TestNames(t *testing.T) {
	full := func() pmetric.Metrics {
		m := pushed("press", "force", began, 1)
		a := m.ResourceMetrics().At(0).Resource().Attributes()
		a.PutStr("hall", "3/a")
		a.PutInt("line", 7)
		a.PutBool("old", true)
		a.PutStr("tool", "of the resource")
		m.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0).Attributes().PutStr("tool", "drill")
		return m
	}
	without := func(change func(pcommon.Map)) pmetric.Metrics {
		m := pushed("press", "force", began, 1)
		change(m.ResourceMetrics().At(0).Resource().Attributes())
		return m
	}
	for name, c := range map[string]struct {
		names otlp.Names
		of    pmetric.Metrics
		want  string
	}{
		"a mapper":            {otlp.DefaultNames(), full(), "plant/press/force"},
		"attributes":          {otlp.Names{Namespace: "hall-{hall}", Device: "{line}-{old}", Property: "{tool}.{metric}"}, full(), "hall-3%2Fa/7-true/drill.force"},
		"the scope":           {otlp.Names{Namespace: "n", Device: "d", Property: "{otel.scope.name}"}, full(), "n/d/github.com%2Fkubeedge%2FTemplate%2Fdata%2Fdbmethod%2Fotel"},
		"a device alone":      {otlp.DefaultNames(), without(func(a pcommon.Map) { a.PutStr("device.id", "press") }), "default/press/force"},
		"attributes as names": {otlp.DefaultNames(), without(func(a pcommon.Map) { a.Remove("device.id"); a.PutStr("device", "d"); a.PutStr("namespace", "n") }), "n/d/force"},
		"no device":           {otlp.DefaultNames(), without(func(a pcommon.Map) { a.Remove("device.id") }), `device: {device} in "{device}" means nothing`},
	} {
		reader, err := otlp.NewReader(c.names, 10)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		skipped := reader.Read(c.of, began, func(r source.Reading, _ otlp.Origin) { got += r.Key.String() })
		if err := skipped.Err(); err != nil {
			got += err.Error()
		}
		if got != c.want && (!strings.Contains(got, c.want) || !strings.Contains(c.want, "means")) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A mapper that starts again under other attributes goes on where it was; two that send at the same time are told.
func TestAnotherSender(t *testing.T) {
	reader, err := otlp.NewReader(otlp.DefaultNames(), 10)
	if err != nil {
		t.Fatal(err)
	}
	now := began
	read := func(pid int64, second int) string {
		now = later(now, began.Add(time.Duration(second)*time.Second))
		m := pushed("press", "force", began.Add(time.Duration(second)*time.Second), 1)
		m.ResourceMetrics().At(0).Resource().Attributes().PutInt("process.pid", pid)
		got := ""
		skipped := reader.Read(m, now, func(r source.Reading, _ otlp.Origin) {
			got = fmt.Sprint(r.At.Sub(began), " ", r.Property.Labels["process.pid"])
		})
		if err := skipped.Err(); err != nil {
			return err.Error()
		}
		return got
	}
	for _, c := range []struct {
		pid    int64
		second int
		want   string
	}{
		{1, 1, "1s 1"}, {1, 2, "2s 1"}, {2, 2, ""}, {2, 3, "3s 2"}, // the last one of the former comes again, and is passed over
		{1, 4, "is plant/press/force, and so is"}, {2, 5, "5s 2"},
		{1, 70, "1m10s 1"}, // nobody was there for a minute
	} {
		if got := read(c.pid, c.second); got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("process %d, second %d: got %q, want %q", c.pid, c.second, got, c.want)
		}
	}
}

// later is when what was sent at a time comes: after all that came before.
func later(before, sent time.Time) time.Time {
	if sent.After(before) {
		return sent
	}
	return before.Add(time.Millisecond)
}

// A sender for which there is no room is told to come again, and nothing is lost.
func TestBusy(t *testing.T) {
	in := new(sourcetest.Intake)
	release := in.Hold()
	defer release()
	address := run(t, in, new(sourcetest.Reports), nil)
	listens(t, address)
	var senders sync.WaitGroup
	for i := range 2 { // as many as there may be
		senders.Go(func() {
			m := pushed(fmt.Sprint("press-", i), "force", began, 1)
			for overGRPC(t.Context(), address, m) != nil && t.Context().Err() == nil {
				_ = wait.Sleep(t.Context(), 10*time.Millisecond) // the late one may have been sooner
			}
		})
	}
	if _, err := in.Wait(t.Context(), func(s sourcetest.State) bool { return s.Waiting > 0 }); err != nil {
		t.Fatal(err)
	}
	late := pushed("late", "force", began, 1)
	waittest.Eventually(t, "there is no room", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // where it found room it would wait for ever
		defer cancel()
		answer, err := sourcetest.Post(ctx, sourcetest.Client(), "http://"+address+otlp.Path, inProto(late), map[string]string{"Content-Type": "application/x-protobuf"})
		return err == nil && strings.HasPrefix(answer, "429 2")
	})
	err := overGRPC(t.Context(), address, late)
	retry := time.Duration(0)
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			retry = info.GetRetryDelay().AsDuration()
		}
	}
	if status.Code(err) != codes.Unavailable || retry <= 0 {
		t.Errorf("over gRPC: %v, again in %v: want Unavailable, and when", err, retry)
	}
	release()
	senders.Wait()
	if err := overGRPC(t.Context(), address, late); err != nil || len(in.Readings()) != 3 {
		t.Errorf("%v, %v; want three readings", texts(in.Readings()), err)
	}
}

// A mapper of KubeEdge has a connection for each property: they stay, however many there are from one machine.
func TestManyMappers(t *testing.T) {
	const mappers = 700
	in := new(sourcetest.Intake)
	address := run(t, in, new(sourcetest.Reports), nil)
	listens(t, address)
	var clients [mappers]http.Client
	for i := range clients {
		transport := new(http.Transport)
		clients[i].Transport = transport
		t.Cleanup(transport.CloseIdleConnections)
	}
	again := 0
	for round := range 2 {
		for i := range clients {
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
				if c.Reused {
					again++
				}
			}})
			body := inProto(pushed(fmt.Sprint("press-", i), "force", began.Add(time.Duration(round)*time.Second), 1))
			if answer, err := sourcetest.Post(ctx, &clients[i], "http://"+address+otlp.Path, body, map[string]string{"Content-Type": "application/x-protobuf"}); err != nil || !strings.HasPrefix(answer, "200") {
				t.Fatalf("mapper %d, round %d: %s, %v", i, round, answer, err)
			}
		}
	}
	if again != mappers || len(in.Readings()) != 2*mappers {
		t.Errorf("%d of %d connections stayed; %d readings", again, mappers, len(in.Readings()))
	}
}

// What a request takes in memory is bounded, however little it says of each point.
func TestMemoryOfARequest(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("measures memory")
	}
	var points []byte
	points = protowire.AppendBytes(protowire.AppendTag(points, 1, protowire.BytesType), nil)
	points = bytes.Repeat(points, (4<<20)/len(points)-64)
	body := points
	for _, field := range []protowire.Number{5, 2, 2, 1} { // gauge, metric, scope, resource
		body = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m, err := otlp.Decode(body, false)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	taken := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("%d points in %d bytes: %d MiB", m.DataPointCount(), len(body), taken)
	if taken > 400 {
		t.Errorf("%d MiB, want at most 400", taken)
	}
}

// Only who shows the token is heard, over TLS.
func TestWhoSends(t *testing.T) {
	files := certtest.New().Issue(t, t.TempDir(), "127.0.0.1")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := new(sourcetest.Intake)
	address := run(t, in, new(sourcetest.Reports), map[string]any{"insecure": false, "tls.cert": files.Cert, "tls.key": files.Key, "tokenFile": token})
	loader, err := tlsfiles.New(tlsfiles.Files{CA: files.CA}, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := loader.Client()
	config.ServerName = "127.0.0.1"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config, ForceAttemptHTTP2: true}}
	over := map[string]func(authorization string) string{
		"HTTP": func(authorization string) string {
			answer, err := sourcetest.Post(t.Context(), client, "https://"+address+otlp.Path, inProto(pushed("press", "force", time.Now(), 1)),
				map[string]string{"Content-Type": "application/x-protobuf", "Authorization": authorization})
			if err != nil {
				return err.Error()
			}
			answer, _, _ = strings.Cut(answer, " ")
			return map[string]string{"200": "OK", "401": "Unauthenticated"}[answer[:3]]
		},
		"gRPC": func(authorization string) string {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", authorization)
			_, err := call(ctx, address, credentials.NewTLS(config.Clone()), pushed("press", "force", time.Now(), 1))
			return status.Code(err).String()
		},
	}
	waittest.Eventually(t, "it listens", func() bool {
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	n := 0
	for name, send := range over {
		for authorization, want := range map[string]string{"": "Unauthenticated", "Bearer wrong": "Unauthenticated", "Bearer sesame": "OK"} {
			if want == "OK" {
				n++
			}
			if got := send(authorization); got != want || len(in.Readings()) != n {
				t.Errorf("%s, %q: %s, %d readings; want %s, %d", name, authorization, got, len(in.Readings()), want, n)
			}
		}
	}
}

// An intake that ended ends the source, and the sender is asked to try again.
func TestIntakeEnds(t *testing.T) {
	why := errors.New("the intake has ended")
	for name, send := range map[string]send{"gRPC": overGRPC, "HTTP": overHTTP("application/x-protobuf", inProto)} {
		address := proctest.FreeAddress(t)
		s := newSource(t, new(sourcetest.Reports), map[string]any{"listen": address})
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context(), sourcetest.Ended{Err: why}) }()
		listens(t, address)
		if err := send(t.Context(), address, pushed("press", "force", began, 1)); err == nil || !strings.Contains(err.Error(), "has ended") {
			t.Errorf("%s: the sender is told %v", name, err)
		}
		if err := <-ended; !errors.Is(err, why) {
			t.Errorf("%s: Run: %v, want %v", name, err, why)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"no address":  {map[string]any{"listen": ""}, "listen"},
		"plaintext":   {map[string]any{"insecure": false}, "tls.cert: must be set"},
		"anyone":      {map[string]any{"insecure": false, "tls.cert": "/nowhere", "tls.key": "/nowhere"}, "tokenFile: must be set, or tls.ca"},
		"a template":  {map[string]any{"device": "{"}, "device"},
		"no property": {map[string]any{"property": ""}, "property"},
		"unknown key": {map[string]any{"lisen": "x"}, `"listen"`},
	} {
		if _, err := otlp.New(settings(new(sourcetest.Reports), c.options)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// many are metrics of so many devices and properties each, as a collector sends them.
func many(devices, properties int) pmetric.Metrics {
	all := pmetric.NewMetrics()
	for d := range devices {
		for p := range properties {
			pushed(fmt.Sprint("press-", d), fmt.Sprint("p", p), began, 20).ResourceMetrics().MoveAndAppendTo(all.ResourceMetrics())
		}
	}
	return all
}

// Finding the series of a point allocates nothing once it is known.
func TestReadAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	reader, err := otlp.NewReader(otlp.DefaultNames(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	m, now, n := many(20, 5), began, 0
	read := func() {
		now = now.Add(time.Second)
		at := pcommon.NewTimestampFromTime(now)
		for _, r := range m.ResourceMetrics().All() {
			r.ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0).SetTimestamp(at)
		}
		n = 0
		reader.Read(m, now, func(source.Reading, otlp.Origin) { n++ })
	}
	read()
	if got := testing.AllocsPerRun(100, read); got > 3 || n != 100 {
		t.Errorf("%v allocations for %d readings, want none for each", got, n)
	}
}

// Whatever is sent, it is decoded and read to an end.
func FuzzDecode(f *testing.F) {
	m := pushed("press", "force", began, 1)
	f.Add(inProto(m), false)
	f.Add(inJSON(m), true)
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"x","sum":{"dataPoints":[{"asInt":"7","timeUnixNano":"1"}]}}]}]}]}`), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool) {
		m, err := otlp.Decode(body, asJSON)
		if err != nil {
			return
		}
		reader, err := otlp.NewReader(otlp.DefaultNames(), 100)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		skipped := reader.Read(m, began, func(r source.Reading, _ otlp.Origin) {
			if n++; r.At.IsZero() || r.Property == nil || strings.ContainsAny(r.Key.Device+r.Key.Property, "/") {
				t.Errorf("%+v", r)
			}
		})
		if points := m.DataPointCount(); n+skipped.All() > points {
			t.Errorf("%d readings and %d skipped of %d points", n, skipped.All(), points)
		}
	})
}
