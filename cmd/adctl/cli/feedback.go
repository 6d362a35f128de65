// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
)

func newFeedback() *cobra.Command {
	var (
		f              httpapi.Feedback
		api            apiClient
		from, to, data string
	)
	cmd := &cobra.Command{
		Use:   "feedback --verdict normal|fault (--incident ID | --device D --property P --from TIME --to TIME) (--url URL | --data DIR)",
		Short: "Say of an incident that it was normal, or a fault",
		Long: `feedback says what an incident, or what the readings of a property in a span of
time were. Given to a running mapper with --url and the operator's token, it is
kept there as a label, and the detector takes what was normal for normal from
then on: the same raises no incident any more. With --data, a directory of
recorded readings or of a mapper's state, it is kept there as a label, for
exports and training; no detector is told.`,
		Example: `  adctl feedback --url http://127.0.0.1:6806 --token token --incident 3f2a9c0d11e2b7a4 --verdict normal --note 'night shift'
  adctl feedback --data /var/lib/mapper/readings --device light-1 --property power \
    --from 2026-03-01T12:00:00Z --to 2026-03-01T12:10:00Z --verdict fault`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if (api.address == "") == (data == "") {
				return usage(errors.New("--url and --data: want one of them"))
			}
			now := time.Now()
			if f.From, err = when("--from", from, now); err != nil {
				return err
			}
			if f.To, err = when("--to", to, now); err != nil {
				return err
			}
			if f.Incident == "" {
				f.Namespace = cmp.Or(f.Namespace, "default")
			}
			if err := f.Check(); err != nil {
				return usage(err)
			}
			f.By = cmp.Or(f.By, os.Getenv("USER"))
			answer := httpapi.Learned{Reason: "no detector is told through a directory"}
			if api.address != "" {
				answer = httpapi.Learned{}
				err = api.call(cmd.Context(), "feedback", nil, &f, &answer)
			} else {
				answer.Feedback, err = keepFeedback(cmd, data, f, now)
			}
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%s/%s/%s from %s to %s was %s: it is kept\n", cell(answer.Namespace), cell(answer.Device), cell(answer.Property),
				answer.From.UTC().Format(time.RFC3339), answer.To.UTC().Format(time.RFC3339), answer.Verdict)
			switch {
			case answer.Learned:
				fmt.Fprintln(out, "the detector takes it for normal from now on")
			case answer.Verdict == httpapi.SaidNormal:
				fmt.Fprintf(out, "the detector has not learned it: %s\n", cell(answer.Reason))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Incident, "incident", "", "the incident, as adctl verdicts --incidents lists it")
	flags.StringVar(&f.Namespace, "namespace", "", "namespace of the property; default where there is no --incident")
	flags.StringVar(&f.Device, "device", "", "its device; beside --incident, which device of several")
	flags.StringVar(&f.Property, "property", "", "the property, likewise")
	flags.StringVar(&from, "from", "", "time of the first reading, RFC 3339, or a duration before now such as 2h")
	flags.StringVar(&to, "to", "", "time of the last reading, likewise")
	flags.StringVar(&f.Verdict, "verdict", "", "what it was: normal or fault (required)")
	flags.StringVar(&f.Note, "note", "", "why")
	flags.StringVar(&f.By, "by", "", "who says it; the user's name where unset")
	flags.StringVar(&data, "data", "", "directory of recorded readings, or of a mapper's state")
	api.flags(cmd)
	return cmd
}

// keepFeedback adds a label to those of a directory. An incident is looked up in the history that is there.
func keepFeedback(cmd *cobra.Command, dir string, f httpapi.Feedback, now time.Time) (httpapi.Feedback, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return f, usage(fmt.Errorf("--data: got %q, want a directory of recorded readings or of a mapper's state", dir))
	}
	if f.Incident != "" {
		found, err := history.Incidents(cmd.Context(), filepath.Join(dir, history.File), httpapi.IncidentFilter{
			ID: f.Incident, Namespace: labels.Exactly(f.Namespace), Device: labels.Exactly(f.Device), Property: labels.Exactly(f.Property), Limit: 2,
		})
		switch {
		case errors.Is(err, os.ErrNotExist):
			return f, usage(fmt.Errorf("--incident: %w; say --device, --property, --from and --to instead, or --url of a running mapper", err))
		case err != nil:
			return f, err
		case len(found) == 0:
			return f, fmt.Errorf("no incident %s is in the history of %s", f.Incident, dir)
		case len(found) > 1:
			return f, usage(fmt.Errorf("--incident: %s is one of several properties; say --device and --property beside it", f.Incident))
		}
		f.Of(&found[0])
	}
	return f, labels.Add(dir, f.Label(now))
}
