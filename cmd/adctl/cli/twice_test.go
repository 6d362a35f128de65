// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// books are the documents that people read, of both languages.
func books(t *testing.T) (files []string) {
	t.Helper()
	for _, dir := range []string{"docs", "examples", "."} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && dir == "." && path != filepath.Join(root, dir) {
				return filepath.SkipDir
			}
			if name := d.Name(); filepath.Ext(name) == ".md" && (dir == "docs" || strings.HasPrefix(name, "README")) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

var (
	generated = regexp.MustCompile(`(?s)<!-- \w+:begin -->.*?<!-- \w+:end -->`)
	fenced    = regexp.MustCompile("(?sm)^ *```.*?^ *```")
	link      = regexp.MustCompile(`\]\([^)]*\)`)
	markup    = strings.NewReplacer("`", "", "*", "", "[", "", "]", "")
	ends      = regexp.MustCompile(`[.!?:][ \n]|[。！？：；]|\n\n|\n *[-#|] ?|\n *\d+\. `)
)

// sentences of a document, without what is generated, commands and tables.
func sentences(text string) (all []string) {
	text = fenced.ReplaceAllString(generated.ReplaceAllString(text, "\n\n"), "\n\n")
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "|") {
			lines = append(lines, line)
		}
	}
	text = markup.Replace(link.ReplaceAllString(strings.Join(lines, "\n"), "]"))
	for _, s := range ends.Split(text, -1) {
		s = strings.Join(strings.Fields(s), " ")
		least := 40 // letters; shorter ones are said in the same way by chance
		if len(s) > 2*utf8.RuneCountInString(s) {
			least = 16 // of Chinese
		}
		if utf8.RuneCountInString(s) >= least {
			all = append(all, strings.ToLower(s))
		}
	}
	return all
}

// What is said twice is mended once: each sentence of the books stands in one place.
func TestNoSentenceTwice(t *testing.T) {
	first := make(map[string]string)
	n := 0
	for _, path := range books(t) {
		for _, s := range sentences(read(t, path)) {
			n++
			if where, twice := first[s]; twice {
				t.Errorf("%s says what stands in %s: %q", path, where, s)
			} else {
				first[s] = path
			}
		}
	}
	if n < 400 {
		t.Errorf("only %d sentences were found", n)
	}
}

func TestSentences(t *testing.T) {
	const text = "A first sentence that is long enough to count here. See [the guide of all](a.md)\nwhich goes on over two lines here.\n\n```\nnot this one, as it is a command of some length\n```\n| nor this one, as it is a cell of a table that is long |\n读数之间的时间由读数本身学习得到，无需配置。短句。\n"
	got := sentences(text)
	if len(got) != 3 || !strings.HasPrefix(got[1], "see the guide of all which goes") {
		t.Errorf("got %q", got)
	}
}
