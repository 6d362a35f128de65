// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

import { lasting, words } from "./words.js";

// el makes an element. Texts are texts: nothing that a device sends is taken for HTML.
export function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

export const link = (v, text, more = {}) => el("a", {
  href: "#/property?" + new URLSearchParams({ namespace: v.namespace, device: v.device, property: v.property, ...more }),
}, text);

export const severity = (s) => el("span", { class: `word ${s}` }, words()[s] ?? s);

// when is a time as people of the language write it.
export const when = (t) => new Date(t).toLocaleString(words().tag, { dateStyle: "medium", timeStyle: "medium" });

const worst = { critical: 3, warning: 2, normal: 1, unknown: 0 };
export const worse = (a, b) => (worst[b] ?? 0) - (worst[a] ?? 0);

// sentence says in one line what an incident is.
export function sentence(i) {
  const w = words(), what = `${i.device} ${i.property || w.whole}`;
  return i.message && w.tag === "en" ? `${what}: ${i.message}` : w.is(what, w.kinds[i.kind] ?? i.kind ?? "");
}

// incidents lists them, the worst and newest first.
export function incidents(list, now, none) {
  if (list.length === 0) return el("p", { class: "quiet" }, none);
  const w = words(), sorted = [...list].sort((a, b) => worse(a.severity, b.severity) || b.start.localeCompare(a.start));
  return el("ul", { class: "incidents" }, ...sorted.map((i) => {
    const how = i.end ? w.lasted(lasting(i.duration)) : w.since(lasting((now - Date.parse(i.start)) / 1000));
    const kind = i.kind && i.message && w.tag === "en" ? ` · ${w.kinds[i.kind] ?? i.kind}` : "";
    const blamed = i.cause ? ` · ${w.causes}: ${i.cause.device} ${i.cause.property ?? ""}` : "";
    return el("li", { class: i.severity }, el("p", {}, severity(i.severity), " ", link(i, sentence(i))),
      el("p", { class: "quiet small" }, `${when(i.start)} · ${how}${kind}${blamed}`));
  }));
}
