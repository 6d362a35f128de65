// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

import { follow, get } from "./api.js";
import { chart, number, readings, state as stateOf } from "./chart.js";
import { el, incidents, reason, said as saidOf, severity, when } from "./element.js";
import { together } from "./group.js";
import { mute, say } from "./say.js";
import { attempt } from "./try.js";
import { lasting, words } from "./words.js";

const most = 5000; // points that the chart holds
const levels = ["spike", "jump", "level", "drift", "range", "pattern"]; // kinds of incidents that are about how high a reading is
const spans = [["60", "minute"], ["3600", "hour"], ["86400", "day"], ["604800", "week"], ["", "all"]];

// property shows one: what is said of it now, its readings as they come and as they are recorded, what was wrong with it,
// what people may say of that, and what other settings would have told.
export async function property(main, q, signal, heard) {
  const w = words(), key = { namespace: q.get("namespace") ?? "", device: q.get("device") ?? "", property: q.get("property") ?? "" };
  const exact = new URLSearchParams(Object.entries(key).map(([k, v]) => [k, v.replace(/[\\*?[]/g, "\\$&")])), plain = new URLSearchParams(key);
  const asked = "v1/property?" + new URLSearchParams({ ...key, language: w.tag });
  let [about, known, state] = await Promise.all([get(asked, signal), get("v1/incidents?limit=100&" + exact, signal), get("v1/status", signal)]);
  const same = (v) => v.namespace === key.namespace && v.device === key.device && v.property === key.property;
  let verdict = about.verdict, list = known.incidents.filter(same);

  const seen = el("p", { class: "quiet" }), head = el("section", { "aria-live": "polite" }), wait = el("p", { class: "quiet" }, w.wait), group = together(key, state.recording, signal), past = el("section"), saying = el("section");
  const box = el("div", { class: "chart", role: "img", "aria-label": w.chart }), message = el("p", { role: "status" }), range = el("div", { class: "filters ranges", role: "group", "aria-label": w.span });
  main.replaceChildren(el("p", {}, el("a", { href: "#/" }, "← " + w.back)), el("h2", {}, `${key.device} ${key.property || w.whole}`), head, seen, range, wait, box, el("p", { class: "quiet small" }, state.recording ? w.strips : ""), group.section, past, saying, message,
    ...(state.recording && about.watched && about.members.length < 2 ? [attempt(key, about, signal)] : []));
  const said = (text) => { message.textContent = text; message.className = "says"; };

  const facts = () => {
    if (!verdict) return;
    const v = verdict, row = (name, value) => value === undefined || value === "" ? [] : [el("dt", {}, name), el("dd", {}, value)];
    const unit = (x) => x === undefined ? undefined : about.states?.length ? stateOf(about.states, x) : number(x) + (about.unit ? ` ${about.unit}` : "");
    const lasts = v.incident && !v.incident.end ? ` · ${w.since(lasting((Date.now() - Date.parse(v.incident.start)) / 1000))}` : "";
    head.replaceChildren(
      el("p", { class: "answer" }, severity(v.severity), " ", v.severity === "normal" ? w.asUsual : reason(v) || w.kinds[v.kind] || "", lasts ? el("span", { class: "quiet" }, lasts) : ""),
      el("dl", { class: "facts" },
        ...row(w.value, unit(v.value)), ...row(w.expected, unit(v.expected)),
        ...row(w.band, v.lower === undefined || v.upper === undefined || about.states?.length ? undefined : `${number(v.lower)} ${w.and} ${unit(v.upper)}`),
        ...row(w.found, about.found),
        ...row(w.kind, v.kind && (w.kinds[v.kind] ?? v.kind)), ...row(w.score, v.score === undefined ? undefined : v.score.toFixed(4)), ...row(w.threshold, v.threshold && number(v.threshold)),
        ...row(w.at, when(v.at)), ...row(w.causes, v.causes?.map((c) => `${c.device} ${c.property} (${Math.round(100 * c.weight)} %)`).join(", ")),
        ...row(w.detector, v.detector), ...row(w.model, [about.model, v.model].filter(Boolean).join(", ")), ...row(w.config, v.config),
        ...row(w.node, about.node), ...row(w.labels, Object.entries(about.labels ?? {}).map(([k, x]) => `${k}=${x}`).join(", "))));
  };
  // ever tells when it was last so far off, of what departs from what was expected.
  let told = "";
  const ever = async () => {
    const v = verdict, i = v?.incident;
    if (!state.recording || !i || i.end || v.value === undefined || v.expected === undefined || about.states?.length || !levels.includes(i.kind)) { told = ""; seen.textContent = ""; return; }
    if (told === i.id) return;
    told = i.id;
    const side = v.value >= v.expected ? "up" : "down";
    try {
      const s = await get("v1/seen?" + new URLSearchParams({ ...key, value: v.value, side, to: i.start }), signal);
      if (!s.from || s.at && Date.parse(i.start) - Date.parse(s.at) < 1000) return;
      seen.textContent = s.at ? w.lastSeen(side, lasting((Date.parse(i.start) - Date.parse(s.at)) / 1000)) : w.neverSeen(side, when(s.from));
    } catch { /* it is no more than an explanation */ }
  };
  const drawPast = () => past.replaceChildren(el("h2", {}, w.all), incidents(list.slice(0, 10), Date.now(), w.noneOver, true));
  const lists = () => {
    drawPast();
    const newest = list[0];
    const chosen = zoomed ?? newest;
    if (state.you.role === "viewer") return; // looks
    saying.replaceChildren(...(chosen ? [say(key, state.you, chosen, said)] : []), ...(about.watched || about.verdict ? [mute(key, state.you, about.muted, said, async () => { about = await get(asked, signal); lists(); })] : []));
  };
  const members = () => group.show(about);

  // The columns of the chart. The newest point joins what comes within its part of the span.
  let data = [[], [], [], [], [], []], labels = [], odd = [], zoomed, span = "3600", part = 0;
  const add = (v) => {
    const t = Date.parse(v.at) / 1000, last = data[0].length - 1;
    if (v.value === undefined || v.value === null || last >= 0 && t <= data[0][last]) return;
    if (last >= 0 && t - data[0][last] < part) {
      data[0][last] = t;
      data[1][last] = Math.max(data[1][last], v.value);
      data[2][last] = Math.min(data[2][last], v.value);
    } else [t, v.value, v.value].forEach((x, k) => data[k].push(x));
    [v.expected, v.lower, v.upper].forEach((x, k) => { data[k + 3][data[0].length - 1] = x ?? null; });
    const from = span && !zoomed ? t - span : -Infinity;
    let old = data[0].length > most ? most / 10 : 0;
    while (data[0][old] < from) old++;
    if (old) for (const column of data) column.splice(0, old);
  };
  // past asks for what is recorded in the span that is shown.
  const load = async () => {
    data = [[], [], [], [], [], []];
    const to = zoomed?.to ?? Date.now() / 1000, from = zoomed?.from ?? (span ? to - span : undefined);
    part = from === undefined ? 0 : (to - from) / 800;
    if (state.recording) try {
      const query = new URLSearchParams([...plain, ["to", new Date(to * 1000).toISOString()], ["points", "800"]]);
      if (from !== undefined) query.set("from", new Date(from * 1000).toISOString());
      const p = await get("v1/readings?" + query, signal), none = () => new Array(p.at.length).fill(null);
      data = [p.at, p.max, p.min, p.expected ?? none(), p.lower ?? none(), p.upper ?? none()];
      labels = p.said ?? [];
      odd = p.odd ?? [];
      if (p.states) about.states = p.states;
      if (from === undefined && p.at.length) part = (to - p.at[0]) / 800;
    } catch (err) { if (signal.aborted) return; /* what comes is shown all the same */ }
    if (verdict && !zoomed) add(verdict);
    plot?.end();
    plot = undefined;
    draw();
    buttons();
  };
  let plot, timer = 0;
  const draw = () => {
    timer = 0;
    if (signal.aborted) return;
    wait.hidden = data[0].length > 0;
    wait.textContent = zoomed ? w.nothingThen : w.wait;
    if (!data[0].length) return;
    if (list[0] && !list[0].end) drawPast(); // what is said of it changes while it lasts
    const look = readings(w, about.unit, about.states), columns = data.slice(0, look.series.length + 1);
    if (plot) { plot.set(columns); return; }
    plot = chart(box, {
      ...look, time: w.time, data: columns,
      spans: () => [...labels.map((l) => ({ from: l.from, to: l.to, color: l.kind === "normal" ? "--normal" : "--label", top: 0.97, share: 0.03 })), ...odd.map((o) => ({ from: o.from, to: o.to, color: `--${o.severity}`, top: 0, share: 0.03 })), ...list.map((i) => ({ from: Date.parse(i.start) / 1000, to: (i.end ? Date.parse(i.end) : Date.now()) / 1000, color: i.severity === "critical" ? "--critical-back" : "--warning-back" }))],
      zoom: (from, to) => { zoomed = from === undefined ? undefined : { from, to }; load(); lists(); },
    });
  };
  const soon = () => { timer ||= setTimeout(draw, 200); };
  const buttons = () => {
    const button = (text, pressed, act, more = {}) => {
      const b = el("button", { type: "button", ...(pressed === undefined ? {} : { "aria-pressed": String(pressed) }), ...more }, text);
      b.addEventListener("click", () => { act(); load(); lists(); });
      return b;
    };
    const shift = (by) => () => {
      const to = zoomed?.to ?? Date.now() / 1000, from = zoomed?.from ?? data[0][0] ?? to - 3600, width = to - from;
      zoomed = { from: from + by * width, to: to + by * width };
      if (zoomed.to >= Date.now() / 1000) zoomed = undefined;
    };
    range.replaceChildren(...spans.filter(([s]) => state.recording || s === "60" || s === "3600").map(([s, name]) => button(w.spans[name], !zoomed && s === span, () => { zoomed = undefined; span = s; })),
      ...(state.recording ? [button("◀", undefined, shift(-0.5), { "aria-label": w.earlier }), ...(zoomed ? [button("▶", undefined, shift(0.5), { "aria-label": w.later }), button(w.live, undefined, () => { zoomed = undefined; })] : [])] : []),
      el("span", { class: "quiet small" }, zoomed ? w.between(when(zoomed.from * 1000), when(zoomed.to * 1000)) : w.drag));
  };
  signal.addEventListener("abort", () => { clearTimeout(timer); plot?.end(); });
  facts(); lists(); members(); ever();
  await load();

  const minute = setInterval(async () => { // who is to blame, what is muted
    try { about = { states: about.states, ...await get(asked, signal) }; members(); facts(); } catch { /* the stream tells */ }
  }, 15000);
  signal.addEventListener("abort", () => clearInterval(minute));
  await follow("v1/live?" + plain, signal, (v) => {
    verdict = v;
    if (v.incident) {
      const { namespace, device, property } = v, was = list.find((i) => i.id === v.incident.id);
      list = [{ namespace, device, property, ...v.incident, cause: v.causes?.[0] ?? was?.cause ?? v.incident.cause, ...saidOf(v, was) }, ...list.filter((i) => i.id !== v.incident.id)].slice(0, 100);
      if (!was || v.incident.end && !was.end) lists();
    }
    if (!zoomed) { add(v); soon(); }
    facts();
    ever();
  }, heard);
}
