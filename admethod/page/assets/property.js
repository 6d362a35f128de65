// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

import { follow, get, post, text } from "./api.js";
import { el, incidents, severity } from "./element.js";
import { number, words } from "./words.js";

const most = 5000; // readings that the chart holds

// property shows one: what is said of it now, its readings as they come, and what was wrong with it.
export async function property(main, q, signal, heard) {
  const w = words(), key = { namespace: q.get("namespace") ?? "", device: q.get("device") ?? "", property: q.get("property") ?? "" };
  const exact = new URLSearchParams(Object.entries(key).map(([k, v]) => [k, v.replace(/[\\*?[]/g, "\\$&")]));
  const [latest, told, state] = await Promise.all([get("v1/verdicts?" + exact, signal), get("v1/incidents?limit=50&" + exact, signal), get("v1/status", signal)]);
  const same = (v) => v.namespace === key.namespace && v.device === key.device && v.property === key.property;
  let verdict = latest.verdicts.find(same), list = told.incidents.filter(same);

  const head = el("section", { "aria-live": "polite" }), wait = el("p", { class: "quiet" }, w.wait);
  const chart = el("div", { class: "chart", role: "img", "aria-label": w.chart }), rows = el("tbody"), past = el("section"), said = el("p", { role: "status" });
  main.replaceChildren(el("p", {}, el("a", { href: "#/" }, "← " + w.back)), el("h2", {}, `${key.device} ${key.property || w.whole}`), head, wait, chart, past, said);

  const facts = () => {
    if (!verdict) return;
    const v = verdict, row = (name, value) => value === undefined || value === "" ? [] : [el("dt", {}, name), el("dd", {}, value)];
    head.replaceChildren(
      el("p", {}, severity(v.severity), " ", v.severity === "normal" ? "" : (v.message && w.tag === "en" ? v.message : w.kinds[v.kind] ?? "")),
      el("dl", { class: "facts" },
        ...row(w.value, number(v.value)), ...row(w.expected, number(v.expected)),
        ...row(w.band, v.lower === undefined || v.upper === undefined ? undefined : `${number(v.lower)} ${w.and} ${number(v.upper)}`),
        ...row(w.score, v.score === undefined ? undefined : v.score.toFixed(4)), ...row(w.threshold, v.threshold && number(v.threshold)),
        ...row(w.at, new Date(v.at).toLocaleString(w.tag)), ...row(w.causes, v.causes?.map((c) => `${c.device} ${c.property} (${Math.round(100 * c.weight)} %)`).join(", ")),
        ...row(w.detector, v.detector), ...row(w.model, v.model), ...row(w.config, v.config)));
  };
  const lists = () => past.replaceChildren(el("h2", {}, w.all), incidents(list, Date.now(), w.noneOver), ...list.slice(0, 1).map(say));

  // say takes what people think of the newest incident.
  const say = (i) => {
    const note = el("input", { placeholder: w.note, "aria-label": w.note, maxlength: "200" }), by = el("input", { placeholder: w.by, "aria-label": w.by, maxlength: "60" });
    const button = (label, what) => {
      const b = el("button", { type: "button" }, label);
      b.addEventListener("click", async () => {
        try {
          const answer = await post("v1/feedback", { incident: i.id, ...key, verdict: what, note: note.value, by: by.value });
          said.textContent = answer.learned ? w.learned : answer.reason ? w.notLearned(answer.reason) : w.noted;
        } catch (err) { said.textContent = w.failed(err.message); }
        said.className = "says";
      });
      return b;
    };
    return el("div", { class: "say" }, button(w.normalSaid, "normal"), button(w.faultSaid, "fault"), note, by);
  };

  const data = [[], [], [], [], []]; // time, reading, expected, lower, upper
  const add = (v) => {
    const t = Date.parse(v.at ?? v.time) / 1000, d = data[0];
    if (v.value === undefined || v.value === null || d.length && t <= d[d.length - 1]) return;
    [t, v.value, v.expected ?? null, v.lower ?? null, v.upper ?? null].forEach((x, k) => data[k].push(x));
    if (d.length > most) for (const column of data) column.splice(0, most / 10);
  };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let plot;
  const draw = () => {
    timer = 0;
    if (signal.aborted || !data[0].length) return;
    wait.hidden = true;
    if (plot) { plot.setData(data); return; }
    const axis = { stroke: css("--ink"), grid: { stroke: css("--line") }, ticks: { stroke: css("--line") } };
    plot = new uPlot({
      width: Math.max(280, chart.clientWidth), height: 320, cursor: { drag: { x: true, y: false } },
      series: [{ label: w.time }, { label: w.value, stroke: css("--link"), width: 1.5, points: { show: data[0].length < 200 } },
        { label: w.expected, stroke: css("--soft"), dash: [4, 4], points: { show: false } },
        { label: "≥", stroke: "transparent", points: { show: false } }, { label: "≤", stroke: "transparent", points: { show: false } }],
      bands: [{ series: [4, 3], fill: css("--normal") + "33" }],
      axes: [axis, axis],
      hooks: { drawClear: [(u) => { // incidents lie behind the readings
        u.ctx.save();
        for (const i of list) {
          u.ctx.fillStyle = css(i.severity === "critical" ? "--critical-back" : "--warning-back");
          const [from, to] = [i.start, i.end ?? new Date().toISOString()].map((t) => Math.min(Math.max(u.valToPos(Date.parse(t) / 1000, "x", true), u.bbox.left), u.bbox.left + u.bbox.width));
          u.ctx.fillRect(from, u.bbox.top, Math.max(to - from, 2), u.bbox.height);
        }
        u.ctx.restore();
      }] },
    }, data, chart);
  };
  let timer = 0;
  const soon = () => { timer ||= setTimeout(draw, 200); };
  const size = new ResizeObserver(() => plot?.setSize({ width: Math.max(280, chart.clientWidth), height: 320 }));
  size.observe(chart);
  const dark = matchMedia("(prefers-color-scheme: dark)"), colors = () => { plot?.destroy(); plot = undefined; soon(); };
  dark.addEventListener("change", colors);
  signal.addEventListener("abort", () => { clearTimeout(timer); dark.removeEventListener("change", colors); size.disconnect(); plot?.destroy(); });

  if (state.sinks.recorder) try { // the last hour, where readings are recorded
    const to = new Date(), from = new Date(to - 3600e3);
    const lines = await text("v1/dataset?" + new URLSearchParams([...exact, ["format", "jsonl"], ["from", from.toISOString()], ["to", to.toISOString()]]), signal);
    for (const line of lines.split("\n").slice(-most)) if (line) add(JSON.parse(line));
  } catch (err) { if (signal.aborted) return; /* what comes is shown all the same */ }
  if (verdict) add(verdict);
  facts(); lists(); soon();

  await follow("v1/live?" + new URLSearchParams(key), signal, (v) => {
    verdict = v;
    if (v.incident) {
      const { namespace, device, property, message } = v, was = list.find((i) => i.id === v.incident.id);
      list = [{ namespace, device, property, ...v.incident, message: (!v.incident.end && message) || was?.message }, ...list.filter((i) => i.id !== v.incident.id)];
      if (!was || v.incident.end && !was.end) lists();
    }
    add(v); facts(); soon();
  }, heard);
}
