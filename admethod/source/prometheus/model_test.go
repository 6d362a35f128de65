// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

// sample is one of a series, in Unix milliseconds.
type sample struct {
	at int64
	v  float64
}

// store is what a Prometheus 2 holds of one metric, x, whose series differ by the label i. It answers x[…], x{i="…"}[…] and,
// as an expression, x+0, with a lookback of a minute.
type store struct {
	mu     sync.Mutex
	series map[string][]sample
	hidden string // a series that it does not show, and says nothing of
	most   int    // samples in an answer; 0 means any number
	asked  []url.Values
	fail   error // of every query; nil while it works
	extra  string
}

func (s *store) add(series string, at time.Time, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.series == nil {
		s.series = make(map[string][]sample)
	}
	s.series[series] = append(s.series[series], sample{at.UnixMilli(), v})
}

func (s *store) hides(series string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = series
}

func (s *store) breaks(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *store) queries() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// ask answers as the endpoint would that the form is for.
func (s *store) ask(form url.Values) (text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, form)
	if s.fail != nil {
		return "", s.fail
	}
	type result struct {
		Metric map[string]string `json:"metric"`
		Values [][2]any          `json:"values"`
	}
	results, n := []result{}, 0
	plain := selection.FindStringSubmatch(form.Get("query"))
	for _, name := range slices.Sorted(maps.Keys(s.series)) {
		if name == s.hidden || plain != nil && plain[1] != "" && plain[1] != name {
			continue
		}
		r := result{Metric: map[string]string{"__name__": "x", "i": name}}
		put := func(at int64, v float64) {
			r.Values = append(r.Values, [2]any{json.Number(fmt.Sprintf("%d.%03d", at/1000, at%1000)), strconv.FormatFloat(v, 'f', -1, 64)})
			n++
		}
		if plain != nil {
			window, err := time.ParseDuration(plain[2])
			if err != nil {
				return "", err
			}
			to := milliseconds(form.Get("time"))
			for _, x := range s.series[name] {
				if x.at >= to-window.Milliseconds() && x.at <= to {
					put(x.at, x.v)
				}
			}
		} else {
			step := milliseconds(form.Get("step"))
			for at := milliseconds(form.Get("start")); at <= milliseconds(form.Get("end")); at += step {
				all := s.series[name]
				i, _ := slices.BinarySearchFunc(all, at, func(x sample, at int64) int { return int(x.at - at - 1) })
				for i < len(all) && all[i].at <= at {
					i++
				}
				if i > 0 && at-all[i-1].at < 60000 {
					put(at, all[i-1].v)
				}
			}
		}
		if len(r.Values) > 0 {
			results = append(results, r)
		}
	}
	if s.most > 0 && n > s.most {
		return "", errTooMany
	}
	raw, err := json.Marshal(results)
	return `{"status":"success"` + s.extra + `,"data":{"resultType":"matrix","result":` + string(raw) + `}}`, err
}

var selection = regexp.MustCompile(`^x(?:\{i="(.*)"\})?\[(.*)\]$`)

var errTooMany = errors.New("query processing would load too many samples into memory")

func milliseconds(text string) int64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err) // of the test
	}
	return int64(math.Round(f * 1000))
}

// ServeHTTP is the HTTP API.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		http.Error(w, "want a form", http.StatusMethodNotAllowed)
		return
	}
	text, err := s.ask(r.Form)
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		text = fmt.Sprintf(`{"status":"error","errorType":"execution","error":%q}`, err.Error())
	}
	_, _ = fmt.Fprint(w, text) // the client may be gone
}

func (s *store) decode(form url.Values) (*promapi.Answer, error) {
	text, err := s.ask(form)
	if err != nil {
		return nil, err
	}
	return promapi.Decode(strings.NewReader(text))
}

func settings(t *testing.T, dir string, r *sourcetest.Reports, options map[string]any) source.Settings {
	t.Helper()
	all := map[string]any{"url": "http://127.0.0.1:1", "insecure": true, "device": "{i}", "queries": []any{map[string]any{"query": "x"}}}
	maps.Copy(all, options)
	return source.Settings{Name: "test", Options: all, StateDir: dir, Report: r.Report}
}
