// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
)

// listIncidents lists them from the API, where it has an address, or from the file of a history.
func listIncidents(cmd *cobra.Command, api *apiClient, file string, out *output, f httpapi.IncidentFilter, until time.Time) (err error) {
	var found []httpapi.Incident
	if api.address != "" {
		found, err = api.incidents(cmd.Context(), f)
	} else {
		found, err = history.Incidents(cmd.Context(), file, f)
	}
	if err != nil {
		return noHistory(err)
	}
	if !until.IsZero() {
		found = slices.DeleteFunc(found, func(i httpapi.Incident) bool { return !i.Start.Before(until) })
	}
	if found == nil {
		found = []httpapi.Incident{}
	}
	return out.show(cmd, found, incidentTable(found))
}

func incidentTable(found []httpapi.Incident) *grid {
	g := &grid{head: []string{"began", "lasted", "outcome", "namespace", "device", "property", "severity", "kind", "blamed", "incident", "reason"}}
	for n := range found {
		i := &found[n]
		outcome, blamed := i.Phase.String(), ""
		if i.End == nil {
			outcome = "open"
		}
		if c := i.Cause; c != nil {
			if blamed = c.Device; c.Property != "" {
				blamed += "/" + c.Property
			}
		}
		g.add(i.Start.UTC().Format("2006-01-02T15:04:05Z"), incidents.Lasted(time.Duration(i.Duration*float64(time.Second)), driver.English),
			outcome, i.Namespace, i.Device, i.Property, i.Severity.String(), string(i.Kind), blamed, i.ID, i.Message)
	}
	return g
}
