// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package picture draws directed acyclic graphs as SVG: nodes in layers from causes down to effects.
package picture

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// Node is a node of a graph.
type Node struct {
	Name    string
	Note    string // a second line, "" for none
	Parents []int  // indices of nodes
	Arcs    []Arc  // those from the parents; nil draws plain arrows
}

// Arc is how an arc is drawn.
type Arc struct {
	Strength float64 // 0 … 1: how broad it is
	Label    string  // beside it; "" for none
	Plain    bool    // without an arrow, as its direction means nothing
}

// Sizes in pixels.
const (
	boxHeight  = 46
	gapX, gapY = 28, 64
	margin     = 24
	charWidth  = 7.5 // of the largest letters that are usual
	padding    = 28
	bendWidth  = 8
	sweeps     = 8
)

// box is a node, or a bend of an arc in a layer that it passes through.
type box struct {
	layer   int
	parents []int   // boxes of the layer above
	arcs    []Arc   // from these
	x, y, w float64 // left and upper edge, and width
}

// width is how broad an arc is drawn.
func (a Arc) width() float64 { return usual + 3.6*min(max(a.Strength, 0), 1) }

func (b *box) middle() float64 { return b.x + b.w/2 }

// Parts of arcs.
const (
	stroke = `fill="none" stroke="#444" stroke-width="%.1f"`
	line   = `<path d="M%.1f %.1f L%.1f %.1f" ` + stroke
	curve  = `<path d="M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f" ` + stroke

	usual = 1.4 // width of an arc
)

// SVG draws the nodes. A node lies one layer below the lowest of its parents.
func SVG(w io.Writer, title string, nodes []Node) error {
	boxes, width, height, err := layout(nodes)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="sans-serif">
<title>%s</title>
<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#444"/></marker></defs>
<rect width="100%%" height="100%%" fill="#fff"/>
`, width, height, width, height, escape(title))
	var labels bytes.Buffer // over the arcs
	for i := range boxes {
		to := &boxes[i]
		if i >= len(nodes) {
			fmt.Fprintf(&b, line+"/>\n", to.middle(), to.y, to.middle(), to.y+boxHeight, to.arcs[0].width())
		}
		for k, p := range to.parents {
			from, arc := &boxes[p], to.arcs[k]
			tip := ` marker-end="url(#tip)"`
			if i >= len(nodes) || arc.Plain {
				tip = ""
			}
			x1, y1, x2, y2 := from.middle(), from.y+boxHeight, to.middle(), to.y
			bend := (y2 - y1) / 2
			fmt.Fprintf(&b, curve+"%s/>\n", x1, y1, x1, y1+bend, x2, y2-bend, x2, y2, arc.width(), tip)
			if arc.Label != "" && i < len(nodes) { // near its end, where it is apart from others
				x, y := x1+0.72*(x2-x1), y1+0.66*(y2-y1)
				fmt.Fprintf(&labels, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="10" fill="#333" stroke="#fff" stroke-width="3" paint-order="stroke">%s</text>`+"\n", x, y, escape(arc.Label))
			}
		}
	}
	b.Write(labels.Bytes())
	for i, n := range nodes {
		x := &boxes[i]
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="8" fill="#eef3fb" stroke="#3b5c8f" stroke-width="1.4"/>`+"\n", x.x, x.y, x.w, boxHeight)
		baseline := x.y + boxHeight/2 + 5
		if n.Note != "" {
			baseline -= 8
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="10" fill="#555">%s</text>`+"\n", x.middle(), baseline+15, escape(n.Note))
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="13" fill="#111">%s</text>`+"\n", x.middle(), baseline, escape(n.Name))
	}
	b.WriteString("</svg>\n")
	_, err = w.Write(b.Bytes())
	return err
}

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s)) //nolint:errcheck // a buffer takes everything
	return b.String()
}

// layout places the nodes, and behind them the bends of arcs that pass through layers.
func layout(nodes []Node) (boxes []box, width, height float64, err error) {
	boxes = make([]box, len(nodes))
	if err := layers(nodes, boxes); err != nil {
		return nil, 0, 0, err
	}
	for i, n := range nodes {
		boxes[i].w = padding + charWidth*float64(max(utf8.RuneCountInString(n.Name), utf8.RuneCountInString(n.Note)*4/5))
		for k, p := range n.Parents {
			var arc Arc
			if k < len(n.Arcs) {
				arc = n.Arcs[k]
			}
			for layer := boxes[p].layer + 1; layer < boxes[i].layer; layer++ {
				boxes = append(boxes, box{layer: layer, parents: []int{p}, arcs: []Arc{arc}, w: bendWidth})
				p = len(boxes) - 1
			}
			boxes[i].parents, boxes[i].arcs = append(boxes[i].parents, p), append(boxes[i].arcs, arc)
		}
	}
	var rows [][]int
	children := make([][]int, len(boxes))
	for i := range boxes {
		for len(rows) <= boxes[i].layer {
			rows = append(rows, nil)
		}
		rows[boxes[i].layer] = append(rows[boxes[i].layer], i)
		boxes[i].y = margin + float64(boxes[i].layer)*(boxHeight+gapY)
		for _, p := range boxes[i].parents {
			children[p] = append(children[p], i)
		}
	}
	// Each layer in turn is ordered by where its neighbours above, then below, lie in the mean: the barycentre heuristic
	// of Sugiyama, Tagawa and Toda, IEEE Transactions on Systems, Man and Cybernetics 11(2), 1981.
	width = place(rows, boxes)
	for range sweeps {
		for _, row := range rows {
			order(row, boxes, func(i int) []int { return boxes[i].parents })
			place(rows, boxes)
		}
		for _, row := range slices.Backward(rows) {
			order(row, boxes, func(i int) []int { return children[i] })
			place(rows, boxes)
		}
	}
	return boxes, width, 2*margin + float64(len(rows))*(boxHeight+gapY) - gapY, nil
}

// layers puts each node below its parents.
func layers(nodes []Node, boxes []box) error {
	for round := range len(nodes) + 1 {
		moved := false
		for i := range nodes {
			for _, p := range nodes[i].Parents {
				if p < 0 || p >= len(nodes) {
					return fmt.Errorf("node %q has parent %d of %d nodes", nodes[i].Name, p, len(nodes))
				}
				if boxes[i].layer <= boxes[p].layer {
					boxes[i].layer, moved = boxes[p].layer+1, true
				}
			}
		}
		if !moved {
			return nil
		}
		if round == len(nodes) {
			break
		}
	}
	return fmt.Errorf("the %d nodes have a cycle", len(nodes))
}

func order(row []int, boxes []box, neighbours func(int) []int) {
	centre := make(map[int]float64, len(row))
	for _, i := range row {
		centre[i] = boxes[i].middle()
		if near := neighbours(i); len(near) > 0 {
			sum := 0.0
			for _, k := range near {
				sum += boxes[k].middle()
			}
			centre[i] = sum / float64(len(near))
		}
	}
	slices.SortStableFunc(row, func(a, b int) int { return cmp.Compare(centre[a], centre[b]) })
}

// place puts the layers' nodes side by side, each layer in the middle, and returns the width of all.
func place(rows [][]int, boxes []box) float64 {
	widths := make([]float64, len(rows))
	widest := 0.0
	for k, row := range rows {
		for _, i := range row {
			widths[k] += boxes[i].w + gapX
		}
		widths[k] -= gapX
		widest = max(widest, widths[k])
	}
	for k, row := range rows {
		x := margin + (widest-widths[k])/2
		for _, i := range row {
			boxes[i].x = x
			x += boxes[i].w + gapX
		}
	}
	return widest + 2*margin
}
