// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Charts over time, as the page and the reports of adctl draw them. It uses uPlot, and nothing else of the page.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// number writes a reading with as many digits as say something.
export const number = (v) => v === undefined || v === null ? "–" : Number(v.toPrecision(6)).toString();

const pad = (n) => String(n).padStart(2, "0");

// wall is a date whose UTC is what a clock shows at t: one that is offset(t) seconds before UTC, or that of the browser.
const wall = (t, offset) => new Date((t + (offset ? offset(t) : -60 * new Date(t * 1000).getTimezoneOffset())) * 1000);

// clock writes marks of a time axis: the time of day, with the date where a day begins.
const clock = (offset) => (u, splits, axis, space, incr) => splits.map((t, i) => {
  const [day, time] = [wall(t, offset).toISOString().slice(5, 10), wall(t, offset).toISOString().slice(11, 16)];
  if (incr >= 86400) return day;
  const second = incr < 60 ? wall(t, offset).toISOString().slice(16, 19) : "";
  return i === 0 || time === "00:00" && !second ? `${time}${second}\n${day}` : time + second;
});

// stamp writes a time as it stands under the pointer.
export const stamp = (t, offset) => wall(t, offset).toISOString().slice(0, 19).replace("T", " ");

// local is wall for uPlot, which asks a date for the local time.
const local = (offset) => (t) => { const d = wall(t, offset); return new Date(+d + d.getTimezoneOffset() * 60000); };

// chart draws in box. The data are columns: time in seconds, then the series, of which o.series says
//   label, color (a CSS variable), width, dash, hidden (from the legend), value(row) for the legend, and fill: the number of
//   another series up to which it is filled.
// o.spans() are stretches to shade ({from, to, color, alpha}), in a strip from top, of a share of the height, where these
// are given; o.lines() levels to draw ({at, color}), or upright ({x, color}); o.plainX writes marks of an axis that is none
// of times; o.offset(t) is by how many seconds the clock of the axis is before UTC, that of the browser where it is not given; o.xSplits, o.ySplits and o.yValues are marks. o.zoom(from, to) is called
// with what was chosen by dragging, and without anything for all again. Without it the chart zooms what it has.
export function chart(box, o) {
  let plot, data = o.data;
  const height = o.height ?? 320, wide = () => Math.max(240, box.clientWidth);
  const build = () => {
    const ink = css("--ink"), line = css("--line"), axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const series = o.series.map((s, k) => ({
      label: s.label, stroke: s.color ? css(s.color) : "transparent", width: s.width ?? 1.5, dash: s.dash, points: s.points === false ? { show: false } : undefined,
      class: s.hidden ? "silent" : undefined, scale: "y", paths: s.steps ? uPlot.paths.stepped({ align: 1 }) : undefined, spanGaps: s.gaps ?? false,
      value: (u, v, n, i) => i === null || i === undefined ? "–" : s.value ? s.value(data, i) : number(v) + (o.unit && v !== null ? ` ${o.unit}` : ""),
    }));
    plot = new uPlot({
      width: wide(), height, tzDate: o.offset && local(o.offset), cursor: { drag: { x: true, y: false, setScale: !o.zoom }, sync: o.together ? { key: o.together } : undefined, bind: o.zoom ? { dblclick: () => () => { o.zoom(); return null; } } : {} },
      scales: { x: { time: !o.plainX, range: o.range }, y: { range: o.yRange } },
      series: [{ label: o.time, value: (u, v) => v === null ? "–" : o.plainX ? o.xValue(v) : stamp(v, o.offset) }, ...series],
      bands: o.series.flatMap((s, k) => s.fill === undefined ? [] : [{ series: [k + 1, s.fill + 1], fill: css(s.fillColor ?? s.color) + "33" }]),
      axes: [{ ...axis, space: 80, label: o.xLabel, labelSize: o.xLabel ? 18 : 0, values: o.plainX ?? clock(o.offset), ...(o.xSplits ? { splits: () => o.xSplits } : {}) }, { ...axis, size: o.ySize ?? 62, ...(o.ySplits ? { splits: () => o.ySplits } : {}), label: o.yLabel, labelSize: o.yLabel ? 18 : 0, values: o.yValues ?? ((u, marks) => marks.map(number)) }],
      hooks: {
        setSelect: o.zoom ? [(u) => { if (u.select.width > 4) o.zoom(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")); u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false); }] : [],
        drawClear: [(u) => shade(u, o.spans?.() ?? [])],
        draw: [(u) => levels(u, o.lines?.() ?? [])],
      },
    }, data, box);
  };
  const shade = (u, spans) => {
    const { ctx, bbox } = u, inside = (t) => Math.min(Math.max(u.valToPos(t, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    for (const s of spans) {
      const from = inside(s.from), to = inside(s.to);
      ctx.fillStyle = css(s.color);
      ctx.globalAlpha = s.alpha ?? 1;
      if (s.to >= u.scales.x.min && s.from <= u.scales.x.max) ctx.fillRect(from, bbox.top + (s.top ?? 0) * bbox.height, Math.max(to - from, 2), (s.share ?? 1) * bbox.height);
    }
    ctx.restore();
  };
  const levels = (u, lines) => {
    const { ctx, bbox } = u;
    ctx.save();
    for (const l of lines) {
      ctx.strokeStyle = css(l.color);
      ctx.setLineDash([6, 4]);
      ctx.beginPath();
      if (l.x === undefined) {
        const y = u.valToPos(l.at, "y", true);
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
      } else {
        const x = u.valToPos(l.x, "x", true);
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
      }
      ctx.stroke();
    }
    ctx.restore();
  };
  const anew = () => { plot?.destroy(); build(); };
  const size = new ResizeObserver(() => { if (plot && wide() !== plot.width) plot.setSize({ width: wide(), height }); });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  build();
  size.observe(box);
  dark.addEventListener("change", anew);
  return {
    set(next) { data = next; plot.setData(next); },
    end() { size.disconnect(); dark.removeEventListener("change", anew); plot?.destroy(); plot = undefined; },
  };
}

// state writes a number that stands for a state.
export const state = (states, v) => states[v] ?? number(v);

// readings are what a chart of readings has of its own: its series, of which the columns are time, greatest, least, expected,
// lower, upper, and the axis. Of states they are steps.
export const readings = (names, unit, states) => {
  if (states?.length) return {
    series: [
      { label: names.value, color: "--link", steps: true, width: 2, value: (d, i) => d[1][i] === null ? "–" : d[1][i] === d[2][i] ? state(states, d[1][i]) : `${state(states, d[2][i])} … ${state(states, d[1][i])}`, fill: 1 },
      { label: names.value, color: "--link", steps: true, hidden: true, points: false },
    ],
    ySplits: states.map((_, i) => i), yValues: (u, marks) => marks.map((v) => state(states, v)), yRange: () => [-0.2, Math.max(1, states.length - 1) + 0.2],
    ySize: Math.min(160, Math.max(62, 16 + 8 * Math.max(...states.map((s) => s.length)))),
  };
  const text = (v) => number(v) + (unit ? ` ${unit}` : "");
  return { unit, yLabel: unit || undefined, series: [
    { label: names.value, color: "--link", points: undefined, value: (d, i) => d[1][i] === null ? "–" : d[1][i] === d[2][i] ? text(d[1][i]) : `${number(d[2][i])} … ${text(d[1][i])}`, fill: 1 },
    { label: names.value, color: "--link", hidden: true, points: false },
    { label: names.expected, color: "--soft", dash: [4, 4], points: false, gaps: true },
    { label: names.band, points: false, hidden: true, gaps: true },
    { label: names.band, points: false, gaps: true, fill: 3, fillColor: "--normal", value: (d, i) => d[4][i] === null || d[5][i] === null ? "–" : `${number(d[4][i])} … ${text(d[5][i])}` },
  ] };
};
