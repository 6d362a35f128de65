// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DirEnv names the environment variable with the directory of the two programs.
const DirEnv = "EDGE_ANOMALY_APISERVER"

// Resources that tests deal with.
var (
	Devices        = schema.GroupVersionResource{Group: "devices.kubeedge.io", Version: "v1beta1", Resource: "devices"}
	DeviceModels   = schema.GroupVersionResource{Group: "devices.kubeedge.io", Version: "v1beta1", Resource: "devicemodels"}
	DeviceStatuses = schema.GroupVersionResource{Group: "devices.kubeedge.io", Version: "v1beta1", Resource: "devicestatuses"}
	Namespaces     = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

//go:embed crds.yaml
var crds string

const adminToken = "admin-token"

// Server is an API server under test.
type Server struct {
	dir   string
	port  int
	etcd  string
	flags []string
	api   *exec.Cmd
}

// Start runs etcd and an API server with KubeEdge's device resources, until the test ends. The test is skipped where
// [DirEnv] is not set. tokens are users, by the tokens that they show; flags go to the API server as they are.
func Start(t *testing.T, tokens map[string]string, flags ...string) *Server {
	t.Helper()
	bin := os.Getenv(DirEnv)
	if bin == "" {
		t.Skipf("%s does not name the directory of kube-apiserver and etcd: see build.sh", DirEnv)
	}
	s := &Server{dir: t.TempDir(), port: freePort(t)}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	keyFile := filepath.Join(s.dir, "sa.key")
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))
	var users strings.Builder
	users.WriteString(adminToken + ",admin,admin,system:masters\n")
	for token, user := range tokens {
		fmt.Fprintf(&users, "%s,%s,%s\n", token, user, user)
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "tokens.csv"), []byte(users.String()), 0o600))

	s.etcd = fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	peers := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	etcd := s.command(filepath.Join(bin, "etcd"), "etcd.log", "--data-dir", filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", s.etcd, "--advertise-client-urls", s.etcd, "--listen-peer-urls", peers,
		"--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers, "--log-level", "error")
	must(t, etcd.Start())
	t.Cleanup(func() { stop(etcd) })
	s.flags = append([]string{
		filepath.Join(bin, "kube-apiserver"),
		"--etcd-servers", s.etcd, "--secure-port", fmt.Sprint(s.port), "--bind-address", "127.0.0.1",
		"--cert-dir", filepath.Join(s.dir, "certs"), "--authorization-mode", "RBAC",
		"--token-auth-file", filepath.Join(s.dir, "tokens.csv"), "--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", keyFile, "--service-account-signing-key-file", keyFile,
		"--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount", "--v", "0",
	}, flags...)
	s.Resume(t)
	t.Cleanup(func() { s.Pause() })
	s.Apply(t, crds)
	for _, r := range []schema.GroupVersionResource{Devices, DeviceModels, DeviceStatuses} {
		s.wait(t, "resource "+r.Resource, func() error {
			_, err := s.Client(t, "").Resource(r).List(t.Context(), metav1.ListOptions{Limit: 1})
			return err
		})
	}
	return s
}

func (s *Server) command(path, log string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if f, err := os.OpenFile(filepath.Join(s.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		cmd.Stdout, cmd.Stderr = f, f
	}
	return cmd
}

// stop ends a process and waits for it.
func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if f, ok := cmd.Stdout.(*os.File); ok {
		_ = f.Close()
	}
}

// Pause kills the API server; what it holds stays.
func (s *Server) Pause() {
	if s.api != nil {
		stop(s.api)
		s.api = nil
	}
}

// Resume starts the API server, again after Pause, and waits until it is ready.
func (s *Server) Resume(t *testing.T) {
	t.Helper()
	s.api = s.command(s.flags[0], "apiserver.log", s.flags[1:]...)
	must(t, s.api.Start())
	client, err := rest.HTTPClientFor(s.Config(""))
	must(t, err)
	defer client.CloseIdleConnections()
	s.wait(t, "API server", func() error {
		resp, err := client.Get(s.URL() + "/readyz")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz says %s", resp.Status)
		}
		return nil
	})
}

// URL of the API server.
func (s *Server) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", s.port) }

// CAFile is the file of the certificate that the server shows.
func (s *Server) CAFile() string { return filepath.Join(s.dir, "certs", "apiserver.crt") }

// Config is for a user by token; "" is the administrator.
func (s *Server) Config(token string) *rest.Config {
	if token == "" {
		token = adminToken
	}
	return &rest.Config{Host: s.URL(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: -1}
}

// Client is for a user by token; "" is the administrator.
func (s *Server) Client(t *testing.T, token string) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(s.Config(token))
	must(t, err)
	return c
}

// Apply creates the objects of YAML documents, as administrator. One that is there already is left as it is.
func (s *Server) Apply(t *testing.T, documents string) {
	t.Helper()
	for doc := range strings.SplitSeq(documents, "\n---\n") {
		var o unstructured.Unstructured
		must(t, yaml.Unmarshal([]byte(doc), &o.Object))
		gvk := o.GroupVersionKind()
		r := gvk.GroupVersion().WithResource(plural(gvk.Kind))
		s.wait(t, gvk.Kind+" "+o.GetName(), func() error {
			_, err := s.Client(t, "").Resource(r).Namespace(o.GetNamespace()).Create(t.Context(), &o, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
	}
}

func plural(kind string) string {
	kind = strings.ToLower(kind)
	switch {
	case strings.HasSuffix(kind, "s"):
		return kind + "es"
	case strings.HasSuffix(kind, "y"):
		return strings.TrimSuffix(kind, "y") + "ies"
	}
	return kind + "s"
}

// wait tries until there is no error, for two minutes.
func (s *Server) wait(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "apiserver.log"))
			t.Fatalf("%s: %v\n%s", what, err, log[max(0, len(log)-4000):])
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
