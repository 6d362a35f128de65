// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Formats lists the names that Write takes.
var Formats = []string{"text", "json", "github"}

// Write prints findings: as text for people, as a JSON array, or as annotations of a GitHub workflow.
func Write(w io.Writer, format string, findings []Finding) error {
	switch format {
	case "text":
		for _, f := range findings {
			if _, err := fmt.Fprintf(w, "%s:%d:%d: %s [%s] %s\n", f.File, f.Line, f.Column, f.Severity, f.Rule, subject(f)+f.Message); err != nil {
				return err
			}
			if f.Remedy != "" {
				if _, err := fmt.Fprintf(w, "    remedy: %s\n", f.Remedy); err != nil {
					return err
				}
			}
		}
		return nil
	case "json":
		if findings == nil {
			findings = []Finding{}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(findings)
	case "github":
		for _, f := range findings {
			message := subject(f) + f.Message
			if f.Remedy != "" {
				message += "\nremedy: " + f.Remedy
			}
			if _, err := fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", f.Severity,
				githubProperty(f.File), f.Line, f.Column, githubProperty(f.Rule), githubMessage(message)); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("got format %q, want one of %s", format, strings.Join(Formats, ", "))
}

func subject(f Finding) string {
	switch {
	case f.Object == "":
		return ""
	case f.Property == "":
		return f.Object + ": "
	}
	return f.Object + "/" + f.Property + ": "
}

// Workflow commands are lines, so what would end one is escaped.
func githubMessage(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func githubProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}
