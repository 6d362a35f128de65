// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

import { follow, get } from "./api.js";
import { el, incidents, link, severity, worse } from "./element.js";
import { words } from "./words.js";

const step = 300; // devices that are drawn at first, and more at a time

// devices shows what is wrong now, and all devices by their state.
export async function devices(main, signal, heard) {
  const w = words();
  const all = new Map(), open = new Map(), over = new Map(); // devices by name; incidents by id and property
  const keyOf = (v) => `${v.namespace}/${v.device}/${v.property}`;
  const put = (v) => {
    const name = `${v.namespace}/${v.device}`;
    let d = all.get(name);
    if (!d) all.set(name, d = { namespace: v.namespace, device: v.device, text: name.toLowerCase(), properties: new Map() });
    if (!d.properties.has(v.property)) d.text += `/${v.property}`.toLowerCase();
    d.properties.set(v.property, v);
  };
  const load = async () => {
    const [v, i, past] = await Promise.all([get("v1/verdicts", signal), get("v1/incidents?open=true&limit=1000", signal), get("v1/incidents?open=false&limit=20", signal)]);
    for (const m of [all, open, over]) m.clear();
    v.verdicts.forEach(put);
    for (const one of i.incidents) open.set(one.id + keyOf(one), one);
    for (const one of past.incidents) over.set(one.id + keyOf(one), one);
  };
  await load();

  const now = el("section", { "aria-live": "polite", "aria-label": w.open }), past = el("section"), grid = el("section");
  const filter = el("input", { type: "search", placeholder: w.filter, "aria-label": w.filter });
  const least = el("select", { "aria-label": w.devices }, ...["", "critical", "warning", "normal", "unknown"].map((s) => el("option", { value: s }, s ? w[s] : w.anySeverity)));
  let shown = step;
  main.replaceChildren(now, el("h2", {}, w.devices), el("div", { class: "filters" }, filter, least), grid, past);

  const draw = () => {
    timer = 0;
    if (signal.aborted) return;
    now.replaceChildren(el("h2", {}, w.open), incidents([...open.values()], Date.now(), w.none));
    past.replaceChildren(el("h2", {}, w.over), incidents([...over.values()].slice(0, 20), Date.now(), w.noneOver));
    const text = filter.value.toLowerCase(), fit = [];
    for (const d of all.values()) {
      const worst = [...d.properties.values()].reduce((a, v) => worse(v.severity, a) < 0 ? v.severity : a, "unknown");
      if ((least.value === "" || worst === least.value) && (text === "" || d.text.includes(text))) fit.push({ d, worst });
    }
    fit.sort((a, b) => worse(a.worst, b.worst) || (a.d.text < b.d.text ? -1 : 1));
    const list = el("ul", { class: "devices" }, ...fit.slice(0, shown).map(({ d, worst }) => el("li", { class: worst },
      el("div", {}, severity(worst), " ", el("strong", {}, d.device), " ", el("span", { class: "quiet small" }, d.namespace)),
      el("div", { class: "small" }, ...[...d.properties.values()].sort((a, b) => worse(a.severity, b.severity) || a.property.localeCompare(b.property)).slice(0, 8).map((v) => link(v, v.property || w.whole))))));
    const more = el("button", { type: "button" }, w.more(Math.min(step, fit.length - shown)));
    more.addEventListener("click", () => { shown += step; draw(); });
    grid.replaceChildren(el("p", { class: "quiet small" }, all.size ? w.fits(fit.length, all.size) : w.noDevices), list, fit.length > shown ? more : "");
  };
  let timer = 0;
  const soon = () => { timer ||= setTimeout(draw, 250); };
  const anew = () => { shown = step; clearTimeout(timer); draw(); };
  filter.addEventListener("input", anew);
  least.addEventListener("change", anew);
  const minute = setInterval(soon, 10000); // what lasts lasts longer
  signal.addEventListener("abort", () => { clearInterval(minute); clearTimeout(timer); });
  draw();

  let away = false;
  await follow("v1/events", signal, (v) => {
    put(v);
    if (v.incident) {
      const id = v.incident.id + keyOf(v), { namespace, device, property, message } = v, was = open.get(id);
      const i = { namespace, device, property, ...v.incident, message: (!v.incident.end && message) || was?.message };
      if (i.end) { open.delete(id); over.delete(id); const rest = [...over]; over.clear(); over.set(id, i); for (const [k, o] of rest.slice(0, 99)) over.set(k, o); } else open.set(id, i);
    }
    soon();
  }, (answers) => {
    heard(answers);
    if (answers && away) load().then(soon, () => {});
    away = !answers;
  });
}
