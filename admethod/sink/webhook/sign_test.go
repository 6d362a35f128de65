// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/sink/webhook"
)

// A receiver that takes only what is signed, and of the last five minutes.
func ExampleVerify() {
	secret := []byte("correct horse battery staple")
	receiver := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err == nil {
			err = webhook.Verify(secret, r.Header.Get(webhook.SignatureHeader), body, time.Now(), 5*time.Minute)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	for _, signed := range []string{`{"severity":"critical"}`, `{"severity":"normal"}`} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"severity":"critical"}`))
		r.Header.Set(webhook.SignatureHeader, webhook.Sign(secret, time.Now(), []byte(signed)))
		w := httptest.NewRecorder()
		receiver.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 403
}

func TestVerify(t *testing.T) {
	secret, body, at := []byte("secret"), []byte("body"), time.Unix(1_700_000_000, 0)
	good := webhook.Sign(secret, at, body)
	// printf 1700000000.body | openssl dgst -sha256 -hmac secret
	if want := "t=1700000000,v1=42ac6f0448c1d9c3e1e82b9726248f58fef84afffcbad5188246e96070e0ea46"; good != want {
		t.Errorf("signature %q, want %q", good, want)
	}
	for name, c := range map[string]struct {
		secret, header, body string
		now                  time.Time
		ok                   bool
	}{
		"good":          {"secret", good, "body", at, true},
		"in time":       {"secret", good, "body", at.Add(time.Minute), true},
		"further keys":  {"secret", "v0=1," + good + ",v2=9", "body", at, true},
		"late":          {"secret", good, "body", at.Add(2 * time.Minute), false},
		"early":         {"secret", good, "body", at.Add(-2 * time.Minute), false},
		"other body":    {"secret", good, "bodY", at, false},
		"other secret":  {"Secret", good, "body", at, false},
		"no secret":     {"", webhook.Sign(nil, at, body), "body", at, false},
		"no header":     {"secret", "", "body", at, false},
		"other time":    {"secret", strings.Replace(good, "t=17", "t=18", 1), "body", at, false},
		"last of times": {"secret", webhook.Sign(secret, time.Unix(math.MaxInt64, 0), body), "body", at, false},
		"first of them": {"secret", webhook.Sign(secret, time.Unix(math.MinInt64, 0), body), "body", at, false},
		"short digest":  {"secret", good[:len(good)-2], "body", at, false},
		"not even hex":  {"secret", good + "x", "body", at, false},
		"far past now":  {"secret", good, "body", time.Time{}, false},
		"far after now": {"secret", good, "body", time.Unix(1<<60, 0), false},
	} {
		err := webhook.Verify([]byte(c.secret), c.header, []byte(c.body), c.now, time.Minute)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	at := time.Unix(1_700_000_000, 0)
	f.Add("t=1700000000,v1=00", []byte("body"), int64(0))
	f.Add(webhook.Sign([]byte("secret"), at, []byte("body")), []byte("body"), int64(9223372036854775807))
	f.Fuzz(func(t *testing.T, header string, body []byte, now int64) {
		secret := []byte("secret")
		if webhook.Verify(secret, header, body, time.Unix(now, 0), time.Minute) == nil && !strings.Contains(header, "v1=") {
			t.Errorf("%q is accepted", header)
		}
		signed := time.Unix(now, 0)
		if err := webhook.Verify(secret, webhook.Sign(secret, signed, body), body, signed, time.Minute); err != nil {
			t.Error(err)
		}
	})
}
