// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package picture_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/picture"
)

// drawn reads the boxes, texts and arcs of a picture.
func drawn(t *testing.T, nodes []picture.Node) (boxes int, texts []string, tips int) {
	t.Helper()
	var b bytes.Buffer
	if err := picture.SVG(&b, "room <1>", nodes); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(&b)
	text := false
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return boxes, texts, tips
		}
		if err != nil {
			t.Fatalf("no XML: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			text = e.Name.Local == "text"
			for _, a := range e.Attr {
				switch {
				case e.Name.Local == "rect" && a.Name.Local == "rx":
					boxes++
				case a.Name.Local == "marker-end":
					tips++
				}
			}
		case xml.CharData:
			if text {
				texts = append(texts, string(e))
			}
		case xml.EndElement:
			text = false
		}
	}
}

func TestSVG(t *testing.T) {
	boxes, texts, tips := drawn(t, []picture.Node{
		{Name: "light <1>", Note: "2 states"}, {Name: "light & 2", Parents: []int{0}}, {Name: "brightness", Parents: []int{0, 1}},
	})
	if boxes != 3 || tips != 3 {
		t.Errorf("%d boxes and %d arrows, want 3 and 3", boxes, tips)
	}
	if got := strings.Join(texts, "|"); got != "2 states|light <1>|light & 2|brightness" {
		t.Errorf("texts are %q", got)
	}
	if boxes, _, _ := drawn(t, nil); boxes != 0 {
		t.Errorf("%d boxes in an empty picture", boxes)
	}
}

func TestSVGRefusesWhatIsNoGraph(t *testing.T) {
	for name, nodes := range map[string][]picture.Node{
		"cycle":         {{Name: "a", Parents: []int{1}}, {Name: "b", Parents: []int{0}}},
		"its own cause": {{Name: "a", Parents: []int{0}}},
		"no such node":  {{Name: "a", Parents: []int{7}}},
	} {
		if err := picture.SVG(io.Discard, "", nodes); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
