// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Puts chart.js, which stands before it in the same module, to work in a report: draws what is in #charts.

const shades = { warning: { color: "--warning", alpha: 0.22 }, critical: { color: "--critical", alpha: 0.22 } };
const all = JSON.parse(document.getElementById("charts").textContent);

for (const box of document.querySelectorAll("[data-chart]")) {
  const c = all[box.dataset.chart], at = (bin) => c.from + bin * c.each;
  const marks = c.marks?.map((m) => m.at), text = (u, splits) => splits.map((s) => c.marks.find((m) => m.at === s)?.text ?? "");
  const common = { height: c.height, yLabel: c.y, xLabel: c.x, time: c.x, together: c.whole ? "time" : undefined };
  // Times are those of the recording's clock; what only counts is no time.
  if (c.count) Object.assign(common, { plainX: (u, splits) => splits.map(number), xValue: (v) => number(v) });
  else common.offset = (t) => (c.offsets?.findLast(([since]) => t >= since) ?? c.offsets?.[0])?.[1] ?? 0;
  // A line is broken between two bins where the recording has nothing.
  const times = (c.bins ?? []).map((b, i) => b < 0 ? at((c.bins[i - 1] + c.bins[i + 1]) / 2) : at(b + 0.5));
  const spans = () => (c.spans ?? []).flatMap((s) => {
    const where = { from: at(s.from), to: at(s.to) };
    return s.class === "truth" ? [{ ...where, color: "--truth", top: 0.96, share: 0.04 }] : [{ ...where, ...shades[s.class] }];
  });
  if (c.kind === "readings") {
    const name = (v) => c.names ? c.names[v] ?? "" : number(v), room = 0.08 * (c.high - c.low);
    const series = readings({ value: "reading", expected: "expected", band: "99 of 100 lie between" }, "").series.map((s) => ({ ...s, color: s.color === "--link" ? "--reading" : s.color === "--soft" ? "--band" : s.color, fillColor: s.fillColor && "--band" }));
    if (c.names) series[0].value = (d, i) => d[1][i] === null ? "–" : name(d[1][i]);
    const banded = c.columns[4].some((v) => v !== null);
    chart(box, { ...common, series: banded ? series : series.slice(0, 2), data: [times, ...(banded ? c.columns : c.columns.slice(0, 2))], spans,
      yRange: [c.low - room, c.high], ...(c.names ? { ySplits: c.names.map((_, i) => i), yValues: (u, s) => s.map(name) } : {}) });
  } else if (c.kind === "score") {
    chart(box, { ...common, ySize: 72, data: [times, c.columns[0]], spans, lines: () => [{ at: c.line, color: "--ink" }], yRange: [0, c.high], ySplits: marks, yValues: text,
      series: [{ label: "score", color: "--score", width: 1, points: false, value: (d, i) => d[1][i] === null ? "–" : (1 - 10 ** -d[1][i]).toFixed(6) }] });
  } else {
    chart(box, { ...common, plainX: text, xSplits: marks, xValue: (v) => (1 - 10 ** -v).toPrecision(4), data: c.columns, lines: () => [{ x: c.line, color: "--ink" }], yRange: [0, c.high],
      series: [{ label: c.y, color: "--reading", width: 2, steps: true, value: (d, i) => number(d[1][i]) }] });
  }
}
