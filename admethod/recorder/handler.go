// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Path is where [Handler] is to be mounted, for GET.
const Path = "/v1/dataset"

// HandlerOptions configure a [Handler].
type HandlerOptions struct {
	Dir string // of the readings
	// Authorize says whether a request may download; nil refuses all. A server that authenticates by itself says yes.
	Authorize func(*http.Request) bool
	MaxRange  time.Duration // the longest range from … to; 0 is 31 days
	Downloads int           // at the same time; 0 is 2
	// Stall is how long a part of a download may take; 0 is 30 s. A client that is slow but alive gets all, however long
	// that takes in sum; one that stalls is cut off.
	Stall   time.Duration
	MaxWide int // readings of a download in the format wide, which is put together in memory; 0 is 131072
}

// Handler serves readings. The parameters are from and to, which are required (RFC 3339), namespace, device, property
// and label (names or patterns), deviceLabel (name=value or name=pattern, of the device; each of several must match), verdict
// (more than once), format (csv, wide, jsonl or parquet) and align (a duration, of
// wide). A download that fails half-way is cut off, so that the client sees that it is not whole.
func Handler(o HandlerOptions) http.Handler {
	if o.MaxRange <= 0 {
		o.MaxRange = 31 * 24 * time.Hour
	}
	if o.Downloads <= 0 {
		o.Downloads = 2
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	if o.MaxWide <= 0 {
		o.MaxWide = 128 << 10
	}
	return &handler{o, make(chan struct{}, o.Downloads)}
}

type handler struct {
	HandlerOptions
	busy chan struct{}
}

var contentTypes = map[string]string{
	store.CSV: "text/csv; charset=utf-8", store.WideCSV: "text/csv; charset=utf-8",
	store.JSON: "application/jsonl", store.Parquet: "application/vnd.apache.parquet",
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.Authorize == nil || !h.Authorize(r) {
		http.Error(w, "not authorized to download readings", http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	q, opts, err := h.parse(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case h.busy <- struct{}{}:
		defer func() { <-h.busy }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many downloads at the same time", http.StatusTooManyRequests)
		return
	}
	w.Header().Set("Content-Type", contentTypes[opts.Format])
	w.Header().Set("X-Content-Type-Options", "nosniff")
	out := &begun{Writer: w, control: http.NewResponseController(w), stall: h.Stall}
	// To look for readings takes its time, in which nothing is sent; the request's context ends it.
	if err := out.deadline(time.Time{}); err != nil {
		logs.Warningf("recorder: download of readings: %v", err)
	}
	if _, err := store.Export(r.Context(), out, h.Dir, q, opts); err != nil {
		if errors.Is(err, store.ErrTooWide) {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		if r.Context().Err() == nil {
			logs.Warningf("recorder: download of readings: %v", err)
		}
		if out.yes {
			panic(http.ErrAbortHandler) // the only way to tell a client that the body is not whole
		}
		http.Error(w, "the readings cannot be exported; the log says why", http.StatusInternalServerError)
	}
}

// begun knows whether something was sent, and gives each part a deadline of its own, in place of the server's for the
// whole answer.
type begun struct {
	io.Writer
	control *http.ResponseController
	stall   time.Duration
	yes     bool
}

// Write implements io.Writer.
func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	if err := b.deadline(time.Now().Add(b.stall)); err != nil {
		return 0, err
	}
	return b.Writer.Write(p)
}

func (b *begun) deadline(t time.Time) error {
	if err := b.control.SetWriteDeadline(t); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// status answers with the counts and the state of recording.
func (r *Recorder) status(w http.ResponseWriter, _ *http.Request) {
	st := r.Stats()
	answer := struct {
		State   string `json:"state"` // recording, or failing
		Error   string `json:"error,omitempty"`
		Written uint64 `json:"writtenReadings"`
		Lost    uint64 `json:"lostReadings"`
		Bytes   int64  `json:"storedBytes"`
		Damaged int64  `json:"damagedBytes"` // of logs that could not be read; what is around them is kept
	}{State: "recording", Written: st.Written, Lost: st.Lost, Bytes: st.Bytes, Damaged: st.Damaged}
	if st.Err != nil {
		answer.State, answer.Error = "failing", st.Err.Error()
	}
	httpapi.WriteJSON(w, http.StatusOK, answer)
}

var parameters = []string{"from", "to", "namespace", "device", "property", "label", "deviceLabel", "verdict", "format", "align"}

func (h *handler) parse(v url.Values) (q store.Query, opts store.ExportOptions, err error) {
	for name := range v {
		if !slices.Contains(parameters, name) {
			return q, opts, fmt.Errorf("unknown parameter %q, want some of %q", name, parameters)
		}
	}
	if q.From, err = time.Parse(time.RFC3339, v.Get("from")); err != nil {
		return q, opts, fmt.Errorf("from: got %q, want a time such as 2026-03-01T00:00:00Z", v.Get("from"))
	}
	if q.To, err = time.Parse(time.RFC3339, v.Get("to")); err != nil {
		return q, opts, fmt.Errorf("to: got %q, want a time such as 2026-03-01T00:00:00Z", v.Get("to"))
	}
	if q.To.Sub(q.From) > h.MaxRange {
		return q, opts, fmt.Errorf("from … to: got %s, want at most %s", q.To.Sub(q.From), h.MaxRange)
	}
	q.Namespace, q.Device, q.Property, q.Label = v.Get("namespace"), v.Get("device"), v.Get("property"), v.Get("label")
	for _, text := range v["deviceLabel"] {
		if err := q.ParseDeviceLabel(text); err != nil {
			return q, opts, err
		}
	}
	q.Verdicts, opts.MaxWide = v["verdict"], h.MaxWide
	if opts.Format = v.Get("format"); opts.Format == "" {
		opts.Format = store.CSV
	}
	if !slices.Contains(store.Formats(), opts.Format) {
		return q, opts, fmt.Errorf("format: got %q, want one of %q", opts.Format, store.Formats())
	}
	if text := v.Get("align"); text != "" {
		if opts.Align, err = time.ParseDuration(text); err != nil || opts.Align < 0 {
			return q, opts, errors.New("align: want a duration such as 10s")
		}
	}
	return q, opts, q.Validate()
}
