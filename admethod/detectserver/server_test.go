// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server on loopback; stop drains it.
func serve(t *testing.T, c Config) (address string, stop func()) {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func dial(t *testing.T, address string, creds credentials.TransportCredentials) pb.AnomalyDetectionService_StreamDetectClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func reading(i int, value string) *pb.DevicePropertyData {
	return &pb.DevicePropertyData{
		Namespace: "default", DeviceName: "lamp", PropertyName: "light", PropertyValue: value,
		Timestamp: time.Unix(1_700_000_000+int64(i), 0).UTC().Format(time.RFC3339Nano),
	}
}

func ask(t *testing.T, stream pb.AnomalyDetectionService_StreamDetectClient, m *pb.DevicePropertyData) (*pb.AnomalyResponse, error) {
	t.Helper()
	_ = stream.Send(m) // Recv tells why it failed
	return stream.Recv()
}

// A client that knows only the proposal's fields gets one answer to each reading, in order.
func TestProposalOnlyClient(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, Defaults: map[string]any{"detector": "ewma"}})
	stream := dial(t, address, insecure.NewCredentials())
	const n = 2000
	go func() {
		for i := range n {
			value := fmt.Sprint(20 + float64(i*7%5)/10)
			if i == n-1 {
				value = "9000"
			}
			if stream.Send(reading(i, value)) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for i := range n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(i, err)
		}
		if want := reading(i, "").Timestamp; m.Timestamp != want {
			t.Fatalf("answer %d is of %s, want %s", i, m.Timestamp, want)
		}
		if i == n-1 && m.Status == "ok" {
			t.Errorf("the spike is answered with %v", m)
		}
	}
}

// A repeat is answered as the first time, on another connection too, and is not learned twice.
func TestRepeatsAreRecognised(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, Defaults: map[string]any{"detector": "ewma"}})
	var first *pb.AnomalyResponse
	for attempt := range uint32(2) {
		stream := dial(t, address, insecure.NewCredentials())
		m := reading(0, "20")
		m.Stream, m.Sequence, m.Attempt = &pb.StreamInfo{StreamId: "a"}, 1, attempt
		got, err := ask(t, stream, m)
		if err != nil || got.Sequence != 1 || got.Detector != "ewma" {
			t.Fatal(got, err)
		}
		if first != nil && first.String() != got.String() {
			t.Errorf("the repeat is answered with %v, want %v", got, first)
		}
		first = got
	}
}

func TestGroup(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true})
	stream := dial(t, address, insecure.NewCredentials())
	series := &pb.SeriesInfo{Group: "room", Detector: "mahalanobis"}
	for _, p := range []string{"light", "power"} {
		series.Members = append(series.Members, &pb.Member{Namespace: "default", DeviceName: "lamp", PropertyName: p})
	}
	for i, p := range []string{"light", "power"} {
		m := reading(0, "1")
		m.PropertyName, m.Row, m.Member, m.Sequence, m.Series = p, 1, uint32(i), uint64(i+1), series
		got, err := ask(t, stream, m)
		if err != nil {
			t.Fatal(err)
		}
		if got.Sequence != uint64(i+1) {
			t.Errorf("answer %v", got)
		}
	}
}

func TestRefusals(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, MaxSeries: 1})
	for name, test := range map[string]struct {
		m    *pb.DevicePropertyData
		code codes.Code
	}{
		"no device": {&pb.DevicePropertyData{Namespace: "default"}, codes.InvalidArgument},
		"no time":   {&pb.DevicePropertyData{Namespace: "n", DeviceName: "d", PropertyName: "p"}, codes.InvalidArgument},
		"oversized": {reading(0, strings.Repeat("x", maxMessage)), codes.ResourceExhausted},
		"unknown detector": {&pb.DevicePropertyData{Namespace: "n", DeviceName: "d", PropertyName: "p", TimeUnixNano: 1,
			Series: &pb.SeriesInfo{Detector: "nope", Members: []*pb.Member{{Namespace: "n", DeviceName: "d", PropertyName: "p"}}}}, codes.InvalidArgument},
	} {
		stream := dial(t, address, insecure.NewCredentials())
		_, err := ask(t, stream, test.m)
		if err == nil { // the answer to the reading comes before the end of the stream
			_, err = stream.Recv()
		}
		if status.Code(err) != test.code {
			t.Errorf("%s: %v, want %v", name, err, test.code)
		}
	}
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "insecure") {
		t.Errorf("neither TLS nor insecure: %v", err)
	}
}

func TestDrainAnswersWhatWasRead(t *testing.T) {
	address, stop := serve(t, Config{Insecure: true})
	stream := dial(t, address, insecure.NewCredentials())
	if _, err := ask(t, stream, reading(0, "20")); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("after the drain: %v", err)
	}
}

// issue writes a certificate by the authority, or a new authority.
func issue(t *testing.T, dir, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, tlsfiles.Files) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if ca == nil {
		ca, caKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := tlsfiles.Files{CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	for path, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key, files
}

func TestWhoMaySendForWhichNamespace(t *testing.T) {
	dir := t.TempDir()
	ca, key, _ := issue(t, dir, "ca", nil, nil)
	_, _, server := issue(t, dir, "localhost", ca, key)
	config := Config{TLS: server, Clients: map[string][]string{"mapper": {"default"}, "foreign": {"other"}}}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	address, _ := serve(t, config)
	for name, want := range map[string]codes.Code{
		"mapper": codes.OK, "foreign": codes.PermissionDenied, "stranger": codes.PermissionDenied, "": codes.Unavailable,
	} {
		c := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
		if name != "" {
			_, _, files := issue(t, dir, name, ca, key)
			cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{cert}
		}
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
		if err == nil {
			if _, err = ask(t, stream, reading(0, "20")); err == nil && want != codes.OK {
				_, err = stream.Recv()
			}
		}
		if status.Code(err) != want {
			t.Errorf("client %q: %v, want %v", name, err, want)
		}
		cancel()
		conn.Close()
	}
}
