// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/reference"
)

func TestDocs(t *testing.T) {
	const before, after = "# Title\n\nText.\n\n" + reference.BeginMark, reference.EndMark + "\n\nMore text.\n"
	readme := file(t, "README.md", before+"\nold line\n"+after)

	code, stdout, stderr := adctl(t, "", "docs", "--check", readme)
	if code != exitFailed {
		t.Errorf("check of an old reference exits with %d, want %d", code, exitFailed)
	}
	has(t, "check", stdout, readme+":6: - old line", readme+":6: + ## Keys of a property")
	has(t, "standard error", stderr, "not current", "adctl docs --write")

	if code, _, stderr := adctl(t, "", "docs", "--write", readme); code != exitOK {
		t.Fatal(stderr)
	}
	text := read(t, readme)
	if !strings.HasPrefix(text, before+"\n## Keys") || !strings.HasSuffix(text, "|\n"+after) && !strings.HasSuffix(text, ".\n"+after) {
		t.Errorf("what is around the reference has changed:\n%s", text)
	}
	has(t, "reference", text, "| `threshold` | number | `0.95` | 0.5 … 0.9999 |", "### `ewma`", "`detector.window`", "### `inprocess`", "### `log`")

	if code, stdout, _ := adctl(t, "", "docs", "--check", readme); code != exitOK || stdout != "" {
		t.Errorf("check of a current reference exits with %d and says %q", code, stdout)
	}
	info, err := os.Stat(readme)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := adctl(t, "", "docs", "--write", readme); code != exitOK {
		t.Fatal(stderr)
	}
	if again, err := os.Stat(readme); err != nil || !again.ModTime().Equal(info.ModTime()) {
		t.Errorf("a current file was written again (%v)", err)
	}
}

func TestDocsChecksEveryFile(t *testing.T) {
	good := file(t, "a.md", reference.BeginMark+"\n"+reference.EndMark)
	code, _, stderr := adctl(t, "", "docs", "--check", good, good+".gone", file(t, "c.md", "no marks"))
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	has(t, "standard error", stderr, "a.md: the reference is not current", "a.md.gone", "c.md: no line "+reference.BeginMark)
}

func TestDrivers(t *testing.T) {
	code, table, _ := adctl(t, "", "drivers")
	if code != exitOK {
		t.Fatal("exit code", code)
	}
	has(t, "table", table, "ROLE", "detector  auto", "adapter   inprocess", "sink      log", "freeze")

	code, text, _ := adctl(t, "", "drivers", "--output", "json")
	if code != exitOK {
		t.Fatal("exit code", code)
	}
	var r reference.Reference
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	want := linked()
	if got := len(r.Parts()); got != len(want.Parts()) || got < 8 {
		t.Errorf("JSON lists %d parts, want %d", got, len(want.Parts()))
	}
}
