// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Those that are judged together, who is to blame first, with what is recorded of each over the last hour.

import { get } from "./api.js";
import { chart, number, readings } from "./chart.js";
import { el, link, severity } from "./element.js";
import { words } from "./words.js";

const most = 8; // of which there are charts

// together keeps a section up to date; show(about) draws what is known of the group.
export function together(key, recording, signal) {
  const w = words(), section = el("section"), boxes = new Map(), drawn = new Map();
  signal.addEventListener("abort", () => { for (const c of drawn.values()) c.end(); });
  const past = async (m, name) => {
    const p = await get("v1/readings?" + new URLSearchParams({ namespace: key.namespace, device: m.device, property: m.property, from: new Date(Date.now() - 3600e3).toISOString(), points: "400" }), signal);
    const data = [p.at, p.max, p.min], look = readings(w, "", p.states);
    if (!p.at.length) return;
    if (drawn.has(name)) drawn.get(name).set(data);
    else drawn.set(name, chart(boxes.get(name), { ...look, height: 130, time: w.time, series: look.series.slice(0, 2), data, together: "group" }));
  };
  const show = (about) => {
    if (about.members.length < 2) return;
    section.replaceChildren(el("h2", {}, w.group), el("ol", { class: "ranked" }, ...about.members.map((m, i) => {
      const name = `${m.device}/${m.property}`, what = `${m.device} ${m.property}`;
      if (!boxes.has(name)) boxes.set(name, el("div", { class: "chart short", role: "img", "aria-label": what }));
      if (recording && i < most) past(m, name).catch(() => {}); // the list says enough
      return el("li", {}, severity(m.severity), " ", link({ ...key, ...m }, what), " ",
        el("span", { class: "quiet small" }, [m.value === undefined ? "" : number(m.value), m.blame ? `${w.causes}: ${Math.round(100 * m.blame)} %` : ""].filter(Boolean).join(" · ")), boxes.get(name));
    })));
  };
  return { section, show };
}
