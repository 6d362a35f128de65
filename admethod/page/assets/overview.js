// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

import { follow, get } from "./api.js";
import { chart } from "./chart.js";
import { wall } from "./devices.js";
import { el, incidents, link, said, severity, when } from "./element.js";
import { lasting, words } from "./words.js";

const keyOf = (v) => `${v.namespace}/${v.device}/${v.property}`;

// overview shows what is wrong now, all devices by their state, and where to look first.
export async function overview(main, q, signal, heard) {
  const w = words(), open = new Map(), over = new Map(); // incidents by id and property
  const now = el("section", { "aria-live": "polite", "aria-label": w.open }), muted = el("section"), grid = el("p", { class: "quiet small", role: "status" }), past = el("section");
  const text = el("input", { type: "search", placeholder: w.filter, "aria-label": w.filter });
  const choice = (name, all) => el("select", { "aria-label": name }, el("option", { value: "" }, all));
  const least = choice(w.devices, w.anySeverity), namespace = choice(w.namespace, w.anyNamespace), model = choice(w.model, w.anyModel), node = choice(w.node, w.anyNode);
  for (const s of ["critical", "warning", "normal", "unknown"]) least.append(el("option", { value: s }, w[s]));
  text.value = q.get("text") ?? "";
  const { section: first, draw: drawFirst } = firstLook(signal);
  const skip = el("button", { type: "button", class: "skip" }, w.skip);
  skip.addEventListener("click", () => { first.tabIndex = -1; first.focus(); });

  let meanwhile; // what the stream tells while an answer that may not know of it is under way; undefined: none is
  const incidentsAnew = async () => {
    const since = meanwhile = [];
    const [i, o, m] = await Promise.all([get("v1/incidents?open=true&limit=1000", signal), get("v1/incidents?open=false&limit=20", signal), get("v1/mutes", signal)]);
    open.clear();
    over.clear();
    for (const one of i.incidents) open.set(one.id + keyOf(one), one);
    for (const one of o.incidents) over.set(one.id + keyOf(one), one);
    since.forEach(hear);
    if (meanwhile === since) meanwhile = undefined;
    muted.replaceChildren(...(m.mutes.length ? [el("h2", {}, w.mutedTitle), el("ul", { class: "mutes" }, ...m.mutes.slice(0, 50).map((one) => el("li", {},
      one.property ? link(one, `${one.device} ${one.property}`) : `${one.device}`, " ", el("span", { class: "quiet small" }, w.mutedUntil(when(one.until), one.by, one.note)))))] : []));
    drawIncidents();
  };
  const filter = () => Object.fromEntries([["text", text], ["severity", least], ["namespace", namespace], ["model", model], ["node", node]].filter(([, input]) => input.value).map(([name, input]) => [name, input.value]));
  const { box, anew: devicesAnew } = wall(filter, signal, (list) => {
    for (const [select, names] of [[namespace, list.namespaces], [model, list.models], [node, list.nodes]]) {
      select.hidden = names.length < 2;
      if (select.options.length === names.length + 1) continue;
      const kept = select.value;
      select.replaceChildren(select.options[0], ...names.map((n) => el("option", { value: n }, n)));
      select.value = kept;
    }
    const counts = ["critical", "warning", "normal", "unknown"].filter((s) => list.counts[s]).map((s) => `${list.counts[s]} ${w[s]}`).join(" · ");
    grid.textContent = list.all ? `${w.fits(list.fit, list.all)}: ${counts}` : w.noDevices;
    box.hidden = skip.hidden = !list.fit;
  });
  // hear takes what a verdict tells of an incident.
  const hear = (v) => {
    const id = v.incident.id + keyOf(v), { namespace, device, property } = v, was = open.get(id);
    const i = { namespace, device, property, ...v.incident, cause: v.causes?.[0] ?? was?.cause ?? v.incident.cause, ...said(v, was ?? over.get(id)) };
    if (!i.end) { open.set(id, i); return; }
    open.delete(id);
    over.delete(id);
    const rest = [...over];
    over.clear();
    over.set(id, i);
    for (const [k, o] of rest.slice(0, 99)) over.set(k, o);
  };
  const drawIncidents = () => {
    now.replaceChildren(el("h2", {}, w.open), incidents([...open.values()], Date.now(), w.none));
    past.replaceChildren(el("h2", {}, w.over), incidents([...over.values()].slice(0, 20), Date.now(), w.noneOver, true));
  };

  let typing = 0, soon = 0, drawing = 0;
  const incidentsSoon = () => { drawing ||= setTimeout(() => { drawing = 0; if (!signal.aborted) drawIncidents(); }, 100); };
  const quietly = (p) => p.catch(() => {}); // the stream tells when the other side is away
  const anew = () => { clearTimeout(typing); typing = setTimeout(() => quietly(devicesAnew(true)), 40); };
  const later = () => { soon ||= setTimeout(() => { soon = 0; if (!signal.aborted) quietly(Promise.all([devicesAnew(), incidentsAnew()])); }, 1000); }; // the server knows who is to blame
  text.addEventListener("input", anew);
  for (const select of [least, namespace, model, node]) select.addEventListener("change", anew);
  const timers = [setInterval(() => { if (open.size) quietly(incidentsAnew()); else drawIncidents(); }, 10000), setInterval(() => { quietly(devicesAnew()); quietly(drawFirst()); }, 60000)]; // what lasts lasts longer
  signal.addEventListener("abort", () => { timers.forEach(clearInterval); clearTimeout(typing); clearTimeout(soon); clearTimeout(drawing); });
  main.replaceChildren(now, muted, el("h2", {}, w.devices), el("div", { class: "filters" }, text, least, namespace, model, node), grid, skip, box, first, past);
  await Promise.all([incidentsAnew(), devicesAnew()]);
  quietly(drawFirst());

  let away = true; // what came before the stream did is asked for again
  await follow("v1/events?changes=true", signal, (v) => {
    if (v.incident) {
      hear(v);
      if (meanwhile && meanwhile.length < 1000) meanwhile.push(v);
      incidentsSoon();
    }
    later();
  }, (answers) => {
    heard(answers);
    if (answers && away) quietly(Promise.all([incidentsAnew(), devicesAnew()]));
    away = !answers;
  });
}

const colors = ["--link", "--critical", "--warning", "--normal", "--soft"];

// firstLook shows the share of properties that are anomalous over time, and what was most unusual in a span of it: that
// which is chosen in the chart, or the last hours.
function firstLook(signal) {
  const w = words(), box = el("div", { class: "chart short", role: "img", "aria-label": w.rate }), none = el("p", { class: "quiet" }, w.noRate);
  const hours = el("select", { "aria-label": w.span }, ...[["1", w.spans.hour], ["6", w.spans.six], ["24", w.spans.day]].map(([value, text]) => el("option", { value }, text)));
  const ranked = el("div"), of = el("p", { class: "quiet small" });
  const section = el("section", {}, el("h2", {}, w.rate), el("div", { class: "filters" }, hours), none, box, el("h2", {}, w.unusual), of, ranked);
  let drawn, names = "", chosen;
  const unusual = async () => {
    const from = chosen?.from ?? Date.now() / 1000 - hours.value * 3600, to = chosen?.to ?? Date.now() / 1000;
    const a = await get("v1/unusual?" + new URLSearchParams({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString(), limit: 20 }), signal);
    of.textContent = w.between(when(a.from), when(a.to));
    ranked.replaceChildren(a.unusual.length ? el("ol", { class: "ranked" }, ...a.unusual.map((u) => el("li", {},
      u.severity ? severity(u.severity) : "", " ", link(u, `${u.device} ${u.property || w.whole}`), " ",
      el("span", { class: "quiet small" }, [u.kind ? w.kinds[u.kind] ?? u.kind : w.score + " " + u.score.toFixed(3), u.seconds ? w.lasted(lasting(u.seconds)) : ""].filter(Boolean).join(" · "))))) : el("p", { class: "quiet" }, w.noUnusual));
  };
  const draw = async () => {
    const a = await get("v1/rate?hours=" + hours.value, signal), begin = Date.parse(a.from) / 1000;
    const rates = a.rates.filter((r) => r.share.some((s) => s !== null)).sort((x, y) => y.properties - x.properties).slice(0, colors.length);
    const label = (r) => [r.namespace || w.others, r.model].filter(Boolean).join(" / ");
    none.hidden = rates.length > 0;
    const data = [Array.from({ length: rates[0]?.share.length ?? 0 }, (_, i) => begin + i * a.each), ...rates.map((r) => r.share.map((s) => s === null ? null : s * 100))];
    if (names !== rates.map(label).join() || !drawn) {
      names = rates.map(label).join();
      drawn?.end();
      drawn = rates.length ? chart(box, {
        height: 160, time: w.time, data, yLabel: "%", yRange: (u, low, high) => [0, Math.max(5, Math.min(100, high * 1.1))], unit: "%",
        series: rates.map((r, k) => ({ label: label(r), color: colors[k], width: 2, value: (d, i) => d[k + 1][i] === null ? "–" : `${d[k + 1][i].toFixed(1)} %` })),
        zoom: (from, to) => { chosen = from === undefined ? undefined : { from, to }; unusual().catch(() => {}); },
      }) : undefined;
    } else drawn.set(data);
    if (!chosen) await unusual();
  };
  hours.addEventListener("change", () => { chosen = undefined; draw().catch(() => {}); });
  signal.addEventListener("abort", () => drawn?.end());
  return { section, draw };
}
