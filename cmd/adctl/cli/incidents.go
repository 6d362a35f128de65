// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
)

// listIncidents lists them from the API, where it has an address, or from the file of a history.
func listIncidents(cmd *cobra.Command, api *apiClient, file, output string, f httpapi.IncidentFilter, until time.Time) (err error) {
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
	if output == "json" {
		if found == nil {
			found = []httpapi.Incident{}
		}
		return writeJSON(cmd.OutOrStdout(), found)
	}
	return incidentTable(cmd.OutOrStdout(), found)
}

func incidentTable(w io.Writer, found []httpapi.Incident) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BEGAN\tLASTED\tOUTCOME\tNAMESPACE\tDEVICE\tPROPERTY\tSEVERITY\tKIND\tBLAMED\tINCIDENT\tREASON")
	for n := range found {
		i := &found[n]
		outcome, blamed := i.Phase.String(), "-"
		if i.End == nil {
			outcome = "open"
		}
		if c := i.Cause; c != nil {
			if blamed = cell(c.Device); c.Property != "" {
				blamed = cell(c.Device + "/" + c.Property)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.Start.UTC().Format("2006-01-02T15:04:05Z"),
			incidents.Lasted(time.Duration(i.Duration*float64(time.Second)), driver.English), outcome,
			cell(i.Namespace), cell(i.Device), cell(i.Property), i.Severity, cell(string(i.Kind)), blamed, cell(i.ID), cell(i.Message))
	}
	return t.Flush()
}
