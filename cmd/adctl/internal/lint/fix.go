// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fix rewrites what EdgeCore cannot carry. In the anomalyDetection of Devices maps and lists become part of one JSON
// text under the key config, numbers that float32 changes become texts, and nulls go. So does the key data, which nothing
// reads; what a map under it holds is lifted one level up, unless that contradicts what stands there. In the configData of
// drivers, of Devices and DeviceModels, a map or a list becomes a JSON text and nulls go; the key data stays as it is, as
// only the driver's author knows another name for it. An address, with what belongs to it, becomes the name of the target
// that has it; target finds that, and may be nil. Fix returns the new content and the number of changes; with none the
// content is returned as it was, byte for byte. Comments stay; blank lines inside a changed file and the width of its
// indentation may not.
func Fix(data []byte, target func(adapter, address string) (name string, ok bool)) (fixed []byte, changes int, err error) {
	docs, err := documents(data)
	if err != nil {
		return nil, 0, err
	}
	for _, doc := range docs {
		n, err := fixObject(content(doc), target)
		if err != nil {
			return nil, 0, err
		}
		changes += n
	}
	if changes == 0 {
		return data, 0, nil
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	for _, doc := range docs {
		if err := enc.Encode(doc); err != nil {
			return nil, 0, fmt.Errorf("yaml: %w", err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, 0, fmt.Errorf("yaml: %w", err)
	}
	return out.Bytes(), changes, nil
}

type targetOf = func(adapter, address string) (name string, ok bool)

func fixObject(n *yaml.Node, target targetOf) (changes int, err error) {
	if strings.HasSuffix(text(child(n, "kind")), "List") {
		for _, item := range items(child(n, "items")) {
			more, err := fixObject(item, target)
			if err != nil {
				return 0, err
			}
			changes += more
		}
		return changes, nil
	}
	kind, spec := text(child(n, "kind")), child(n, "spec")
	if kind != "Device" && kind != "DeviceModel" || !strings.HasPrefix(text(child(n, "apiVersion")), "devices.kubeedge.io/") {
		return 0, nil
	}
	free := []*yaml.Node{child(spec, "protocolConfigData"), child(child(spec, "protocol"), "configData")}
	for _, p := range items(child(spec, "properties")) {
		free = append(free, child(child(p, "visitors"), "configData"))
	}
	for _, config := range free {
		more, err := fixConfigData(config)
		if err != nil {
			return 0, err
		}
		changes += more
	}
	for _, p := range items(child(spec, "properties")) {
		config := child(child(p, "pushMethod"), "anomalyDetection")
		if config == nil || config.Kind != yaml.MappingNode {
			continue
		}
		more, err := fixConfig(config)
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", config.Line, err)
		}
		changes += more
		if target != nil {
			changes += fixAddress(config, target)
		}
	}
	return changes, nil
}

// fixConfigData makes texts of what is nested in the configuration of a driver, and takes nulls out.
func fixConfigData(n *yaml.Node) (changes int, err error) {
	if n == nil || n.Kind != yaml.MappingNode {
		return 0, nil
	}
	changes = removeNulls(n)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], content(n.Content[i+1])
		if key.Tag == "!!merge" || isData(key) || !isNested(value) {
			continue
		}
		v, err := decode(value)
		if err != nil {
			return 0, fmt.Errorf("line %d: %s: %w", key.Line, key.Value, err)
		}
		rich, err := asJSON(v)
		if err != nil {
			return 0, fmt.Errorf("line %d: %s: %w", key.Line, key.Value, err)
		}
		key.HeadComment = strings.Join(append(commentsOf(key), commentsOf(n.Content[i+1])...), "\n")
		key.LineComment, key.FootComment = "", ""
		n.Content[i+1] = rich
		changes++
	}
	return changes, nil
}

// removeNulls takes out the keys whose value is null; their comments go with them.
func removeNulls(n *yaml.Node) (changes int) {
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" && isNull(content(n.Content[i+1])) {
			changes++
			continue
		}
		kept = append(kept, n.Content[i], n.Content[i+1])
	}
	n.Content = kept
	return changes
}

// isData says whether a key is the one that meets a field of the message that carries it.
func isData(key *yaml.Node) bool { return key.Tag != "!!merge" && strings.EqualFold(key.Value, "data") }

// lift puts what a map under the key data holds in its place: somebody has written the shape that EdgeCore's messages
// have. It lifts nothing that stands outside with another value, and nothing that refers to other parts of the file.
func lift(n *yaml.Node) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !isData(key) || value.Kind != yaml.MappingNode || value.Anchor != "" {
			continue
		}
		lifted, ok := liftable(n, value)
		if !ok {
			continue
		}
		if comments := commentsOf(key); len(comments) > 0 && len(lifted) > 0 {
			if first := lifted[0]; first.HeadComment != "" {
				comments = append(comments, first.HeadComment)
			}
			lifted[0].HeadComment = strings.Join(comments, "\n")
		}
		n.Content = slices.Replace(n.Content, i, i+2, lifted...)
		return true
	}
	return false
}

// liftable are the keys and values of inner that outer lacks; not ok where they contradict each other.
func liftable(outer, inner *yaml.Node) (lifted []*yaml.Node, ok bool) {
	for i := 0; i+1 < len(inner.Content); i += 2 {
		key, value := inner.Content[i], inner.Content[i+1]
		if key.Tag == "!!merge" || value.Kind == yaml.AliasNode {
			return nil, false
		}
		if isData(key) { // which may stand in data again
			lifted = append(lifted, key, value)
			continue
		}
		there := child(outer, key.Value)
		if there == nil {
			lifted = append(lifted, key, value)
			continue
		}
		a, errA := decode(there)
		b, errB := decode(value)
		if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
			return nil, false
		}
	}
	return lifted, true
}

// asJSON is a value as one JSON text.
func asJSON(v any) (*yaml.Node, error) {
	var rich bytes.Buffer
	enc := json.NewEncoder(&rich)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.SingleQuotedStyle, Value: strings.TrimSpace(rich.String())}, nil
}

// fixConfig rewrites one anomalyDetection in place.
func fixConfig(n *yaml.Node) (changes int, err error) {
	changes = removeNulls(n)
	for lift(n) {
		changes += 1 + removeNulls(n)
	}
	nested := make(map[string]any)
	var kept []*yaml.Node
	var comments []string
	place := -1 // where the first nested key stood
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], content(n.Content[i+1])
		switch {
		case isData(key):
			if value != nil && value.Kind == yaml.MappingNode { // and cannot be lifted: see what lint says
				kept = append(kept, n.Content[i], n.Content[i+1])
			} else {
				changes++
			}
			continue
		case key.Tag == "!!merge" || !isNested(value):
			if changesAsFloat32(value) {
				value.Style, value.Tag = yaml.DoubleQuotedStyle, "!!str"
				changes++
			}
			kept = append(kept, n.Content[i], n.Content[i+1])
			continue
		case place < 0:
			place = len(kept)
		}
		v, err := decode(value)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", key.Value, err)
		}
		nested[key.Value] = v
		comments = append(comments, commentsOf(key)...)
		comments = append(comments, commentsOf(n.Content[i+1])...)
		changes++
	}
	if len(nested) == 0 {
		n.Content = kept
		return changes, nil
	}
	for i := 0; i+1 < len(kept); i += 2 {
		if kept[i].Value != "config" {
			continue
		}
		var old map[string]any
		if err := json.Unmarshal([]byte(text(content(kept[i+1]))), &old); err != nil {
			return 0, fmt.Errorf("the key config is there already and holds no JSON object: %w", err)
		}
		maps.Copy(nested, old)
		comments = append(comments, commentsOf(kept[i])...)
		comments = append(comments, commentsOf(kept[i+1])...)
		if i < place {
			place -= 2
		}
		kept = append(kept[:i], kept[i+2:]...)
		break
	}
	value, err := asJSON(nested)
	if err != nil {
		return 0, fmt.Errorf("config: %w", err)
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "config", HeadComment: strings.Join(comments, "\n")}
	n.Content = append(kept[:place:place], append([]*yaml.Node{key, value}, kept[place:]...)...)
	return changes, nil
}

// fixAddress puts the name of a target in the place of its address and of what a Device must not set beside it.
func fixAddress(n *yaml.Node, target targetOf) (changes int) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		adapter, rest, _ := strings.Cut(n.Content[i].Value, ".")
		if rest != "address" {
			continue
		}
		name, ok := target(adapter, text(content(n.Content[i+1])))
		if !ok {
			continue
		}
		n.Content[i].Value = adapter + ".target"
		n.Content[i+1] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, LineComment: n.Content[i+1].LineComment}
		kept := n.Content[:0:0]
		for j := 0; j+1 < len(n.Content); j += 2 {
			switch a, key, _ := strings.Cut(n.Content[j].Value, "."); {
			case a == adapter && j != i && key != "fallback" && !strings.HasPrefix(key, "fallback."):
			default:
				kept = append(kept, n.Content[j], n.Content[j+1])
			}
		}
		n.Content = kept
		return changes + 1 + fixAddress(n, target)
	}
	return changes
}

// commentsOf collects the comments of a node and of all below it, in order.
func commentsOf(n *yaml.Node) []string {
	var out []string
	for _, c := range []string{n.HeadComment, n.LineComment} {
		if c != "" {
			out = append(out, c)
		}
	}
	for _, below := range n.Content {
		out = append(out, commentsOf(below)...)
	}
	if n.FootComment != "" {
		out = append(out, n.FootComment)
	}
	return out
}

func changesAsFloat32(n *yaml.Node) bool {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" {
		return false
	}
	var f float64
	if err := n.Decode(&f); err != nil || math.IsNaN(f) {
		return false
	}
	_, exact := asFloat32(f)
	return !exact
}

// asFloat32 is how a number looks after EdgeCore has carried it, and whether it is still the same.
func asFloat32(f float64) (arrives string, exact bool) {
	arrives = strconv.FormatFloat(float64(float32(f)), 'g', -1, 32)
	got, err := strconv.ParseFloat(arrives, 64)
	return arrives, err == nil && got == f
}
