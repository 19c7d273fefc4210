// The phase diagram: where its cells are, how they are drawn, and which one is under the pointer.

const ROOM = { left: 62, top: 26, right: 12, bottom: 46, between: 26, bar: 62 };
const CELL = { least: 20, most: 96 };
const LONGEST = 22; // characters of a tick's label
const LETTER = 6.4; // pixels of a character, about

const shortened = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);
const widest = (axis) => (axis ? LETTER * Math.max(...axis.texts.map((text) => shortened(text).length)) : 0);
const isNames = (axis) => Boolean(axis) && axis.values.some((value) => typeof value !== "number");

// What labels need: names are told for every cell, turned where they are too wide for it; of numbers some may be left out.
function roomFor(x, y, width) {
  const left = Math.max(ROOM.left, 30 + widest(y));
  const cell = x ? Math.min(CELL.most, (width - left - ROOM.right) / x.values.length) : 0;
  const turned = isNames(x) && widest(x) + 6 > cell;
  return { ...ROOM, left: turned ? Math.max(left, 0.82 * widest(x) - cell / 2 + 8) : left, turned, bottom: turned ? 40 + 0.57 * widest(x) : ROOM.bottom };
}

// Cells with their rectangles in a drawing so many pixels wide; one panel for each value of the facet.
function layOut(data, state, width) {
  const [x, y, facet] = [axisOf(data, state.x), axisOf(data, state.y), axisOf(data, state.facet)];
  const axes = [x, y, facet].filter(Boolean);
  const space = roomFor(x, y, width);
  const cells = cellsOf(axes, runsInView(data, state));
  const panels = facet ? facet.values.map((_, i) => i).filter((i) => cells.some((c) => c.index[axes.indexOf(facet)] === i)) : [0];
  const [nx, ny] = [x ? x.values.length : 1, y ? y.values.length : 1];
  const columns = Math.max(1, Math.min(panels.length, Math.floor(width / (space.left + ROOM.right + Math.min(nx * 40, 260)))));
  const room = width / columns - space.left - ROOM.right;
  const side = Math.max(Math.min(room / nx, CELL.most * (nx < 4 ? 1.4 : 1)), Math.min(CELL.least, room / nx));
  const [w, h] = [Math.min(side * nx, room), Math.max(Math.min(0.72 * side, 520 / ny), 16) * ny];
  const [xs, ys] = [spans(x, state.sx), spans(y, state.sy)];
  const pitch = { x: w + space.left + ROOM.right, y: h + ROOM.top + space.bottom };
  const origin = (i) => [space.left + (i % columns) * pitch.x, ROOM.top + Math.floor(i / columns) * pitch.y];
  const placed = cells.map((cell) => {
    const [i, j, k] = [x, y, facet].map((axis) => (axis ? cell.index[axes.indexOf(axis)] : 0));
    const [left, top] = origin(panels.indexOf(facet ? k : 0));
    const [[x0, x1], [y0, y1]] = [xs[i], ys[j]];
    const rect = [left + x0 * w, top + (1 - y1) * h, (x1 - x0) * w, (y1 - y0) * h];
    const key = Object.fromEntries(axes.map((axis, a) => [axis.name, axis.values[cell.index[a]]]));
    const label = axes.map((axis, a) => `${axis.label} ${axis.texts[cell.index[a]]}`).join(", ");
    return { ...cell, rect, key: { ...key, ...fixedKey(data, state) }, label, grid: [panels.indexOf(facet ? k : 0), i, j] };
  });
  const rows = Math.ceil(panels.length / columns);
  const frames = panels.map((value, i) => ({ value, at: origin(i), size: [w, h], first: i % columns === 0 }));
  return { x, y, facet, cells: placed, frames, xs, ys, width, space, height: rows * pitch.y + ROOM.bar };
}

function fixedKey(data, state) {
  const free = Object.entries(state.fix).filter(([name]) => ![state.x, state.y, state.facet].includes(name));
  return Object.fromEntries(free);
}

const sameKey = (a, b) => {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
};

// Measure every cell, and choose its colour.
function measureCells(data, state, layout) {
  const measure = measuresOf(data).find((m) => m.name === state.colour);
  for (const cell of layout.cells) cell.measured = measure.of(data, cell.runs, state.level);
  layout.measure = measure;
  layout.colours = colouring(data, measure, layout.cells.map((cell) => cell.measured));
  for (const cell of layout.cells) cell.colour = layout.colours.of(cell.measured);
}

function drawDiagram(pen, data, state, layout, marks = {}) {
  const ink = marks.ink ?? colourOf("--ink");
  for (const frame of layout.frames) drawFrame(pen, layout, frame, ink);
  for (const cell of layout.cells) drawCell(pen, data, cell, marks);
  drawBar(pen, data, state, layout, ink);
}

function drawFrame(pen, layout, frame, ink) {
  const [left, top] = frame.at;
  const [w, h] = frame.size;
  if (layout.facet) pen.text(left + w / 2, top - 12, `${layout.facet.label} ${layout.facet.texts[frame.value]}`, { fill: ink, size: 12, align: "center", weight: "600" });
  if (layout.x) drawTicks(pen, layout.x.texts, layout.xs, w, (at, text) => (layout.space.turned
    ? pen.text(left + at + 4, top + h + 8, text, { fill: ink, size: 11, align: "right", turn: -35 })
    : pen.text(left + at, top + h + 10, text, { fill: ink, size: 11, align: "center" })), !layout.space.turned);
  if (layout.y) drawTicks(pen, layout.y.texts, layout.ys, h, (at, text) => pen.text(left - 5, top + h - at, text, { fill: ink, size: 11, align: "right" }), false);
  if (layout.x) pen.text(left + w / 2, top + h + layout.space.bottom - 19, layout.x.label, { fill: ink, size: 12, align: "center" });
  if (layout.y) pen.text(left - layout.space.left + 12, top + h / 2, layout.y.label, { fill: ink, size: 12, align: "center", turn: -90 });
}

// Labels that have room.
function drawTicks(pen, texts, spanned, size, draw, across) {
  let last = -Infinity;
  spanned.forEach(([begin, end], i) => {
    const at = ((begin + end) / 2) * size;
    const half = across ? pen.widthOf(shortened(texts[i]), 11) / 2 + 3 : 7;
    if (at - half < last) return;
    draw(at, shortened(texts[i]));
    last = at + half;
  });
}

function drawCell(pen, data, cell, marks) {
  const [x, y, w, h] = cell.rect;
  const gap = Math.min(1.5, w / 10);
  const inner = [x + gap, y + gap, w - 2 * gap, h - 2 * gap];
  const ground = cell.colour ?? (marks.dark ? "#4a4a4a" : "#e4e4e4");
  const tint = cell.measured.phase ? mixed(ground, marks.dark ? "#000000" : "#ffffff", 0.45) : ground;
  pen.rect(...inner, { fill: tint });
  if (cell.measured.beyond) hatch(pen, inner, marks.dark ? "#8a8a8a" : "#a8a8a8");
  if (cell.measured.phase) drawShares(pen, data, cell.measured.shares, inner);
  drawCellText(pen, cell, inner, inkOn(tint), cell.measured.beyond ? tint : null);
  if (cell.picked) pen.rect(...inner, { stroke: marks.accent, width: 1.5, alpha: 0.9 });
  if (cell.selected) pen.rect(...inner, { stroke: marks.accent, width: 3.5 });
  if (cell.focused) pen.rect(inner[0] + 3, inner[1] + 3, inner[2] - 6, inner[3] - 6, { stroke: inkOn(tint), width: 1.5 });
}

function mixed(colour, other, share) {
  const part = (c, i) => parseInt(c.slice(i, i + 2), 16);
  const mix = (i) => Math.round(part(colour, i) * share + part(other, i) * (1 - share)).toString(16).padStart(2, "0");
  return `#${mix(1)}${mix(3)}${mix(5)}`;
}

function hatch(pen, [x, y, w, h], stroke) {
  for (let d = 6; d < w + h; d += 7) {
    const from = d <= h ? [x, y + d] : [x + d - h, y + h];
    const to = d <= w ? [x + d, y] : [x + w, y + d - w];
    pen.line([from, to], { stroke, width: 1 });
  }
}

function drawShares(pen, data, shares, [x, y, w, h]) {
  let left = x + 0.08 * w;
  shares.forEach((share, i) => {
    if (share > 0) pen.rect(left, y + 0.58 * h, 0.84 * w * share, 0.3 * h, { fill: data.colours.phases[data.phases[i]] });
    left += 0.84 * w * share;
  });
}

function drawCellText(pen, cell, [x, y, w, h], fill, ground) {
  const { text, count, phase } = cell.measured;
  const size = Math.min(13, w / 4.2, h / 2.2);
  if (size < 6.5) return;
  const both = count && h >= 30;
  const middle = phase ? y + 0.32 * h : both ? y + 0.38 * h : y + h / 2;
  if (ground) pen.rect(x + w / 2 - 0.3 * size * text.length - 2, middle - 0.6 * size, 0.6 * size * text.length + 4, (both ? 2.2 : 1.2) * size, { fill: ground });
  pen.text(x + w / 2, middle, text, { fill, size, align: "center" });
  if (both) pen.text(x + w / 2, middle + 1.15 * size, count, { fill, size: 0.8 * size, align: "center" });
}

// The scale of colours, below the panels; for phases a legend.
function drawBar(pen, data, state, layout, ink) {
  const { colours, measure } = layout;
  const [top, left] = [layout.height - ROOM.bar + 12, layout.space.left];
  if (measure.name === "phase") return drawLegend(pen, data, layout, left, top, ink);
  const w = Math.min(300, layout.width - left - 40);
  const label = measure.label(state.level);
  if (!colours.usable) return pen.text(left, top + 6, `no cell has a value: ${label}`, { fill: ink, size: 12 });
  for (let i = 0; i < 100; i++) pen.rect(left + (i * w) / 100, top, w / 100 + 0.6, 10, { fill: shade(colours.scale, i / 99) });
  const format = measure.name === "share" ? percent : measure.name === "time" || measure.name === "delay" ? short : (v) => number(v, 3);
  for (const tick of roundTicks(colours.low, colours.high, colours.log, 5)) {
    const at = left + w * Math.min(Math.max(colours.place(tick), 0), 1);
    pen.line([[at, top + 10], [at, top + 14]], { stroke: ink });
    pen.text(at, top + 21, format(tick), { fill: ink, size: 11, align: "center" });
  }
  pen.text(left, top + 38, label, { fill: ink, size: 12 });
}

function drawLegend(pen, data, layout, left, top, ink) {
  const there = data.phases.filter((_, i) => layout.cells.some((cell) => cell.measured.shares[i] > 0));
  let [at, row] = [left, top];
  for (const phase of there) {
    const wide = 24 + pen.widthOf(phase, 12);
    if (at + wide > layout.width && at > left) [at, row] = [left, row + 18];
    pen.rect(at, row, 12, 12, { fill: data.colours.phases[phase] });
    pen.text(at + 16, row + 6, phase, { fill: ink, size: 12 });
    at += wide + 8;
  }
}

const cellAt = (layout, px, py) =>
  layout.cells.find(({ rect: [x, y, w, h] }) => px >= x && px < x + w && py >= y && py < y + h);

// A cell in words: for the tooltip and for screen readers.
function cellWords(state, layout, cell) {
  const m = cell.measured;
  const interval = Number.isFinite(m.low) || Number.isFinite(m.high)
    ? `95 % interval ${number(m.low)} to ${Number.isFinite(m.high) ? number(m.high) : "no upper limit"}` : "";
  const value = m.phase ? `most probable: ${m.phase}` : `${layout.measure.label(state.level)}: ${m.beyond && m.text !== "?" ? `beyond the budget (${m.text})` : m.text}`;
  return [cell.label || "all runs", value, interval, `n = ${cell.runs.length}`, m.note].filter(Boolean);
}
