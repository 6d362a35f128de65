// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// The API of the mapper, or of the detector: the only thing that the page asks.

let token = "";
try { token = sessionStorage.getItem("token") ?? ""; } catch { /* asked for each time then */ }

export class Refused extends Error {}

export function use(text) {
  token = text.trim();
  try { sessionStorage.setItem("token", token); } catch { /* held in memory */ }
}

const headers = (more) => token ? { Authorization: `Bearer ${token}`, ...more } : { ...more };

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers(options.headers) });
  if (answer.status === 401) throw new Refused("401");
  if (!answer.ok) throw Object.assign(new Error((await answer.text()).trim() || String(answer.status)), { status: answer.status });
  return answer;
}

export const get = async (path, signal) => (await ask(path, { signal })).json();

export const post = async (path, body) => (await ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();

const sleep = (ms, signal) => new Promise((done) => {
  const t = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(t); done(); }, { once: true });
});

// follow hands each event to take until signal says so, and connects again when the stream ends. heard is told whether
// the other side answers. EventSource would do, if it could carry a token.
export async function follow(path, signal, take, heard) {
  let last = "", pause = 500;
  while (!signal.aborted) {
    try {
      const answer = await ask(path, { signal, headers: last ? { "Last-Event-ID": last } : {} });
      heard(true);
      pause = 500;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          let data = "";
          for (const line of block.split("\n")) {
            if (line.startsWith("id: ")) last = line.slice(4);
            if (line.startsWith("data: ")) data += line.slice(6);
          }
          if (data) take(JSON.parse(data));
        }
      }
    } catch (err) {
      if (signal.aborted) return;
      if (err instanceof Refused) throw err;
    }
    if (signal.aborted) return;
    heard(false);
    await sleep(pause, signal);
    pause = Math.min(pause * 2, 10000);
  }
}
