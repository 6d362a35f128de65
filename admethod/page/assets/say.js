// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// What people say of an incident or a span, and what they mute.

import { get, post } from "./api.js";
import { el, when } from "./element.js";
import { words } from "./words.js";

const kept = (name, value) => {
  try {
    if (value !== undefined) sessionStorage.setItem(name, value);
    return sessionStorage.getItem(name) ?? "";
  } catch { return value ?? ""; }
};

// who asks for a name, where no proxy has told it.
function who(you) {
  const w = words();
  if (you.name) return { element: el("span", { class: "quiet" }, you.name), name: () => you.name };
  const by = el("input", { placeholder: w.by, "aria-label": w.by, maxlength: "60", autocomplete: "name" });
  by.value = kept("by");
  return { element: by, name: () => kept("by", by.value) };
}

// say takes whether what is chosen was normal or a fault: an incident, or a span ({from, to}).
export function say(key, you, chosen, said) {
  const w = words(), note = el("input", { placeholder: w.note, "aria-label": w.note, maxlength: "200" }), by = who(you);
  const button = (label, what) => {
    const b = el("button", { type: "button" }, label);
    b.addEventListener("click", async () => {
      b.disabled = true;
      try {
        const about = chosen.id ? { incident: chosen.id } : { from: new Date(chosen.from * 1000).toISOString(), to: new Date(chosen.to * 1000).toISOString() };
        const answer = await post("v1/feedback", { ...about, ...key, verdict: what, note: note.value, by: by.name() });
        said(answer.learned ? w.learned : answer.reason ? w.notLearned(answer.reason) : w.noted);
      } catch (err) { said(w.failed(err.message)); }
      b.disabled = false;
    });
    return b;
  };
  const about = chosen.id ? w.ofIncident(when(chosen.start)) : w.ofSpan(when(chosen.from * 1000), when(chosen.to * 1000));
  return el("fieldset", { class: "say" }, el("legend", {}, about), button(w.normalSaid, "normal"), button(w.faultSaid, "fault"), note, by.element);
}

// mute takes for how long a property, or its device, is to alert nobody.
export function mute(key, you, muted, said, changed) {
  const w = words(), by = who(you), note = el("input", { placeholder: w.note, "aria-label": w.note, maxlength: "200" });
  const what = el("select", { "aria-label": w.muteWhat }, el("option", { value: "property" }, key.property), el("option", { value: "device" }, w.wholeDevice(key.device)));
  const span = el("select", { "aria-label": w.muteFor }, ...[["1h", w.spans.hour], ["8h", w.spans.shift], ["24h", w.spans.day], ["168h", w.spans.week]].map(([value, text]) => el("option", { value }, text)));
  const tell = async (body) => {
    try {
      await post("v1/mutes", { namespace: key.namespace, device: key.device, by: by.name(), ...body });
      said(w.noted);
      await changed();
    } catch (err) { said(w.failed(err.message)); }
  };
  if (muted) {
    const lift = el("button", { type: "button" }, w.unmute);
    lift.addEventListener("click", () => tell({ property: muted.property, for: "0s" }));
    return el("fieldset", { class: "say" }, el("legend", {}, w.mutedTitle), el("span", {}, w.mutedUntil(when(muted.until), muted.by, muted.note)), lift);
  }
  const button = el("button", { type: "button", id: "mute" }, w.mute);
  button.addEventListener("click", () => tell({ property: what.value === "property" ? key.property : "", for: span.value, note: note.value }));
  return el("fieldset", { class: "say" }, el("legend", {}, w.muteTitle), what, span, button, note, by.element);
}

// acts shows what people changed.
export async function acts(main, signal) {
  const w = words(), { acts: list } = await get("v1/audit?limit=200", signal);
  const row = (a) => el("tr", {}, el("td", {}, when(a.at)), el("td", {}, a.by || a.role), el("td", {}, w.acts[a.what] ?? a.what),
    el("td", {}, `${a.device} ${a.property ?? ""}`), el("td", {}, a.begin ? `${when(a.begin)} – ${when(a.end)}` : ""), el("td", {}, a.note ?? ""));
  main.replaceChildren(el("p", {}, el("a", { href: "#/" }, "← " + w.back)), el("h2", {}, w.audit), list.length
    ? el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": w.audit }, el("table", {}, el("thead", {}, el("tr", {}, ...[w.time, w.who, w.what, w.device, w.span, w.note].map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, ...list.map(row))))
    : el("p", { class: "quiet" }, w.noActs));
}
