// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// journalLog collects what the server logs.
type journalLog struct{ *logstest.Journal }

// lines returns the lines that hold the text.
func (l *journalLog) lines(text string) []string {
	var found []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// await returns how many lines hold the text, when the first one has come.
func (l *journalLog) await(t *testing.T, text string) int {
	t.Helper()
	// The client may know before the server has written.
	waittest.Eventually(t, "a line of the log with "+text, func() bool { return len(l.lines(text)) > 0 })
	return len(l.lines(text))
}

func captureLogs(t *testing.T) *journalLog {
	t.Helper()
	return &journalLog{logstest.Capture(t)}
}

// attempt opens a stream and asks once; it returns why that failed.
func attempt(t *testing.T, address, token string, creds credentials.TransportCredentials, m *pb.DevicePropertyData, options ...grpc.DialOption) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, append(options, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(m)
	if _, err = stream.Recv(); err != nil {
		return err
	}
	_ = stream.CloseSend()
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// secured is a server with a client for each way to be known.
func secured(t *testing.T, change func(*Config)) (address string, authority *authority) {
	t.Helper()
	dir := t.TempDir()
	authority = newAuthority(t, dir)
	token := filepath.Join(dir, "token")
	write(t, token, []byte("secret\n"))
	both := filepath.Join(dir, "both")
	write(t, both, []byte("second\n"))
	c := Config{
		TLS: authority.issue("localhost"), Clients: map[string]Client{
			"mapper": {Names: []string{"mapper"}, Namespaces: []string{"default"}},
			"rogue":  {Names: []string{"rogue"}, Namespaces: []string{"rogue"}},
			"tokens": {Token: token, Namespaces: []string{"default"}},
			"both":   {Token: both, Names: []string{"both"}, Namespaces: []string{"default"}},
		}, Handshake: time.Second, MaxPending: 8, Config: intake.Config{
			Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"},
		},
	}
	if change != nil {
		change(&c)
	}
	address, _ = serve(t, c)
	return address, authority
}

// Whoever must not be let in is refused with a clear error, which is logged once.
func TestRefusals(t *testing.T) {
	address, authority := secured(t, nil)
	closed, strict := secured(t, func(c *Config) { // nobody without a certificate
		delete(c.Clients, "tokens")
		delete(c.Clients, "both")
	})
	plain, _ := serve(t, Config{Insecure: true, Handshake: time.Second})
	stranger := newAuthority(t, t.TempDir())
	forged := authority.config("")
	forged.Certificates = stranger.config(stranger.name("mapper")).Certificates
	authority.Expired(t, authority.dir, "expired")
	expired := authority.config("expired")
	good := func() *pb.DevicePropertyData { return reading(0, "20") }
	foreign := good()
	foreign.Namespace = "rogue"
	hidden := good() // the series of a foreign namespace
	hidden.Series = &pb.SeriesInfo{Members: []*pb.Member{{Namespace: "rogue", DeviceName: "lamp", PropertyName: "light"}}}
	huge := reading(0, strings.Repeat("x", maxMessage))
	for _, test := range []struct {
		name, address, token string
		creds                credentials.TransportCredentials
		m                    *pb.DevicePropertyData
		code                 codes.Code
		says, logged         string
	}{
		{"a known certificate", address, "", authority.credentials("mapper"), good(), codes.OK, "", ""},
		{"a known token", address, "secret", authority.credentials(""), good(), codes.OK, "", ""},
		{"a token and a certificate", address, "second", authority.credentials("both"), good(), codes.OK, "", ""},
		{"plaintext", address, "", insecure.NewCredentials(), good(), codes.Unavailable, "", "does not speak TLS"},
		{"TLS to a plaintext server", plain, "", authority.credentials("mapper"), good(), codes.Unavailable, "tls", ""},
		{"unknown authority", address, "", credentials.NewTLS(forged), good(), codes.Unavailable, "certificate", "unknown authority"},
		{"expired certificate", address, "", credentials.NewTLS(expired), good(), codes.Unavailable, "certificate", "expired"},
		{"no certificate", closed, "", strict.credentials(""), good(), codes.Unavailable, "certificate required", "didn't provide a certificate"},
		{"neither certificate nor token", address, "", authority.credentials(""), good(), codes.Unauthenticated, "want a client certificate, or a token", "want a client certificate"},
		{"wrong token", address, "wrong", authority.credentials(""), good(), codes.Unauthenticated, "token is not known", "token is not known"},
		{"wrong token, known certificate", address, "wrong", authority.credentials("mapper"), good(), codes.Unauthenticated, "token is not known", ""},
		{"token without its certificate", address, "second", authority.credentials(""), good(), codes.Unauthenticated, "certificate beside it", ""},
		{"unknown name", address, "", authority.credentials("nobody"), good(), codes.PermissionDenied, "nobody", "may not send for any namespace"},
		{"foreign namespace", address, "", authority.credentials("mapper"), foreign, codes.PermissionDenied, `namespace "rogue"`, `may not send for namespace`},
		{"foreign namespace in the series", address, "", authority.credentials("mapper"), hidden, codes.PermissionDenied, `namespace "rogue"`, ""},
		{"oversized message", address, "", authority.credentials("mapper"), huge, codes.ResourceExhausted, "larger than max", "larger than max"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := captureLogs(t)
			said := false
			for try := 0; try < 2 || !said && try < 20; try++ {
				err := attempt(t, test.address, test.token, test.creds, test.m)
				said = said || strings.Contains(fmt.Sprint(err), test.says)
				if status.Code(err) != test.code {
					t.Fatalf("%v, want %v", err, test.code)
				}
				if !said && test.code != codes.Unavailable { // a broken connection may hide why it was broken
					t.Fatalf("%v, want %q", err, test.says)
				}
			}
			if !said {
				t.Errorf("nothing says %q", test.says)
			}
			if test.logged != "" && l.await(t, test.logged) != 1 {
				t.Errorf("want it logged once with %q:\n%s", test.logged, l.String())
			}
		})
	}
}

func (a *authority) name(name string) string {
	a.issue(name)
	return name
}

// A client may compress.
func TestGzip(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true})
	gzip := grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip"))
	if err := attempt(t, address, "", insecure.NewCredentials(), reading(0, "20"), gzip); err != nil {
		t.Error(err)
	}
	// What is small on the wire may be large.
	huge := reading(0, strings.Repeat("x", 4*maxMessage))
	if err := attempt(t, address, "", insecure.NewCredentials(), huge, gzip); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a bomb: %v", err)
	}
}

// What is not safe must be spelled out.
func TestModesAreSpelledOut(t *testing.T) {
	authority := newAuthority(t, t.TempDir())
	files := authority.issue("localhost")
	oneSided := files
	oneSided.CA = ""
	mapper := map[string]Client{"mapper": {Names: []string{"mapper"}, Namespaces: []string{"default"}}}
	for _, test := range []struct {
		name, says string
		config     Config
	}{
		{"nothing", "insecure", Config{}},
		{"plaintext without insecure", "insecure", Config{Clients: mapper}},
		{"insecure with clients", "nobody can tell who sends", Config{Insecure: true, Clients: mapper}},
		{"insecure with certificates", "want no tls.*", Config{Insecure: true, TLS: files}},
		{"no clients", "want clients, or namespaces of anonymous ones", Config{TLS: files}},
		{"names without an authority", "want tls.ca", Config{TLS: oneSided, Clients: mapper}},
		{"a client without credentials", "want names of a certificate, or a token", Config{TLS: files, Clients: map[string]Client{"a": {Namespaces: []string{"*"}}}}},
		{"a client without namespaces", "want namespaces", Config{TLS: files, Clients: map[string]Client{"a": {Names: []string{"a"}}}}},
		{"two clients with one name", "want only one", Config{TLS: files, Clients: map[string]Client{
			"a": {Names: []string{"x"}, Namespaces: []string{"*"}}, "b": {Names: []string{"x"}, Namespaces: []string{"*"}},
		}}},
		{"no such token", "no such file", Config{TLS: files, Clients: map[string]Client{"a": {Token: "/none", Namespaces: []string{"*"}}}}},
		{"a wrong route", "routes[0]", Config{Insecure: true, Config: intake.Config{Routes: []Route{{Device: "["}}}}},
		{"wrong settings of a route", "thresh", Config{Insecure: true, Config: intake.Config{Routes: []Route{{Settings: map[string]any{"thresh": 1}}}}}},
		{"an unknown sink", "sinks", Config{Insecure: true, Config: intake.Config{Sinks: []string{"none"}}}},
	} {
		if _, err := New(test.config); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
	// Everybody under TLS, for what is named.
	address, _ := serve(t, Config{TLS: oneSided, Anonymous: []string{"default"}})
	if err := attempt(t, address, "", authority.credentials(""), reading(0, "20")); err != nil {
		t.Error(err)
	}
	m := reading(0, "20")
	m.Namespace = "other"
	if err := attempt(t, address, "", authority.credentials(""), m); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another namespace: %v", err)
	}
}

// New certificates, a new authority and a new token are used without a restart.
func TestRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("files are looked at once a second")
	}
	var token string
	address, authority := secured(t, func(c *Config) { token = c.Clients["tokens"].Token })
	old := authority.credentials("mapper")
	shown := authority.config("mapper").Certificates
	if err := attempt(t, address, "", old, reading(0, "20")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case <-ctx.Done():
				t.Fatal(what, " did not come")
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	serial := func() string {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}) //nolint:gosec // it only looks
		if err != nil {
			return ""
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	authority.issue("localhost")
	eventually("the new certificate", func() bool { return serial() != before })

	next := newAuthority(t, authority.dir) // overwrites the authority's file
	next.issue("localhost")
	renewed := next.credentials("mapper")
	eventually("the new authority", func() bool { return attempt(t, address, "", renewed, reading(0, "20")) == nil })
	both := next.config("") // trusts the new authority, and shows what the old one issued
	both.Certificates = shown
	if err := attempt(t, address, "", credentials.NewTLS(both), reading(0, "20")); status.Code(err) != codes.Unavailable {
		t.Errorf("a certificate of the old authority: %v", err)
	}
	write(t, token, []byte("changed"))
	eventually("the new token", func() bool { return attempt(t, address, "changed", next.credentials(""), reading(0, "20")) == nil })
	if err := attempt(t, address, "secret", next.credentials(""), reading(0, "20")); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the old token: %v", err)
	}
}

// A mapper with one device in a foreign namespace is told so, and goes on with its other devices.
func TestForeignReadingIsRefusedAlone(t *testing.T) {
	authority := newAuthority(t, t.TempDir())
	address, _ := serve(t, Config{
		TLS: authority.issue("localhost"), Clients: map[string]Client{"mapper": {Names: []string{"mapper"}, Namespaces: []string{"default"}}},
	})
	stream := dial(t, address, authority.credentials("mapper"))
	for i, namespace := range []string{"rogue", "default", "rogue", "default"} {
		m := reading(i, "20")
		m.Namespace, m.Sequence = namespace, uint64(i+1)
		got, err := ask(t, stream, m)
		if err != nil {
			t.Fatal(i, err)
		}
		refused := strings.Contains(got.Message, "may not send for namespace")
		if got.Sequence != m.Sequence || refused != (namespace == "rogue") || refused && got.Severity != pb.Severity_SEVERITY_UNKNOWN {
			t.Errorf("namespace %s is answered with %v", namespace, got)
		}
	}
}
