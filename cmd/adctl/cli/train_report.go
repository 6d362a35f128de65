// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/picture"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/training"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

// readStructure makes the setting detector.edges of the arcs in a BIF file.
func readStructure(path string) (string, error) {
	n, err := readBIF(path)
	if err != nil {
		return "", err
	}
	var arcs []string
	for _, e := range n.Edges() {
		from, to := n.Nodes[e.From].Name, n.Nodes[e.To].Name
		if strings.ContainsAny(from+to, ",>") {
			return "", fmt.Errorf("%s: arc from %q to %q: want names without comma and >", path, from, to)
		}
		arcs = append(arcs, from+">"+to)
	}
	return strings.Join(arcs, ","), nil
}

// draw writes what is wanted of the network beside the model.
func (o *trainOptions) draw(t *trainer) error {
	write := func(path string, to func(io.Writer) error) error {
		if err := writeFile(path, to); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	for _, path := range o.pictures {
		err := write(path, func(w io.Writer) error {
			if strings.HasSuffix(path, ".dot") {
				return bayes.WriteDOT(w, t.network.Network, causal(t))
			}
			return drawSVG(w, filepath.Base(o.output), t.network, causal(t))
		})
		if err != nil {
			return err
		}
	}
	if o.bif == "" {
		return nil
	}
	return write(o.bif, func(w io.Writer) error { return bayes.WriteBIF(w, t.network.Network) })
}

// causal reports whether the structure was given, by somebody who knows what causes what.
func causal(t *trainer) bool {
	return slices.ContainsFunc(t.set, func(pair string) bool {
		return strings.ReplaceAll(pair, " ", "") == "detector.structure=given"
	})
}

// drawSVG draws the members with the probabilities of their states, and the arcs as broad as their ends tell of each
// other. Of an arc that was learned, the direction is drawn where the data tell it.
func drawSVG(w io.Writer, title string, n *training.Network, causes bool) error {
	nodes := make([]picture.Node, len(n.Nodes))
	for i := range n.Nodes {
		v := &n.Nodes[i]
		nodes[i] = picture.Node{Name: v.Name, Note: statesOf(v.States, n.Marginal(i)), Parents: v.Parents}
		for _, p := range v.Parents {
			strength := n.Strength(p, i)
			nodes[i].Arcs = append(nodes[i].Arcs, picture.Arc{
				Strength: strength, Label: fmt.Sprintf("%.2f", strength), Plain: !causes && !n.Compelled(bayes.Edge{From: p, To: i}),
			})
		}
	}
	return picture.SVG(w, title, nodes)
}

// statesOf are the likeliest states with their probabilities.
func statesOf(names []string, p []float64) string {
	const most = 3
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[b], p[a]) })
	var parts []string
	for _, i := range order[:min(most, len(order))] {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", names[i], 100*p[i]))
	}
	if len(order) > most {
		parts = append(parts, fmt.Sprintf("%d states", len(order)))
	}
	return strings.Join(parts, " · ")
}

// report tells what was learned.
func (t *trainer) report(w io.Writer, path string, size int) error {
	m := &t.model
	fmt.Fprintf(w, "%s: %s of %d members, %d bytes\n", path, m.Driver, len(m.Members), size)
	fmt.Fprintf(w, "trained on %d rows, %s to %s; %d skipped\n", m.Rows, stamp(m.From), stamp(m.To), t.part.Skipped)
	switch {
	case t.held.Rows == 0:
		fmt.Fprintln(w, "held out: nothing")
	case t.judged == 0:
		fmt.Fprintf(w, "held out: %d rows, none of which could be judged\n", t.held.Rows)
	default:
		fmt.Fprintf(w, "held out: %d rows, %.3g %% of them anomalous, mean score %.4f\n",
			t.held.Rows, 100*m.Metrics["heldOutAnomalous"], m.Metrics["heldOutScore"])
	}
	if t.network == nil {
		return nil
	}
	fmt.Fprintf(w, "log-likelihood of a row: %s in training", likelihoodText(m.Metrics, "logLikelihood"))
	if t.held.Rows > 0 {
		fmt.Fprintf(w, ", %s held out", likelihoodText(m.Metrics, "heldOutLogLikelihood"))
	}
	fmt.Fprint(w, "\n\nstructure\n")
	return bayes.WriteText(w, t.network.Network)
}

func likelihoodText(metrics map[string]float64, name string) string {
	if l, ok := metrics[name]; ok {
		return fmt.Sprintf("%.4f", l)
	}
	return "-∞"
}
