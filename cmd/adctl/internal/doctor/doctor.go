// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package doctor finds what is wrong between here and a verdict: on a node, and in a cluster. It changes nothing; each
// of its lines says how to mend what it found.
package doctor

import (
	"context"
	_ "embed" // the manifest
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubeedge/edge-anomaly/device/config"
)

// State is how a check ended.
type State string

// The states. Only Wrong makes the exit status; Unknown could not be looked at.
const (
	OK      State = "ok"
	Warning State = "warning"
	Wrong   State = "wrong"
	Unknown State = "unknown"
)

// Line is one finding.
type Line struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // a command, or what to change
}

// CloudCoreRole is a ClusterRole that gives CloudCore the rights on DeviceStatuses which KubeEdge's chart forgets.
//
//go:embed cloudcore-role.yaml
var CloudCoreRole string

// Node says where things are on a node.
type Node struct {
	Socket     string         // of EdgeCore
	EdgeCore   string         // program; "" looks for edgecore in PATH
	MetaServer string         // host:port
	Config     *config.Config // of the mapper; nil: not looked at
}

// Cluster says how to reach the cluster, and who is asked after.
type Cluster struct {
	Config    *rest.Config
	CloudCore string // its service account, as namespace/name
	Mapper    string // the service account of the sink devicestatus, as namespace/name
	Extension string // that the sink writes
	Now       time.Time
}

// Write prints lines as a table, or as JSON.
func Write(w io.Writer, format string, lines []Line) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(append([]Line{}, lines...))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CHECK\tSTATE\tFOUND")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\n", l.Check, l.State, oneLine(l.Found))
		if l.Remedy != "" && l.State != OK {
			fmt.Fprintf(table, "\t\t→ %s\n", oneLine(l.Remedy))
		}
	}
	return table.Flush()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Failed counts what is wrong.
func Failed(lines []Line) (n int) {
	for _, l := range lines {
		if l.State == Wrong {
			n++
		}
	}
	return n
}

// some names the first few of many.
func some(names []string) string {
	const most = 5
	slices.Sort(names)
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// within bounds one check.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 5*time.Second)
}
