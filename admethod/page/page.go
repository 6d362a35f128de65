// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package page is what operators look at: incidents that are open, devices by their state, and a property's readings with
// what was expected of them, as they come. It is files that are embedded in the program, for the sink "api" to serve: they
// ask its API, and no other host, for everything. Charts are drawn by uPlot (MIT), see assets/uplot-LICENSE.txt.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed assets
var assets embed.FS

// policy lets the page load what it is made of, and ask where it came from; nothing else, and nothing within another page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is one as it is served.
type file struct {
	kind, etag  string
	plain, tiny []byte // tiny is compressed
}

// load reads and compresses the files when the page is first asked for: most mappers are never looked at.
var load = sync.OnceValues(func() (map[string]*file, error) {
	files := make(map[string]*file)
	err := fs.WalkDir(assets, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := assets.ReadFile(name)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(data) // a buffer takes everything
		if err := w.Close(); err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		f := &file{mime.TypeByExtension(path.Ext(name)), `"` + hex.EncodeToString(sum[:8]) + `"`, data, packed.Bytes()}
		if name = strings.TrimPrefix(name, "assets/"); name == "index.html" {
			name = ""
		}
		files["/"+name] = f
		return nil
	})
	return files, err
})

// Asset is a file that the page is made of, such as chart.js, for what is to look alike.
func Asset(name string) ([]byte, error) { return assets.ReadFile("assets/" + name) }

// Handler serves the page under /. Nothing that it serves is secret: a token is for the API.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files, err := load()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		f, ok := files[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "want GET", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache") // asked for again, and answered by its tag
		h.Set("Content-Type", f.kind)
		h.Set("ETag", f.etag)
		h.Set("Vary", "Accept-Encoding")
		if r.Header.Get("If-None-Match") == f.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		data := f.plain
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			data = f.tiny
		}
		if r.Method == http.MethodGet {
			_, _ = w.Write(data) // whom it concerns is gone
		}
	})
}
