// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"io"
	"strings"
)

// WriteText prints findings for people, a line each and one for its remedy.
func WriteText(w io.Writer, findings []Finding) error {
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
}

// WriteGitHub prints findings as annotations of a GitHub workflow.
func WriteGitHub(w io.Writer, findings []Finding) error {
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
