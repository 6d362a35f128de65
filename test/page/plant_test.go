// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin" // judges
)

const operatorToken, viewerToken = "operator-0123456789", "viewer-0123456789"

// plant is a mapper's handler, with everything that the page needs, whose readings a test makes.
type plant struct {
	*pipeline.Handler
	api   *httpapi.Server
	rng   *rand.Rand
	pager *pager
	dir   string
	now   time.Time // of the next reading
}

// pager is a sink that alerts.
type pager struct {
	mu    sync.Mutex
	calls int
}

func (p *pager) Start(context.Context) error    { return nil }
func (p *pager) Shutdown(context.Context) error { return nil }
func (p *pager) Write(_ context.Context, batch []driver.Result) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range batch {
		if batch[i].Incident.Phase == driver.Began {
			p.calls++
		}
	}
	return nil
}

func (p *pager) called() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// pace is from one reading to the next.
const pace = 100 * time.Millisecond

// newPlant begins with as many readings as there will be of the past.
func newPlant(t *testing.T, past int, options map[string]any) *plant {
	t.Helper()
	p := &plant{rng: rand.New(rand.NewPCG(1, 2)), pager: new(pager), dir: t.TempDir(), now: time.Now().Add(-time.Duration(past) * pace)}
	settings := map[string]any{"address": "127.0.0.1:0"}
	for key, token := range map[string]string{"tokenFile": operatorToken, "viewer.tokenFile": viewerToken} {
		file := filepath.Join(p.dir, key)
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		settings[key] = file
	}
	maps.Copy(settings, options)
	sinks, adapters := new(admethod.SinkRegistry), new(admethod.AdapterRegistry)
	api := httpapi.Factory()
	open := api.New
	api.New = func(s admethod.SinkSettings) (admethod.Sink, error) {
		sink, err := open(s)
		if err == nil {
			p.api = sink.(*httpapi.Server)
		}
		return sink, err
	}
	sinks.Register(api.Name, api)
	sinks.Register(recorder.Name, recorder.Factory())
	sinks.Register("pager", admethod.SinkFactory{Name: "pager", Alerts: true, New: func(admethod.SinkSettings) (admethod.Sink, error) { return p.pager, nil }})
	adapters.Register(inprocess.Name, inprocess.Factory())
	var err error
	p.Handler, err = pipeline.NewHandler(pipeline.Options{
		Adapters: adapters, Sinks: sinks, StateDir: filepath.Join(p.dir, "state"), ModelDir: p.dir, DefaultSinks: []string{"api", "recorder", "pager"},
		SinkOptions: map[string]map[string]any{"api": settings},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// bind watches a property of the plant.
func (p *plant) bind(t *testing.T, device, property, unit string, more map[string]any) *pipeline.Binding {
	t.Helper()
	settings := map[string]any{"adMethodName": "inprocess", "quality.late": 0, "quality.missing": 0}
	maps.Copy(settings, more)
	config, err := admethod.ParseSettings(settings)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bind(driver.Key{Namespace: "plant", Device: device, Property: property}, config, admethod.Meta{DataType: "double", Unit: unit, Model: "boiler", Cycle: pace})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bindText watches a property of words.
func (p *plant) bindText(t *testing.T, device, property string, settings map[string]any) *pipeline.Binding {
	t.Helper()
	settings = maps.Clone(settings)
	maps.Copy(settings, map[string]any{"adMethodName": "inprocess", "quality.late": 0, "quality.missing": 0})
	config, err := admethod.ParseSettings(settings)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bind(driver.Key{Namespace: "plant", Device: device, Property: property}, config, admethod.Meta{DataType: "string", Model: "light", Cycle: pace})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// read feeds n readings at once, of which value tells each by its number.
func (p *plant) read(t *testing.T, b *pipeline.Binding, n int, value func(i int) float64) {
	t.Helper()
	for i := range n {
		b.Observe(p.now, value(i))
		p.now = p.now.Add(pace)
		if i%500 == 499 || i == n-1 {
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// around is readings of a boiler at a level.
func (p *plant) around(level float64) func(int) float64 {
	return func(int) float64 { return level + 0.5*p.rng.NormFloat64() }
}

// enter opens the page with a token.
func (p *plant) enter(ctx context.Context, t *testing.T, token, path string) {
	t.Helper()
	do(ctx, t, chromedp.Navigate(address(p.api, path)), chromedp.WaitVisible("#token"), chromedp.SendKeys("#token", token+"\r"), chromedp.WaitNotPresent("#token"))
}

const boilerPath = "#/property?namespace=plant&device=boiler-3&property=temperature"

// shot takes pictures of the page for people to look at, where PAGE_SHOTS names a directory: light, dark, and on a phone.
func shot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("PAGE_SHOTS")
	if dir == "" {
		return
	}
	for _, as := range []struct {
		name, scheme string
		width        int64
	}{{"phone", "light", 390}, {"dark", "dark", 1000}, {"light", "light", 1000}} {
		var data []byte
		do(ctx, t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: as.scheme}}),
			chromedp.EmulateViewport(as.width, 900), chromedp.Sleep(600*time.Millisecond), chromedp.FullScreenshot(&data, 100))
		if err := os.WriteFile(filepath.Join(dir, name+"-"+as.name+".png"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
