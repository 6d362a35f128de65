// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/internal/faultproxy"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/remotewrite"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
	pb "github.com/kubeedge/edge-anomaly/proto/remotewrite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings(r *sourcetest.Reports, options map[string]any) source.Settings {
	all := map[string]any{"listen": "127.0.0.1:1", "insecure": true, "device": "{i}"}
	maps.Copy(all, options)
	return source.Settings{Name: "test", Options: all, Report: r.Report}
}

// run starts a source on an address of its own.
func run(t *testing.T, in source.Intake, r *sourcetest.Reports, options map[string]any) (address string) {
	t.Helper()
	address = proctest.FreeAddress(t)
	all := map[string]any{"listen": address}
	maps.Copy(all, options)
	s, err := remotewrite.New(settings(r, all))
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, s, in)
	return address
}

func series(name, i string, samples ...*pb.Sample) *pb.TimeSeries {
	return &pb.TimeSeries{Labels: []*pb.Label{{Name: "__name__", Value: name}, {Name: "i", Value: i}}, Samples: samples}
}

func at(ms int64, v float64) *pb.Sample { return &pb.Sample{Timestamp: ms, Value: v} }

func body(all ...*pb.TimeSeries) []byte {
	text, err := proto.Marshal(&pb.WriteRequest{Timeseries: all})
	if err != nil {
		panic(err) // of the test
	}
	return snappy.Encode(nil, text)
}

// post sends a request, as Prometheus does.
func post(ctx context.Context, client *http.Client, url string, text []byte, header map[string]string) (string, error) {
	all := map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
	maps.Copy(all, header)
	return sourcetest.Post(ctx, client, url, text, all)
}

// What a source promises: nothing is lost and nothing comes twice, over connections that break and restarts.
func TestSource(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
		address, last := proctest.FreeAddress(t), time.Now().UnixMilli()
		proxy := faultproxy.New(t, address)
		client := sourcetest.Client()
		var p sourcetest.Pusher[*pb.TimeSeries]
		p.Start(t, func(ctx context.Context, some []*pb.TimeSeries) error {
			answer, err := post(ctx, client, "http://"+proxy.Addr()+remotewrite.Path, body(some...), nil)
			if err == nil && !strings.HasPrefix(answer, "204") {
				err = errors.New(answer)
			}
			return err
		})
		return &sourcetest.Origin{
			New: func(t *testing.T) source.Source {
				s, err := remotewrite.New(settings(new(sourcetest.Reports), map[string]any{"listen": address}))
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Send: func(_ *testing.T, n int) {
				last++
				p.Push(series("x", fmt.Sprint(n%3), at(last, float64(n))))
			},
			Series:  3,
			Cut:     func(*testing.T) { proxy.Cut() },
			Replays: true,
		}
	})
}

func TestRequests(t *testing.T) {
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	url := "http://" + run(t, in, r, map[string]any{"maxBody": 4096, "series": 3})
	client := sourcetest.Client()
	waittest.Eventually(t, "it listens", func() bool {
		answer, err := post(t.Context(), client, url+remotewrite.Path, body(), nil)
		return err == nil && answer == "204"
	})
	stale := math.Float64frombits(0x7ff0000000000002)
	good := body(series("x", "a", at(1000, 1), at(2000, stale), at(3000, math.Inf(1)), at(4000, math.NaN())), series("x", "a", at(4000, 7), at(5000, 5)), series("y", "hall/3", at(1000, 3)))
	for name, c := range map[string]struct {
		path   string
		text   []byte
		header map[string]string
		want   string
	}{
		"another path":  {"/write", good, nil, "404"},
		"version 3":     {remotewrite.Path, good, map[string]string{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, "415"},
		"1 as 2":        {remotewrite.Path, good, map[string]string{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, "204"},
		"JSON":          {remotewrite.Path, good, map[string]string{"Content-Type": "application/json"}, "415"},
		"not snappy":    {remotewrite.Path, []byte("\xff\xff\xff\xff\xff\xff"), nil, "400 want snappy"},
		"cut snappy":    {remotewrite.Path, good[:len(good)-5], nil, "400 want snappy"},
		"not a request": {remotewrite.Path, snappy.Encode(nil, []byte("hello")), nil, "400 want a request of remote-write"},
		"a bomb":        {remotewrite.Path, snappy.Encode(nil, make([]byte, 10000)), nil, "413 10000 bytes: want at most 4096"},
		"too long":      {remotewrite.Path, make([]byte, 5000), nil, "413"},
	} {
		answer, err := post(t.Context(), client, url+c.path, c.text, c.header)
		if err != nil || !strings.HasPrefix(answer, c.want) {
			t.Errorf("%s: %s, %v; want %s", name, answer, err, c.want)
		}
		if len(in.Readings()) > 0 {
			t.Fatalf("%s: readings were taken", name)
		}
	}
	if told := r.Now("source test: requests"); !strings.Contains(told, "was refused") {
		t.Errorf("told %q", told)
	}
	for range 2 { // what comes again is passed over
		if answer, err := post(t.Context(), client, url+remotewrite.Path, good, nil); err != nil || answer != "204" {
			t.Errorf("%s, %v", answer, err)
		}
		var got []string
		for _, r := range in.Readings() {
			got = append(got, fmt.Sprint(r.Key, " ", r.At.UnixMilli(), " ", r.Value))
		}
		if want := "default/a/x 1000 1, default/a/x 3000 +Inf, default/a/x 4000 NaN, default/a/x 5000 5, default/hall%2F3/y 1000 3"; strings.Join(got, ", ") != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	odd := body(series("z", "", at(6000, 1)), series("x", "b", at(math.MaxInt64, 1)), series("x", "c", at(6000, 1)), series("x", "a", at(6000, 6)),
		&pb.TimeSeries{Labels: []*pb.Label{{Name: "__name__", Value: "h"}}, Histograms: [][]byte{{}}})
	if answer, err := post(t.Context(), client, url+remotewrite.Path, odd, nil); err != nil || answer != "204" {
		t.Errorf("%s, %v", answer, err)
	}
	told := r.Now("source test: samples")
	for _, want := range []string{`z{i=""}: device: {i}`, `x{i="b"}: timestamp`, `x{i="c"}: more series than the key series allows, 3`, "and 1 more"} {
		if !strings.Contains(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	}
	if n := len(in.Readings()); n != 6 {
		t.Errorf("%d readings, want that of x{i=a} as well", n)
	}
}

// Only who shows the token is heard, over TLS.
func TestWhoSends(t *testing.T) {
	dir := t.TempDir()
	files := certtest.New().Issue(t, dir, "127.0.0.1")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := new(sourcetest.Intake)
	url := "https://" + run(t, in, new(sourcetest.Reports), map[string]any{"insecure": false, "tls.cert": files.Cert, "tls.key": files.Key, "tokenFile": token}) + remotewrite.Path
	loader, err := tlsfiles.New(tlsfiles.Files{CA: files.CA}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: loader.Client()}}
	send := func(authorization string) string {
		answer, err := post(t.Context(), client, url, body(series("x", "a", at(1000, 1))), map[string]string{"Authorization": authorization})
		return cmp.Or(answer, fmt.Sprint(err))
	}
	waittest.Eventually(t, "it listens", func() bool { return strings.HasPrefix(send(""), "401") })
	if got := send("Bearer wrong"); !strings.HasPrefix(got, "401") || len(in.Readings()) > 0 {
		t.Errorf("a wrong token: %s", got)
	}
	if got := send("Bearer sesame"); got != "204" || len(in.Readings()) != 1 {
		t.Errorf("the right token: %s", got)
	}
}

// An address that somebody else has is told, and taken once it is free.
func TestAddressTaken(t *testing.T) {
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	address := run(t, in, r, nil)
	client := sourcetest.Client()
	listens := func() bool {
		answer, err := post(t.Context(), client, "http://"+address+remotewrite.Path, body(), nil)
		return err == nil && answer == "204"
	}
	waittest.Eventually(t, "it listens", listens)
	second, told := new(sourcetest.Intake), new(sourcetest.Reports)
	s, err := remotewrite.New(settings(told, map[string]any{"listen": address}))
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, s, second)
	waittest.Eventually(t, "it is told", func() bool { return strings.Contains(told.Now("source test"), "address already in use") })
}

// An intake that ended ends the source, and the sender is asked to try again.
func TestIntakeEnds(t *testing.T) {
	why := errors.New("the intake has ended")
	address := proctest.FreeAddress(t)
	s, err := remotewrite.New(settings(new(sourcetest.Reports), map[string]any{"listen": address}))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context(), sourcetest.Ended{Err: why}) }()
	waittest.Eventually(t, "the sender is told", func() bool {
		answer, err := post(t.Context(), sourcetest.Client(), "http://"+address+remotewrite.Path, body(series("x", "a", at(1000, 1))), nil)
		return err == nil && strings.HasPrefix(answer, "503")
	})
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("Run: %v, want %v", err, why)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"no address":  {map[string]any{"listen": ""}, "listen"},
		"no host":     {map[string]any{"listen": ":9201"}, "host:port"},
		"plaintext":   {map[string]any{"insecure": false}, "tls.cert: must be set"},
		"anyone":      {map[string]any{"insecure": false, "tls.cert": "/nowhere", "tls.key": "/nowhere"}, "tokenFile: must be set, or tls.ca"},
		"both":        {map[string]any{"tls.cert": "/nowhere"}, "insecure"},
		"no token":    {map[string]any{"tokenFile": "/nowhere"}, "tokenFile"},
		"a template":  {map[string]any{"device": "{"}, "device"},
		"unknown key": {map[string]any{"lisen": "x"}, `"listen"`},
	} {
		if _, err := remotewrite.New(settings(new(sourcetest.Reports), c.options)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// Whatever is sent, decoding ends, within the bound.
func FuzzDecode(f *testing.F) {
	f.Add(body(series("x", "a", at(1000, 1))))
	f.Add(snappy.Encode(nil, make([]byte, 3000)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := remotewrite.Decode(remotewrite.Version1, text, 2048)
		if (err == nil) != (all != nil) {
			t.Errorf("%v beside %v", all, err)
		}
		if len(all) > 2048 {
			t.Errorf("%d series in 2048 bytes", len(all))
		}
	})
}

// Debian's Prometheus sends what it scrapes; nothing of it is lost over a restart of the source, and nothing comes twice.
func TestRealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prometheus")
	}
	path := proctest.Program(t, "prometheus")
	dir, web, address := t.TempDir(), proctest.FreeAddress(t), proctest.FreeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs: [{job_name: self, static_configs: [{targets: [%q]}]}]
remote_write:
  - url: http://%s%s
    queue_config: {batch_send_deadline: 100ms, min_backoff: 30ms, max_backoff: 100ms}
    write_relabel_configs: [{source_labels: [__name__], regex: up, action: keep}]
`, web, address, remotewrite.Path)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in := new(sourcetest.Intake)
	start := func() func() error {
		s, err := remotewrite.New(settings(new(sourcetest.Reports), map[string]any{"listen": address, "device": "{instance}"}))
		if err != nil {
			t.Fatal(err)
		}
		return sourcetest.Run(t, s, in)
	}
	stop := start()
	proctest.Start(t, path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+web, "--log.level=warn")
	for range 2 {
		n := len(in.Readings())
		waittest.Eventually(t, "samples come", func() bool { return len(in.Readings()) > n+20 })
		if err := stop(); err != nil {
			t.Error(err)
		}
		stop = start()
	}
	n := len(in.Readings())
	waittest.Eventually(t, "samples come again", func() bool { return len(in.Readings()) > n+20 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	got := in.Readings()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+web+"/api/v1/query?query=up%5B1h%5D", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := sourcetest.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := promapi.Decode(resp.Body)
	if err != nil || len(answer.Series) != 1 {
		t.Fatalf("%+v, %v", answer, err)
	}
	var want []string
	for _, p := range answer.Series[0].Points {
		at, err := p.At()
		if err != nil {
			t.Fatal(err)
		}
		if !at.Before(got[0].At) && !at.After(got[len(got)-1].At) {
			want = append(want, at.String())
		}
	}
	var have []string
	for _, r := range got {
		have = append(have, r.At.String())
	}
	if !slices.Equal(have, want) {
		t.Errorf("%d readings are not the %d samples that the server has of that time", len(have), len(want))
	}
	t.Logf("%d samples", len(have))
}
