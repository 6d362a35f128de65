// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/lint"
)

// devices looks at what is in the cluster: Devices, their models and their statuses.
func (s *server) devices(ctx context.Context, c Cluster) []Line {
	devices, err := s.list(ctx, "devices")
	if err != nil {
		return []Line{cannot("devices", err)}
	}
	models, err := s.list(ctx, "devicemodels")
	if err != nil {
		return []Line{cannot("devicemodels", err)}
	}
	statuses, err := s.list(ctx, "devicestatuses")
	statusesUnknown := err
	lines := []Line{}
	if statusesUnknown == nil {
		lines = append(lines, atTheEdge(devices, statuses), stale(devices, statuses, c))
	} else {
		lines = append(lines, cannot("devices at the edge", statusesUnknown))
	}
	dropped, refused, err := checkManifests(lint.New(pipeline.Options{}), devices, models)
	if err != nil {
		return append(lines, cannot("detection", err))
	}
	l := Line{Check: "devices that edgecore drops", State: OK, Found: fmt.Sprintf("none of %d", len(devices))}
	if len(dropped) > 0 {
		l.State, l.Found = Wrong, some(dropped)
		l.Remedy = "kubectl get devices,devicemodels -A -o yaml | adctl lint --fix - | kubectl apply -f -"
	}
	lines = append(lines, l)
	l = Line{Check: "devices that are refused", State: OK, Found: fmt.Sprintf("none of %d", len(devices))}
	if len(refused) > 0 {
		l.State, l.Found = Wrong, some(refused)
		l.Remedy = "kubectl get devices,devicemodels -A -o yaml | adctl lint -"
	}
	return append(lines, l)
}

// field is what is under a path of keys; nil where there is nothing.
func field(o map[string]any, path ...string) any {
	var v any = o
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func text(o map[string]any, path ...string) string {
	s, _ := field(o, path...).(string)
	return s
}

func nameOf(o map[string]any) string {
	return text(o, "metadata", "namespace") + "/" + text(o, "metadata", "name")
}

func byName(objects []map[string]any) map[string]map[string]any {
	all := make(map[string]map[string]any, len(objects))
	for _, o := range objects {
		all[nameOf(o)] = o
	}
	return all
}

// atTheEdge finds Devices of which the cloud never heard anything.
func atTheEdge(devices, statuses []map[string]any) Line {
	l := Line{Check: "devices at the edge", State: OK, Found: fmt.Sprintf("each of %d was heard of", len(devices))}
	known := byName(statuses)
	var without, silent []string
	for _, d := range devices {
		status, ok := known[nameOf(d)]
		switch {
		case text(d, "spec", "nodeName") == "":
		case !ok:
			without = append(without, nameOf(d))
		case text(status, "status", "state") == "" && text(status, "status", "lastOnlineTime") == "" && field(status, "status", "twins") == nil:
			silent = append(silent, nameOf(d))
		}
	}
	switch {
	case len(without) > 0:
		l.State, l.Found = Wrong, "CloudCore made no DeviceStatus for "+some(without)
		l.Remedy = "kubectl -n kubeedge logs deployment/cloudcore | grep -i 'device status'; adctl doctor --cloudcore-role | kubectl apply -f -"
	case len(silent) > 0:
		l.State, l.Found = Warning, "nothing was ever reported of "+some(silent)+": EdgeCore dropped them, no mapper took them, or the cloud was away"
		l.Remedy = "on their node: sudo journalctl -u edgecore | grep -i 'does not support converting\\|cannot unmarshal', and sudo adctl doctor --config FILE"
	}
	return l
}

// stale finds verdicts that are older than they can be while somebody detects.
func stale(devices, statuses []map[string]any, c Cluster) Line {
	l := Line{Check: "age of verdicts", State: OK}
	known := byName(devices)
	fresh := 0
	var old []string
	for _, status := range statuses {
		d, ok := known[nameOf(status)]
		at, err := time.Parse(time.RFC3339, text(status, "status", "extensions", c.Extension, "lastUpdated"))
		if !ok || err != nil {
			continue
		}
		if age := c.Now.Sub(at); age > mayBe(d) {
			old = append(old, fmt.Sprintf("%s (%v)", nameOf(status), age.Round(time.Second)))
		} else {
			fresh++
		}
	}
	l.Found = fmt.Sprintf("%d devices have verdicts in extension %s, all fresh", fresh, c.Extension)
	if len(old) > 0 {
		l.State, l.Found = Warning, fmt.Sprintf("%d devices have fresh verdicts; old are those of %s", fresh, some(old))
		l.Remedy = "on their node: sudo adctl doctor --config FILE, and look into the mapper's log for devicestatus"
	}
	return l
}

// mayBe is how old the verdicts on a Device may be: three of its slowest cycles, and two heartbeats of the sink.
func mayBe(device map[string]any) time.Duration {
	const heartbeats = 2 * 5 * time.Minute
	slowest := time.Second
	properties, _ := field(device, "spec", "properties").([]any)
	for _, p := range properties {
		if m, ok := p.(map[string]any); ok {
			if cycle, ok := m["reportCycle"].(float64); ok {
				slowest = max(slowest, admethod.Cycle(int64(cycle), time.Second))
			}
		}
	}
	return heartbeats + 3*slowest
}
