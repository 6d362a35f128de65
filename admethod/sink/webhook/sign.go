// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SignatureHeader carries the signature of a request, where a secret is configured:
//
//	X-Edge-Anomaly-Signature: t=1700000000,v1=5257a869…
//
// t is the time of sending in Unix seconds; v1 is, in hexadecimal, the HMAC-SHA256 under the secret of t as it is
// written, a dot and the body. A receiver computes it anew, compares in constant time, and refuses a t that is long ago,
// so that an old request cannot be replayed. [Verify] does so.
const SignatureHeader = "X-Edge-Anomaly-Signature"

// Sign returns the value of [SignatureHeader] for a body that is sent at the given time.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(digest(secret, t, body))
}

func digest(secret []byte, t string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// Verify checks the value of [SignatureHeader] for a body that was received at the given time; a signature that is
// older, or further in the future, than tolerance is an error. Keys other than t and v1 are passed over.
func Verify(secret []byte, header string, body []byte, now time.Time, tolerance time.Duration) error {
	var t, v1 string
	for part := range strings.SplitSeq(header, ",") {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "t":
			t = value
		case "v1":
			v1 = value
		}
	}
	given, err := hex.DecodeString(v1)
	if err != nil || len(secret) == 0 || !hmac.Equal(given, digest(secret, t, body)) {
		return errors.New("webhook: the signature does not fit the body")
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return fmt.Errorf("webhook: signature: t: %w", err)
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance { // Sub saturates
		return fmt.Errorf("webhook: the signature is of %d, which is more than %v from now", seconds, tolerance)
	}
	return nil
}
