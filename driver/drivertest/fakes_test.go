// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, f driver.Factory) driver.Detector {
	t.Helper()
	d, err := f.Open(driver.Settings{Members: make([]driver.Member, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func detect(d driver.Detector, v float64) driver.Result {
	row := driver.Row{{Value: v}}
	var out driver.Result
	out.Reset(row)
	out.Threshold = driver.DefaultThreshold
	d.Detect(row, &out)
	return out
}

func TestPanics(t *testing.T) {
	d := open(t, drivertest.Panics(3))
	for i := 1; i <= 4; i++ {
		func() {
			defer func() {
				if v := recover(); (v != nil) != (i >= 3) {
					t.Errorf("reading %d: recovered %v, want a panic from the third on", i, v)
				}
			}()
			if got := detect(d, 1).Severity; got != driver.Normal {
				t.Errorf("reading %d is %v, want normal", i, got)
			}
		}()
	}
}

func TestHangsUntilReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := open(t, drivertest.Hangs(release))
		done := make(chan driver.Result, 2)
		go func() {
			done <- detect(d, 1)
			done <- detect(d, 2)
		}()
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("Detect returned before it was released")
		}
		release <- struct{}{}
		synctest.Wait()
		if len(done) != 1 {
			t.Fatalf("%d readings were released by one value, want 1", len(done))
		}
		close(release)
		synctest.Wait()
		if len(done) != 2 {
			t.Fatal("Detect hangs on a closed channel")
		}
	})
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if got := detect(open(t, drivertest.Slow(time.Hour)), 1).Severity; got != driver.Normal {
			t.Errorf("severity is %v, want normal", got)
		}
		if took := time.Since(begin); took != time.Hour {
			t.Errorf("Detect took %v, want an hour", took)
		}
	})
}

func TestRecorderCopiesRows(t *testing.T) {
	var r drivertest.Recorder
	d := open(t, r.Factory())
	row := driver.Row{{Value: 1}}
	var out driver.Result
	d.Detect(row, &out)
	row[0].Value = 2
	d.Detect(row, &out)
	d.Detect(nil, &out)
	if got := fmt.Sprint(r.Values()); got != "[1 2 NaN]" || len(r.Rows()) != 3 {
		t.Errorf("recorded %s, want [1 2 NaN]", got)
	}
}

// Verify tells outside of a test what Check would complain about.
func ExampleVerify() {
	percent := drivertest.Func("percent", func(_ driver.Row, out *driver.Result) { out.Score = 100 })
	fmt.Println(drivertest.Verify(percent) != nil)
	// Output: true
}
