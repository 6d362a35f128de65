// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/page"
)

func get(t *testing.T, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w
}

func read(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func assets(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("assets/*")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}

// Everything that the page is made of lies here, is small, and asks no other host.
func TestAssets(t *testing.T) {
	const most = 150 << 10
	sum := 0
	elsewhere := regexp.MustCompile(`(src|href|from|url|fetch|import)[ =("']+https?://`)
	for _, name := range assets(t) {
		path := "/" + strings.TrimPrefix(name, "assets/")
		if path == "/index.html" {
			path = "/"
		}
		answer := get(t, http.MethodGet, path, "Accept-Encoding", "br, gzip")
		body := read(t, answer.Body)
		sum += len(body)
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(name, err)
		}
		text := read(t, z)
		if plain := read(t, get(t, http.MethodGet, path).Body); plain != text {
			t.Errorf("%s: compressed it is another", name)
		}
		if found := elsewhere.FindString(text); found != "" {
			t.Errorf("%s asks another host: %s", name, found)
		}
		if csp := answer.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", name, csp)
		}
		if again := get(t, http.MethodGet, path, "If-None-Match", answer.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s: asked again by its tag it answers %d", name, again.Code)
		}
	}
	if sum > most {
		t.Errorf("%d bytes are sent, want at most %d", sum, most)
	}
	index := read(t, get(t, http.MethodGet, "/").Body)
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#:]+)"`).FindAllStringSubmatch(index, -1) {
		if _, err := os.Stat("assets/" + m[1]); err != nil {
			t.Errorf("the page names what is not there: %v", err)
		}
	}
	if regexp.MustCompile(`<script>|<style|\son[a-z]+=|style=`).MatchString(index) {
		t.Error("scripts and styles of the page must be files, as its policy refuses others")
	}
}

func TestRefusals(t *testing.T) {
	for path, want := range map[string]int{"/nothing.js": http.StatusNotFound, "/assets/page.js": http.StatusNotFound, "/../page.go": http.StatusNotFound} {
		if got := get(t, http.MethodGet, path).Code; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := get(t, http.MethodPost, "/"); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", got.Code)
	}
}

// The chart library is the registry's, as make page-chart takes it: nobody mends it by hand.
func TestChartIsTheRegistrys(t *testing.T) {
	data, err := os.ReadFile("assets/uplot.js")
	if err != nil {
		t.Fatal(err)
	}
	const want = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f" // version 1.6.32
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("assets/uplot.js has the checksum %s, want %s", got, want)
	}
}

// TestWords holds the languages together: each says what the others say, and names every kind of anomaly.
func TestWords(t *testing.T) {
	data, err := os.ReadFile("assets/words.js")
	if err != nil {
		t.Fatal(err)
	}
	_, both, _ := strings.Cut(string(data), "const english = ")
	english, rest, _ := strings.Cut(both, "const chinese = ")
	chinese, _, _ := strings.Cut(rest, "\n};")
	keys := func(text string) []string {
		var names []string
		for _, m := range regexp.MustCompile(`(?m)[{,]?\s([a-zA-Z]+): (?:"|\(|\{)`).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return names
	}
	if a, b := keys(english), keys(chinese); !slices.Equal(a, b) || len(a) < 40 {
		t.Errorf("English says\n%v\nChinese\n%v", a, b)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../driver/result.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known, seen := keys(english), 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Names) != 1 || !strings.HasPrefix(v.Names[0].Name, "Kind") || len(v.Values) != 1 {
			return true
		}
		if kind, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value); kind != "" {
			if seen++; !slices.Contains(known, kind) {
				t.Errorf("kind %s has no words", kind)
			}
		}
		return true
	})
	if seen < 10 {
		t.Errorf("%d kinds found", seen)
	}
	var script strings.Builder
	for _, name := range assets(t) {
		if strings.HasSuffix(name, ".js") && !strings.HasSuffix(name, "uplot.js") {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			script.Write(data)
		}
	}
	for _, m := range regexp.MustCompile(`\bw(?:ords\(\))?\.([a-zA-Z]+)`).FindAllStringSubmatch(script.String(), -1) {
		if !slices.Contains(known, m[1]) && m[1] != "tag" {
			t.Errorf("the page says %q, which has no words", m[1])
		}
	}
}
