// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Members that come without row numbers are put together by the server, for groups that clients describe and for
// groups of the server's own routes.
func TestServerAlignsRows(t *testing.T) {
	address, _ := serve(t, Config{
		Insecure: true, Config: intake.Config{
			Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"}, Routes: []Route{{Device: "lamp", Property: "r*", Settings: map[string]any{"group": "room"}}},
		},
	})
	info := &pb.SeriesInfo{Group: "g", Detector: "echo", Members: []*pb.Member{
		{Namespace: "default", DeviceName: "lamp", PropertyName: "a", CycleMs: 1000},
		{Namespace: "default", DeviceName: "lamp", PropertyName: "b", CycleMs: 1000},
	}}
	const held = int(driver.Held)
	for name, test := range map[string]struct {
		a, b string
		info *pb.SeriesInfo
		warm int // readings until the group has all of its members
	}{"described": {"a", "b", info, 0}, "by route": {"ra", "rb", nil, 2}} {
		t.Run(name, func(t *testing.T) {
			stream := dial(t, address, insecure.NewCredentials())
			i := 0
			say := func(property string, second int, value float64, want string) {
				t.Helper()
				m := reading(second, fmt.Sprint(value))
				m.PropertyName = property
				if i == 0 {
					m.Series = test.info
				}
				i++
				got, err := ask(t, stream, m)
				if err != nil || !strings.HasPrefix(got.Message, want) || (want == "") != (got.Message == "") {
					t.Errorf("%s at %d: %v, %v; want %q", property, second, got, err, want)
				}
			}
			if test.info == nil {
				say(test.a, 0, 1, "1 1:0")
				say(test.b, 0, 1, "")
				say(test.a, 0, 1, "2 1:0 1:0")
			}
			say(test.a, 1, 10, "")
			say(test.b, 1, 20, "2 10:0 20:0")
			say(test.b, 2, 21, "")
			say(test.a, 2, 11, "2 11:0 21:0")
			say(test.a, 3, 12, "")
			say(test.a, 4, 13, fmt.Sprintf("2 13:0 21:%d", held)) // b was missed
			say(test.b, 4, 22, fmt.Sprintf("2 13:%d 22:0", held))
			if test.info != nil { // it has a cycle
				say(test.a, 60, 14, "")
				say(test.a, 61, 15, "no recent reading of default/lamp/b")
			}
		})
	}
}

// Rows that a client numbers need the right index; one that is wrong is answered.
func TestWrongMember(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, Config: intake.Config{Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"}}})
	stream := dial(t, address, insecure.NewCredentials())
	m := of("a", 0, 1)
	m.Series = &pb.SeriesInfo{Group: "g", Members: []*pb.Member{
		{Namespace: "default", DeviceName: "lamp", PropertyName: "a"}, {Namespace: "default", DeviceName: "lamp", PropertyName: "b"},
	}}
	m.Row, m.Member = 1, 1
	if got, err := ask(t, stream, m); err != nil || !strings.Contains(got.Message, "want the index of the property in the series, 0") {
		t.Errorf("%v, %v", got, err)
	}
	m.Member, m.Row = 1<<31, 1
	if got, err := ask(t, stream, m); err != nil || got.Severity != pb.Severity_SEVERITY_UNKNOWN {
		t.Errorf("%v, %v", got, err)
	}
}
