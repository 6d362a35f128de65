// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package all_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient/brokertest"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// What TestThroughput has for its child, and how much it sends.
const (
	envDetector = "EDGE_ANOMALY_TEST_DETECTOR" // options of its sources, in JSON
	envHeavy    = "EDGE_ANOMALY_HEAVY"

	devices  = 100 // of each source
	restarts = 10  // of the broker
	points   = 500 // of a request
	window   = 500 // messages that are not acknowledged

	// enough is how many readings a second one core is to judge: of both sources, as many of each.
	enough = 50_000
)

func TestMain(m *testing.M) {
	if options := os.Getenv(envDetector); options != "" {
		if err := detect([]byte(options)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// counted are what the child tells.
type counted struct {
	Distinct map[string]int // readings by source, of those that came again one
	Came     map[string]int
	Judged   int64
	CPU      time.Duration
}

// tally counts the readings of a source on their way. The number of a reading is its value.
type tally struct {
	to     source.Intake
	judged *atomic.Int64

	mu             sync.Mutex
	seen           map[driver.Key][]uint64 // a bit each
	distinct, came int
}

func (c *tally) Take(ctx context.Context, readings []source.Reading) error {
	c.mu.Lock()
	for i := range readings {
		r := &readings[i]
		n := int(r.Value)
		if r.Text != "" {
			n, _ = strconv.Atoi(r.Text)
		}
		bits := c.seen[r.Key]
		for len(bits) <= n/64 {
			bits = append(bits, 0)
		}
		if bits[n/64]&(1<<(n%64)) == 0 {
			bits[n/64] |= 1 << (n % 64)
			c.distinct++
		}
		c.seen[r.Key] = bits
		r.Answer = c
	}
	c.came += len(readings)
	c.mu.Unlock()
	return c.to.Take(ctx, readings)
}

// Answer counts verdicts.
func (c *tally) Answer(_ uint64, r *driver.Result) {
	if r != nil {
		c.judged.Add(1)
	}
}

// tallied is a source whose readings are counted.
type tallied struct {
	source.Source
	*tally
}

func (s tallied) Run(ctx context.Context, in source.Intake) error {
	s.to = in
	return s.Source.Run(ctx, s.tally)
}

// detect is the child: an intake and sources. It tells what it has counted for each line that it reads, until there is none.
func detect(text []byte) error {
	var options map[string]map[string]any
	if err := json.Unmarshal(text, &options); err != nil {
		return err
	}
	in, err := intake.New(intake.Config{Defaults: map[string]any{"detector": "ewma"}})
	if err != nil {
		return err
	}
	var judged atomic.Int64
	tallies := make(map[string]*tally)
	parts := []func(context.Context) error{func(ctx context.Context) error { <-ctx.Done(); return nil }}
	for name, of := range options {
		f, err := source.Sources.Lookup("source", name)
		if err != nil {
			return err
		}
		dir, _ := of["dir"].(string)
		delete(of, "dir")
		s, err := f.New(source.Settings{Name: name, Options: of, StateDir: dir, Report: in.Report})
		if err != nil {
			return err
		}
		tallies[name] = &tally{judged: &judged, seen: make(map[driver.Key][]uint64)}
		parts = append(parts, in.Source(in.Client(name, []string{"*"}, intake.Limits{Rate: -1}), tallied{s, tallies[name]}))
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, parts...) }()
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		c := counted{Distinct: make(map[string]int), Came: make(map[string]int), Judged: judged.Load()}
		for name, of := range tallies {
			of.mu.Lock()
			c.Distinct[name], c.Came[name] = of.distinct, of.came
			of.mu.Unlock()
		}
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return err
		}
		c.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
		if err := json.NewEncoder(os.Stdout).Encode(c); err != nil {
			return err
		}
	}
	end()
	return <-ended
}

// child is the detector, on one core.
type child struct {
	t   *testing.T
	in  *os.File
	out *bufio.Scanner
}

func newChild(t *testing.T, options map[string]map[string]any) *child {
	t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), self) // it ends with its input
	cmd.Env = append(os.Environ(), envDetector+"="+string(text), "GOMAXPROCS=1")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = read
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	t.Cleanup(func() {
		_ = write.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the detector: %v", err)
		}
		if t.Failed() {
			t.Log(said.String())
		}
	})
	return &child{t, write, bufio.NewScanner(out)}
}

// ask is what it has counted by now.
func (c *child) ask() (all counted) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in); err != nil {
		c.t.Fatal(err)
	}
	if !c.out.Scan() {
		c.t.Fatalf("the detector has ended: %v", c.out.Err())
	}
	if err := json.Unmarshal(c.out.Bytes(), &all); err != nil {
		c.t.Fatalf("%v: %s", err, c.out.Text())
	}
	return all
}

// publish publishes the readings of a range at QoS 1, again until the broker has them.
func publish(ctx context.Context, address string, from, to int) error {
	const patience = 5 * time.Second
	var client paho.Client
	defer func() {
		if client != nil {
			client.Disconnect(100)
		}
	}()
	for n := from; n < to && ctx.Err() == nil; {
		if client == nil || !client.IsConnectionOpen() {
			client = paho.NewClient(paho.NewClientOptions().AddBroker("mqtt://" + address).SetClientID("publisher").SetProtocolVersion(4).
				SetAutoReconnect(false).SetConnectTimeout(patience).SetWriteTimeout(patience))
			if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
				continue
			}
		}
		tokens := make([]paho.Token, 0, window)
		for i := n; i < min(n+window, to); i++ {
			tokens = append(tokens, client.Publish(fmt.Sprintf("plant/press-%d/force", i%devices), 1, false, strconv.Itoa(i/devices)))
		}
		for _, token := range tokens {
			if !token.WaitTimeout(patience) || token.Error() != nil {
				break // and all that come behind are published again
			}
			n++
		}
	}
	return ctx.Err()
}

// export exports the readings of a range, again until they are answered.
func export(ctx context.Context, address string, to int) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	client, began := pmetricotlp.NewGRPCClient(conn), time.Now()
	for n := 0; n < to; n += points {
		m := pmetric.NewMetrics()
		for i := n; i < min(n+points, to); i++ {
			r := m.ResourceMetrics().AppendEmpty()
			r.Resource().Attributes().PutStr("device.id", fmt.Sprintf("plant/oven-%d", i%devices))
			g := r.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
			g.SetName("heat")
			p := g.SetEmptyGauge().DataPoints().AppendEmpty()
			p.SetTimestamp(pcommon.NewTimestampFromTime(began.Add(time.Duration(i/devices) * time.Millisecond)))
			p.SetDoubleValue(float64(i / devices))
		}
		for {
			if _, err := client.Export(ctx, pmetricotlp.NewExportRequestFromMetrics(m), grpc.WaitForReady(true)); err == nil {
				break
			} else if ctx.Err() != nil {
				return err
			}
		}
	}
	return nil
}

// A detector on one core judges what comes by MQTT at QoS 1 and by OTLP, as much by each, with the detector ewma. Nothing is lost
// over ten restarts of the broker. What it takes of the core is measured by its own processor time, as others may use the machine;
// it is held to what it should be where EDGE_ANOMALY_HEAVY is set.
func TestThroughput(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Mosquitto")
	}
	broker, start := brokertest.Mosquitto(t)
	each := 50_000
	if os.Getenv(envHeavy) != "" {
		each = 1_000_000
	}
	dir, endpoint := t.TempDir(), proctest.FreeAddress(t)
	process := start()
	detector := newChild(t, map[string]map[string]any{
		"mqtt": {"broker": "mqtt://" + broker, "insecure": true, "timeout": "2s", "topics": []any{map[string]any{"topic": "plant/{device}/{property}"}}, "dir": filepath.Join(dir, "state")},
		"otlp": {"listen": endpoint, "insecure": true},
	})
	first := 0
	waittest.Eventually(t, "it has subscribed", func() bool { // a message of nobody's counts for no reading
		if err := publish(t.Context(), broker, first, first+1); err != nil {
			t.Fatal(err)
		}
		return detector.ask().Distinct["mqtt"] > 0
	})
	before, began := detector.ask(), time.Now()
	var sending sync.WaitGroup
	sending.Go(func() {
		if err := export(t.Context(), endpoint, each); err != nil {
			t.Error(err)
		}
	})
	sending.Go(func() {
		for part := range restarts {
			from, to := each*part/restarts, each*(part+1)/restarts
			half := from + (to-from)/2
			if err := publish(t.Context(), broker, from, half); err != nil {
				t.Error(err)
			}
			var publishing sync.WaitGroup
			publishing.Go(func() {
				if err := publish(t.Context(), broker, half, to); err != nil {
					t.Error(err)
				}
			})
			process.Stop() // while messages are on their way
			process = start()
			publishing.Wait()
		}
	})
	sending.Wait()
	waittest.Eventually(t, "all came", func() bool {
		now := detector.ask()
		return now.Distinct["mqtt"] == each && now.Distinct["otlp"] == each && now.Judged >= int64(now.Came["mqtt"]+now.Came["otlp"])
	})
	after, took := detector.ask(), time.Since(began)
	came := after.Came["mqtt"] + after.Came["otlp"] - before.Came["mqtt"]
	used := after.CPU - before.CPU
	perSecond := float64(came) / used.Seconds()
	t.Logf("%d readings, %d of them again: %.0f a second of one core, %v each; %.0f a second of the clock", came, after.Came["mqtt"]-each,
		perSecond, (used / time.Duration(came)).Round(10*time.Nanosecond), float64(came)/took.Seconds())
	if os.Getenv(envHeavy) != "" && perSecond < enough {
		t.Errorf("one core judges %.0f readings a second, want %d", perSecond, enough)
	}
}
