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

const chinese = (text) => text.match(/[\u4e00-\u9fff]/g)?.length ?? 0;

// reason is why, as a verdict or an incident says it, in the language of the page if it is known in that, with times as people
// of the language write them.
export function reason(v) {
  if (!v.message) return "";
  const w = words(), both = [v.message, v.translated || v.message].sort((a, b) => chinese(a) - chinese(b)), text = both[w.tag === "zh" ? 1 : 0];
  const local = text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, when);
  return w.tag === "zh" && !chinese(text) && v.kind ? w.inOther(w.kinds[v.kind] ?? v.kind, local) : local;
}

// said are the reasons of an incident: those of the newest verdict, or else those that were known.
export const said = (v, was) => v.incident.end || !v.message ? { message: was?.message, translated: was?.translated } : { message: v.message, translated: v.translated };

const nameOf = (v) => `${v.device} ${v.property || words().whole}`;

const own = (i) => !i.cause || i.cause.device === i.device && (i.cause.property || i.property) === i.property;

// sentence says in one line what an incident is.
function sentence(i) {
  const w = words(), kind = w.kinds[i.kind] ?? i.kind ?? "";
  return w.is(nameOf(i), own(i) ? reason(i) || kind : w.because(kind, nameOf(i.cause)));
}

// folded puts incidents of which another one is the cause under that one, if it is there and was at the time.
function folded(list) {
  const heads = list.filter(own).map((i) => ({ i, with: [] })), rest = [];
  for (const i of list.filter((i) => !own(i))) {
    const head = heads.find(({ i: h }) => h.namespace === i.namespace && h.device === i.cause.device && (!i.cause.property || h.property === i.cause.property) &&
      (!i.end || h.start <= i.end) && (!h.end || i.start <= h.end));
    if (head) head.with.push(i); else rest.push({ i, with: [] });
  }
  return [...heads, ...rest];
}

// incidents lists them, the worst and newest first, or those first that last or were over last.
export function incidents(list, now, none, past) {
  if (list.length === 0) return el("p", { class: "quiet" }, none);
  const w = words(), worst = (h) => [h.i, ...h.with].map((i) => i.severity).sort(worse)[0], ended = ({ i }) => i.end ? Date.parse(i.end) : Infinity;
  const sorted = folded(list).sort((a, b) => (past ? ended(b) - ended(a) : worse(worst(a), worst(b))) || Date.parse(b.i.start) - Date.parse(a.i.start));
  return el("ul", { class: "incidents" }, ...sorted.map((h) => {
    const i = h.i, how = i.end ? w.lasted(lasting(i.duration)) : w.since(lasting((now - Date.parse(i.start)) / 1000));
    const kind = i.kind && i.message && own(i) ? ` · ${w.kinds[i.kind] ?? i.kind}` : "", blamed = i.cause ? ` · ${w.causes}: ${nameOf(i.cause)}` : "";
    return el("li", { class: worst(h) }, el("p", {}, severity(worst(h)), " ", link(i, sentence(i))),
      el("p", { class: "quiet small" }, `${when(i.start)} · ${how}${kind}${blamed}`, ...h.with.flatMap((o, n) => [n ? ", " : ` · ${w.withIt}: `, link(o, nameOf(o))])));
  }));
}
