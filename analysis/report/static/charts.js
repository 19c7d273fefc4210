// Charts by uPlot: lines over steps, the nearest one named under the pointer.

const REACH = 24; // pixels between the pointer and a line that is meant

// spec: {title, x, lines: [{values, stroke, width, dash, run, label}], band: [upper, lower, fill], logX, logY, range, pick}
function drawChart(node, spec) {
  const old = node.chart;
  if (old) old.destroy();
  node.replaceChildren();
  const width = Math.max(260, node.clientWidth || 460);
  const options = { width, height: spec.height ?? 230, title: spec.title, legend: { show: false }, ...parts(spec, node) };
  const chart = new uPlot(options, [spec.x, ...spec.lines.map((line) => line.values)], node);
  node.chart = chart;
  node.spec = spec;
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", spec.words ?? spec.title);
  chart.over.addEventListener("click", () => node.near?.run !== undefined && spec.pick?.(node.near.run));
  chart.over.addEventListener("mouseleave", () => { node.near = null; hideTip(); });
  return chart;
}

function parts(spec, node) {
  const ink = colourOf("--ink");
  const grid = { stroke: colourOf("--line"), width: 1 };
  const format = (log) => (_, ticks) => ticks.map((t) => (t === null ? "" : log === "steps" ? short(t) : number(t, 3)));
  return {
    scales: {
      x: { time: false, distr: spec.logX ? 3 : 1, range: (_, low, high) => [low, high > low ? high : low + 1] },
      y: { distr: spec.logY ? 3 : 1, ...(spec.range ? { range: spec.range } : {}) },
    },
    axes: [
      { stroke: ink, grid, ticks: grid, splits: splitsOf(spec.logX, 7), filter: (_, splits) => splits, label: spec.xLabel ?? "optimiser steps", labelSize: 20, values: format("steps"), size: 34, font: "11px system-ui" },
      { stroke: ink, grid, ticks: grid, splits: splitsOf(spec.logY, 6), filter: (_, splits) => splits, values: format(), size: 52, font: "11px system-ui" },
    ],
    series: [{}, ...spec.lines.map((line) => series(line, spec))],
    bands: (spec.bands ?? []).map(([upper, lower, fillColour]) => ({ series: [upper + 1, lower + 1], fill: fillColour })),
    cursor: { drag: { x: true, y: false }, points: { show: false }, y: false },
    hooks: { setCursor: [(chart) => nameNearest(chart, spec, node)] },
  };
}

const splitsOf = (log, most) => (_, axis, low, high) => roundTicks(low, high, log, most);

function series(line, spec) {
  return {
    label: line.label, stroke: line.stroke, width: line.width ?? 1, dash: line.dash, spanGaps: true,
    points: { show: false }, ...(spec.steps ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
  };
}

// The line nearest to the pointer: its value may lie a few points aside, where runs were evaluated at different steps.
function nameNearest(chart, spec, node) {
  const { idx, left, top } = chart.cursor;
  node.near = null;
  if (idx === null || idx === undefined || left < 0) return hideTip();
  let best = REACH;
  spec.lines.forEach((line, i) => {
    if (line.run === undefined && !line.told) return;
    const at = [0, -1, 1, -2, 2, -3, 3].map((d) => idx + d).find((k) => line.values[k] !== null && line.values[k] !== undefined);
    if (at === undefined) return;
    const distance = Math.abs(chart.valToPos(line.values[at], "y") - top);
    if (distance < best) [best, node.near] = [distance, { run: line.run, line, at, series: i }];
  });
  if (!node.near) return hideTip();
  const { line, at } = node.near;
  const box = chart.over.getBoundingClientRect();
  showTip([line.label, `step ${number(spec.x[at])}: ${number(line.values[at])}`], box.left + left, box.top + top);
}

function destroyCharts(node) {
  for (const chart of node.querySelectorAll(".chart")) chart.chart?.destroy();
}

// The same chart by a pen, for SVG.
function penChart(pen, spec, [x0, y0, w, h], ink) {
  const values = spec.lines.flatMap((line) => line.values.filter((v) => Number.isFinite(v) && (!spec.logY || v > 0)));
  const [xl, xh] = [spec.x[0], spec.x[spec.x.length - 1]];
  const [yl, yh] = spec.range ?? [Math.min(...values), Math.max(...values)];
  const share = (v, low, high, log) => (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));
  const place = (x, y) => [x0 + w * share(x, xl, xh, spec.logX), y0 + h * (1 - share(y, yl, yh, spec.logY))];
  for (const line of spec.lines) {
    const points = line.values.map((v, i) => [spec.x[i], v]).filter(([, v]) => Number.isFinite(v) && (!spec.logY || v > 0));
    const drawn = spec.steps ? points.flatMap(([x, y], i) => (i ? [[x, points[i - 1][1]], [x, y]] : [[x, y]])) : points;
    if (drawn.length > 1) pen.line(drawn.map(([x, y]) => place(x, y)), { stroke: line.stroke, width: line.width ?? 1, dash: line.dash ?? [] });
  }
  pen.line([[x0, y0], [x0, y0 + h], [x0 + w, y0 + h]], { stroke: ink });
  for (const t of roundTicks(xl, xh, spec.logX)) pen.text(place(t, yl)[0], y0 + h + 12, short(t), { fill: ink, size: 11, align: "center" });
  for (const t of roundTicks(yl, yh, spec.logY)) pen.text(x0 - 6, place(xl, t)[1], number(t, 3), { fill: ink, size: 11, align: "right" });
  pen.text(x0 + w / 2, y0 - 12, spec.title, { fill: ink, size: 13, align: "center" });
  pen.text(x0 + w / 2, y0 + h + 30, spec.xLabel ?? "optimiser steps", { fill: ink, size: 12, align: "center" });
}
