// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage_test

import (
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

// The reason of an incident is that of the stage that holds it open, in both languages: that readings come late as well is not why
// it stands still. Who is to blame is who was when it was worst, unless it is blamed no more.
func TestIncidentSaysWhy(t *testing.T) {
	s, p := new(stage.Incident), policy(t, stage.PolicyConfig{})
	judge := func(i int, letter byte, message, translated string, causes ...driver.Key) driver.Result {
		r, quality := verdict(letter, i)
		r.Message, r.Translated, r.Causes = message, translated, nil
		for _, k := range causes {
			r.Causes = append(r.Causes, driver.Cause{Key: k})
		}
		s.Judge(&r, quality, p)
		return r
	}
	for i, tt := range []struct {
		letter                    byte
		message, translated       string
		causes                    []driver.Key
		wantMessage, wantTranslat string
		wantCause                 driver.Key
	}{
		{'C', "far off", "远离", []driver.Key{other, key}, "far off", "远离", other},
		{'A', "farther off", "更远", []driver.Key{key, other}, "farther off", "更远", other}, // not worse
		{'A', "", "", nil, "farther off", "更远", other},
		{'q', "no reading since noon", "自中午起没有读数", nil, "farther off", "更远", other},
		{'A', "still off", "", []driver.Key{key}, "still off", "", key},
	} {
		r := judge(i, tt.letter, tt.message, tt.translated, tt.causes...)
		if r.Message != tt.wantMessage || r.Translated != tt.wantTranslat || r.Incident.Cause != tt.wantCause {
			t.Errorf("%d: %q %q %v, want %q %q %v", i, r.Message, r.Translated, r.Incident.Cause, tt.wantMessage, tt.wantTranslat, tt.wantCause)
		}
	}
}
