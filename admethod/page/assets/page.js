// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

import { Refused, get, use } from "./api.js";
import { el } from "./element.js";
import { overview } from "./overview.js";
import { property } from "./property.js";
import { acts } from "./say.js";
import { turn, words } from "./words.js";

const main = document.getElementById("main"), status = document.getElementById("status"), language = document.getElementById("language"), audit = document.getElementById("audit");
let leave = new AbortController();

// show draws what the address names; what was shown before ends.
async function show() {
  leave.abort();
  leave = new AbortController();
  const w = words(), signal = leave.signal;
  document.documentElement.lang = w.tag;
  language.textContent = w.other;
  audit.textContent = w.audit;
  language.lang = w.tag === "en" ? "zh" : "en";
  const [path, query] = location.hash.slice(1).split("?"), q = new URLSearchParams(query ?? "");
  try {
    const heard = state(signal);
    if (path === "/property") await property(main, q, signal, heard);
    else if (path === "/audit") await acts(main, signal);
    else await overview(main, q, signal, heard);
  } catch (err) {
    if (signal.aborted) return;
    if (err instanceof Refused) askToken();
    else if (err.status === 404 || err.status === 403) main.replaceChildren(el("p", {}, w.unknownHere), el("p", {}, el("a", { href: "#/" }, "← " + w.back)));
    else { status.textContent = w.away; setTimeout(() => { if (!signal.aborted) show(); }, 2000); }
  }
}

// state keeps the line on how the mapper is up to date.
function state(signal) {
  let there = true;
  const draw = async () => {
    if (signal.aborted) return;
    const w = words();
    try {
      const s = await get("v1/status", signal);
      const r = s.readings;
      const looks = s.you.role === "viewer" ? [[s.you.name, s.you.namespaces?.length ? w.looksAt(s.you.namespaces.join(", ")) : w.looks].filter(Boolean).join(": ")] : s.you.name ? [s.you.name] : [];
      status.textContent = there ? [...(r.properties ? [w.readings(r.properties, r.observed.toLocaleString(w.tag), r.dropped)] : []), ...looks, ...s.troubles.map(w.trouble)].join(" · ") : w.away;
    } catch { if (!signal.aborted) status.textContent = w.away; }
  };
  draw();
  const timer = setInterval(draw, 10000);
  signal.addEventListener("abort", () => clearInterval(timer));
  return (answers) => { if (answers !== there) { there = answers; draw(); } };
}

function askToken(wrong = false) {
  const w = words(), field = el("input", { type: "password", autocomplete: "off", id: "token", required: "" });
  main.replaceChildren(el("form", { class: "token" }, el("label", { for: "token" }, w.token), field, el("button", {}, w.enter), wrong ? el("p", { role: "alert" }, w.wrong) : ""));
  main.firstChild.addEventListener("submit", async (e) => {
    e.preventDefault();
    use(field.value);
    try { await get("v1/status"); show(); } catch (err) { askToken(err instanceof Refused); }
  });
  field.focus();
}

language.addEventListener("click", () => { turn(); show(); });
addEventListener("hashchange", () => { show(); main.focus(); scrollTo(0, 0); });
show();
