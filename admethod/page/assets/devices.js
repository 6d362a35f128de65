// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// The devices by their state, the worst first: a list of any length, of which only what is in view is in the page, and only
// what is near is asked for.

import { get } from "./api.js";
import { el, link, severity } from "./element.js";
import { words } from "./words.js";

const page = 100, kept = 20; // devices that are asked for at once, and pages that are held
const height = 112, gap = 8, narrow = 168, beyond = 2; // of a card, in px; rows that are there above and below what is in view

// wall asks the server with the query that filter() gives; told(answer) hears of counts and choices.
export function wall(filter, signal, told) {
  const w = words(), pages = new Map(), asking = new Set(), cards = new Map(), shown = new WeakMap(); // cards by their place
  const list = el("ul", { class: "devices", role: "list" }), box = el("div", { class: "wall", tabindex: "0", role: "group", "aria-label": w.devices }, list);
  let fit = 0, columns = 1, version = 0, waiting = 0;
  const step = height + gap;
  const view = () => {
    columns = Math.max(1, Math.floor((list.clientWidth + gap) / (narrow + gap)));
    const from = Math.max(0, Math.floor(box.scrollTop / step) - beyond) * columns;
    return [from, Math.max(from + 1, (Math.ceil((box.scrollTop + box.clientHeight) / step) + beyond) * columns)];
  };
  const pagesOf = ([from, to]) => Array.from({ length: Math.floor((to - 1) / page) - Math.floor(from / page) + 1 }, (_, i) => Math.floor(from / page) + i);
  const ask = (n) => get("v1/devices?" + new URLSearchParams({ ...filter(), offset: n * page, limit: page }), signal);
  // anew asks again for what is in view. Of several under way the latest counts.
  const anew = async (top) => {
    if (top) box.scrollTop = 0;
    const mine = ++version, wanted = pagesOf(view()).filter((n, i) => i === 0 || n * page < fit), answers = await Promise.all(wanted.map(ask));
    if (mine !== version) return;
    pages.clear();
    asking.clear();
    answers.forEach((a, i) => pages.set(wanted[i], a.devices));
    fit = answers[0].fit;
    told(answers[0]);
    draw();
  };
  const more = async (n) => {
    const mine = version;
    asking.add(n);
    try {
      const a = await ask(n);
      if (mine !== version) return;
      pages.set(n, a.devices);
      const here = pagesOf(view())[0];
      for (const far of [...pages.keys()].sort((a, b) => Math.abs(b - here) - Math.abs(a - here)).slice(0, Math.max(0, pages.size - kept))) pages.delete(far);
      draw();
    } catch { /* the stream tells when the other side is away */ } finally { if (mine === version) asking.delete(n); }
  };
  const fill = (card, d) => {
    const was = shown.get(card), is = was && was.d === d ? was.is : d ? JSON.stringify(d) : "";
    shown.set(card, { d, is });
    if (was?.is === is) return;
    const focused = card.contains(document.activeElement) ? document.activeElement.href : undefined;
    card.className = d?.severity ?? "";
    card.replaceChildren(...(d ? [el("div", {}, severity(d.severity), " ", el("span", { class: "quiet small" }, d.namespace)), el("strong", { title: d.device }, d.device),
      el("div", { class: "small" }, ...d.properties.map((p) => link({ ...d, property: p.property }, p.property || w.whole)))] : ["…"]));
    if (focused) [...card.querySelectorAll("a")].find((a) => a.href === focused)?.focus({ preventScroll: true });
  };
  const draw = () => {
    waiting = 0;
    if (signal.aborted) return;
    let [from, to] = view();
    to = Math.min(to, fit);
    list.style.height = `${Math.max(0, Math.ceil(fit / columns) * step - gap)}px`;
    for (const n of fit ? pagesOf([from, Math.max(to, from + 1)]) : []) if (n * page < fit && !pages.has(n) && !asking.has(n)) more(n);
    let after = null;
    for (const [i, card] of cards) {
      if (i >= fit || (i < from || i >= to) && !card.contains(document.activeElement)) { card.remove(); cards.delete(i); }
      else if (i >= to) after = card; // what has the focus stays, and its place among the others
    }
    for (let i = to - 1; i >= from; i--) {
      let card = cards.get(i);
      if (!card) cards.set(i, card = el("li"));
      if (!card.isConnected) list.insertBefore(card, after);
      after = card;
      card.setAttribute("aria-setsize", fit);
      card.setAttribute("aria-posinset", i + 1);
      Object.assign(card.style, { top: `${Math.floor(i / columns) * step}px`, left: `calc((100% + ${gap}px) * ${(i % columns) / columns})`, width: `calc((100% + ${gap}px) / ${columns} - ${gap}px)` });
      fill(card, pages.get(Math.floor(i / page))?.[i % page]);
    }
  };
  const soon = () => { waiting ||= requestAnimationFrame(draw); };
  const size = new ResizeObserver(soon);
  size.observe(box);
  box.addEventListener("scroll", soon, { passive: true });
  signal.addEventListener("abort", () => { size.disconnect(); cancelAnimationFrame(waiting); });
  return { box, anew };
}
