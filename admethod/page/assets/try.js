// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Try before you change: the recorded span is judged by other settings, on the server.

import { get } from "./api.js";
import { chart, number, readings } from "./chart.js";
import { el } from "./element.js";
import { words } from "./words.js";

const detectors = ["auto", "ewma", "forecast", "freeze", "knn", "mad", "states"];

// attempt shows what other settings would have told of what is recorded of a property.
export function attempt(key, about, signal) {
  const w = words(), settings = about.settings ?? {};
  const field = (name, input) => el("label", {}, el("span", {}, name), input);
  const option = (value, text, chosen) => el("option", chosen ? { value, selected: "" } : { value }, text);
  const threshold = el("input", { type: "number", min: "0.5", max: "0.9999", step: "any", inputmode: "decimal", placeholder: number(about.threshold ?? 0.95) });
  const sensitivity = el("select", {}, option("", w.unchanged, true), ...["low", "medium", "high"].map((s) => option(s, w.sensitivities[s])));
  const season = el("select", {}, option("", w.unchanged, true), option("true", w.seasonSought), option("false", w.seasonNot));
  const detector = el("select", {}, option("", w.unchanged, true), ...detectors.map((d) => option(d, d)));
  const span = el("select", {}, ...[["24", w.spans.day], ["168", w.spans.week], ["", w.spans.all]].map(([value, text]) => option(value, text, value === "168")));
  const run = el("button", { id: "try" }, w.tryRun), stop = el("button", { type: "button", hidden: "" }, w.tryStop), result = el("div", { role: "status" });
  const form = el("form", { class: "try" }, field(w.threshold, threshold), field(w.sensitivity, sensitivity), field(w.season, season), field(w.detector, detector), field(w.tryOf, span), el("div", {}, run, " ", stop));
  let leave = new AbortController(), drawn = [];
  const end = () => { leave.abort(); drawn.forEach((c) => c.end()); drawn = []; };
  signal.addEventListener("abort", end);
  stop.addEventListener("click", () => leave.abort());
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    end();
    leave = new AbortController();
    const set = [];
    if (detector.value && detector.value !== settings.detector) set.push(`detector=${detector.value}`);
    if (sensitivity.value) set.push("threshold=", "alarms=", `sensitivity=${sensitivity.value}`);
    if (threshold.value) set.push(`threshold=${threshold.value}`);
    if (season.value) set.push(`detector.season=${season.value}`);
    const q = new URLSearchParams([...Object.entries(key), ...set.map((s) => ["set", s])]);
    if (span.value) q.set("from", new Date(Date.now() - span.value * 3600e3).toISOString());
    run.disabled = true;
    stop.hidden = false;
    result.replaceChildren(el("p", {}, w.trying));
    try {
      show(await get("v1/try?" + q, leave.signal));
    } catch (err) {
      if (!signal.aborted) result.replaceChildren(el("p", { class: "says" }, leave.signal.aborted ? w.stopped : w.failed(err.message)));
    }
    run.disabled = false;
    stop.hidden = true;
  });
  const show = (t) => {
    const share = (v) => v.perWeek === undefined ? null : Number(v.perWeek.toPrecision(2));
    const alarms = share(t.tried) === null ? w.alarms(t.tried.alarms, t.now.alarms) : w.alarmsAWeek(share(t.tried), share(t.now));
    const faults = t.faults ? w.stillFound(t.tried.found, t.faults, t.now.found) : w.noConfirmed;
    const copy = el("button", { type: "button" }, w.copy), yaml = el("pre", { tabindex: "0" }, t.yaml);
    copy.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(t.yaml); copy.textContent = w.copied; } catch {
        getSelection().selectAllChildren(yaml); // where the browser lets nobody else
      }
    });
    const now = el("div", { class: "chart", role: "img", "aria-label": w.withNow }), tried = el("div", { class: "chart", role: "img", "aria-label": w.withTried });
    result.replaceChildren(
      el("p", { class: "answer" }, el("strong", {}, alarms), " ", faults), el("p", { class: "quiet small" }, w.triedOn(t.readings, t.shortened)),
      el("div", { class: "both" }, el("figure", {}, el("figcaption", {}, w.withNow), now), el("figure", {}, el("figcaption", {}, w.withTried), tried)), el("p", {}, w.yaml, " ", copy), yaml);
    drawn = [[now, t.now], [tried, t.tried]].map(([box, v]) => chart(box, {
      ...readings(w, about.unit, t.chart.states), height: 240, time: w.time, data: merged(t.chart, v).slice(0, t.chart.states?.length ? 3 : 6), together: "try",
      spans: () => (v.incidents ?? []).map((i) => ({ from: i.from, to: i.to, color: i.severity === "critical" ? "--critical-back" : "--warning-back" })),
    }));
  };
  return el("section", {}, el("h2", {}, w.tryTitle), el("p", { class: "quiet small" }, w.tryWhat), form, result);
}

// merged puts readings and the band, which have times of their own, on one axis.
function merged(points, v) {
  const at = [...new Set([...points.at, ...(v.at ?? [])])].sort((a, b) => a - b), out = [at, ...Array.from({ length: 5 }, () => new Array(at.length).fill(null))];
  const index = new Map(at.map((t, i) => [t, i]));
  points.at.forEach((t, i) => { out[1][index.get(t)] = points.max[i]; out[2][index.get(t)] = points.min[i]; });
  (v.at ?? []).forEach((t, i) => { out[4][index.get(t)] = v.lower[i]; out[5][index.get(t)] = v.upper[i]; });
  for (const k of [1, 2, 4, 5]) { // between two points a line is meant
    let last = null;
    for (let i = 0; i < at.length; i++) if (out[k][i] === null) out[k][i] = last === null ? null : undefined; else last = out[k][i];
  }
  return out;
}
