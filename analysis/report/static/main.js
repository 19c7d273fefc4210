// The page: what it knows and shows, and how it changes.

const view = { data: null, state: null, layout: null, runIndex: -1, focus: 0 };

function change(changes) {
  Object.assign(view.state, changes);
  return render();
}

// Other cells or runs: what does not depend on them stays, and the curves come before the table.
async function reselect(changes) {
  Object.assign(view.state, changes);
  writeState(view.state);
  findRun();
  markCells();
  paintDiagram();
  await renderDetails();
  setTimeout(showRows); // after the curves are on the screen
}

function findRun() {
  const { data, state } = view;
  view.runIndex = state.run === null ? -1 : everyone(data).find((run) => textAt(data.columns.id, run) === state.run);
}

async function render() {
  const { data, state } = view;
  fitState(state, data);
  writeState(state);
  document.documentElement.dataset.theme = state.theme;
  findRun();
  renderHead();
  renderComparison(data);
  renderChoices();
  renderDiagram();
  renderTable();
  await renderDetails();
}

function renderChoices() {
  const { data, state } = view;
  const axes = data.axes.map((axis) => [axis.name, axis.label]);
  const [x, y] = [axisOf(data, state.x), axisOf(data, state.y)];
  const others = axes.filter(([name]) => name !== state.x && name !== state.y);
  const free = data.axes.filter((axis) => ![state.x, state.y, state.facet].includes(axis.name));
  const choices = [
    axes.length ? chooser("x", "across", axes, state.x, (v) => change({ x: v, ...(v === state.y ? { y: state.x } : {}) })) : null,
    axes.length ? chooser("y", "up", [["", "nothing"], ...axes.filter(([name]) => name !== state.x)], state.y ?? "", (v) => change({ y: v })) : null,
    others.length ? chooser("facet", "panels", [["", "none"], ...others], state.facet ?? "", (v) => change({ facet: v || null })) : null,
    ...free.map((axis, i) => chooser(`fix${i}`, axis.label, [["", "all values pooled"], ...axis.texts.map((text, k) => [String(k), text])],
      String(axis.name in state.fix ? axis.values.indexOf(state.fix[axis.name]) : ""), (v) => change({ fix: fixedBy(axis, v) }))),
    chooser("colour", "colour", measuresOf(data).map((m) => [m.name, measureTitle(m)]), state.colour, (v) => change({ colour: v })),
    chooser("level", "level", data.levels.map((level) => [String(level), percent(level)]), String(state.level), (v) => change({ level: Number(v) })),
    scalesOf(x).length > 1 ? chooser("sx", "scale across", scalesOf(x), state.sx, (v) => change({ sx: v })) : null,
    scalesOf(y).length > 1 ? chooser("sy", "scale up", scalesOf(y), state.sy, (v) => change({ sy: v })) : null,
  ].filter(Boolean);
  const focused = document.activeElement?.id;
  fill(byId("choices"), ...choices);
  if (focused && choices.some((c) => c.querySelector("select").id === focused)) byId(focused).focus();
}

function fixedBy(axis, choice) {
  const { [axis.name]: _, ...rest } = view.state.fix;
  return choice === "" ? rest : { ...rest, [axis.name]: axis.values[Number(choice)] };
}

function renderDiagram() {
  const { data, state } = view;
  const canvas = byId("diagram");
  const layout = layOut(data, state, Math.max(280, byId("left").clientWidth - 20));
  measureCells(data, state, layout);
  view.layout = layout;
  markCells();
  paintDiagram();
  const chosen = layout.measure.label(state.level);
  canvas.setAttribute("aria-label", `Diagram of ${chosen}: ${layout.cells.length} cells. Arrow keys move, Enter selects, Shift and Enter adds.`);
}

function markCells() {
  const { data, state, layout } = view;
  const picked = new Set(pickedRuns(data, state));
  for (const cell of layout.cells) {
    cell.selected = state.cells.some((key) => sameKey(key, cell.key));
    cell.picked = !cell.selected && cell.runs.some((run) => picked.has(run) || run === view.runIndex);
  }
}

function paintDiagram() {
  const { data, state, layout } = view;
  const canvas = byId("diagram");
  const dense = devicePixelRatio || 1;
  Object.assign(canvas, { width: layout.width * dense, height: layout.height * dense });
  Object.assign(canvas.style, { width: `${layout.width}px`, height: `${layout.height}px` });
  const context = canvas.getContext("2d");
  context.scale(dense, dense);
  const focused = document.activeElement === canvas;
  layout.cells.forEach((cell, i) => { cell.focused = focused && i === view.focus; });
  drawDiagram(new CanvasPen(context), data, state, layout, { accent: colourOf("--accent"), dark: isDark() });
}

const isDark = () => colourOf("--dark") === "1";

function selectCell(cell, add) {
  const { cells } = view.state;
  const there = cells.some((key) => sameKey(key, cell.key));
  const others = cells.filter((key) => !sameKey(key, cell.key));
  const next = add ? (there ? others : [...cells, cell.key]) : there && cells.length === 1 ? [] : [cell.key];
  announce(`${cellWords(view.state, view.layout, cell).join("; ")}: ${next.length > others.length || !there ? "selected" : "not selected"}`);
  return reselect({ cells: next, run: null, ...(add ? {} : { picked: [] }) });
}

function chooseRun(run) {
  return reselect({ run: run === null ? null : textAt(view.data.columns.id, run) });
}

async function renderDetails() {
  const { data, state } = view;
  const selected = selectedRuns(data, state);
  const runs = view.runIndex >= 0 && !selected.includes(view.runIndex) ? [...selected, view.runIndex].sort((a, b) => a - b) : selected;
  const turn = (view.turn = (view.turn ?? 0) + 1);
  byId("hint").hidden = runs.length > 0;
  byId("details").hidden = runs.length === 0;
  fill(byId("card"), view.runIndex >= 0 ? runCard(data, view.runIndex) : null);
  if (!runs.length) return;
  const chooseProbe = chooser("probe", "another value", [["", "none"], ...data.probes.slice(4).map((p) => [p, p])], state.probe ?? "", (v) => change({ probe: v || null }));
  fill(byId("probes"), data.probes.length > 4 ? chooseProbe : null);
  byId("selection").textContent = selectionWords(data, state, runs);
  const survival = survivalSpec(data, state, runs);
  try {
    const specs = await drawCurves(data, state, runs);
    if (turn === view.turn) drawDetails(data, specs, survival);
  } catch (error) {
    if (turn === view.turn) fill(byId("charts"), element("p", { role: "alert" }, error.message));
  }
}

function drawDetails(data, specs, survival) {
  destroyCharts(byId("details"));
  const place = (spec, what) => {
    const node = element("div", { class: "chart" });
    return [spec, node, element("figure", {}, node, element("figcaption", {}, ...chartButtons(node, what)))];
  };
  const curves = specs.map((spec) => place(spec, spec.title.replace(/\W+/g, "_")));
  const last = place(survival, "survival");
  const blind = survival.groups.filter((group) => group.blind).map((group) => group.label);
  fill(byId("charts"), legend(data, specs[0]), ...curves.map(([, , figure]) => figure), last[2],
    blind.length ? element("p", {}, `No curve for ${blind.join("; ")}: the stop rule ended some runs below this level, so their times are not observed.`) : null,
    element("div", { class: "scroll" }, riskTable(data, survival)));
  for (const [spec, node] of [...curves, last]) drawChart(node, spec);
}

// What the colours of the curves mean.
function legend(data, spec) {
  const [train, val] = data.colours.palette;
  const item = (colour, dashed, text) => element("span", { class: "item" }, element("span", { class: dashed ? "dashed" : "solid", style: `border-color: ${colour}` }), text);
  const several = spec.groups[0].colour !== null;
  const items = several
    ? [...spec.groups.map((group) => item(group.colour, false, group.label)), item("currentColor", true, "training"), item("currentColor", false, "validation")]
    : [item(train, false, "training"), item(val, false, "validation")];
  return element("p", { class: "legend" }, ...items);
}

function selectionWords(data, state, runs) {
  const cells = state.cells.map((key) => keyWords(data, key));
  const told = cells.length && cells.length <= 3 ? `: ${cells.join("; ")}` : "";
  const drawn = runs.length > MOST_LINES ? `; ${MOST_LINES} of them as lines` : "";
  return `${runs.length} run${runs.length === 1 ? "" : "s"}${told}${drawn}. Thin lines: single runs; thick line and band: median and 10–90 %. Click on a line to see its run.`;
}

function moveFocus(event) {
  const { cells } = view.layout;
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    if (cells[view.focus]) selectCell(cells[view.focus], event.shiftKey || event.ctrlKey);
  } else if (steps[event.key] && cells.length) {
    event.preventDefault();
    view.focus = neighbour(cells, Math.min(view.focus, cells.length - 1), steps[event.key]);
    paintDiagram();
    announce(cellWords(view.state, view.layout, cells[view.focus]).join("; "));
  }
}

// The next cell in a direction; across the border of a panel into the next one.
function neighbour(cells, from, [dx, dy]) {
  const [panel, i, j] = cells[from].grid;
  const behind = (cell) => (cell.grid[0] - panel) * 1e6 * (dx || -dy) + (dx ? (cell.grid[1] - i) * dx : (cell.grid[2] - j) * dy);
  const same = (cell) => (dx ? cell.grid[2] === j : cell.grid[1] === i);
  const ahead = cells.map((cell, k) => [behind(cell), k]).filter(([far, k]) => far > 0 && same(cells[k])).sort((a, b) => a[0] - b[0]);
  return ahead.length ? ahead[0][1] : from;
}

function listen() {
  const canvas = byId("diagram");
  const at = (event) => cellAt(view.layout, event.offsetX, event.offsetY);
  canvas.addEventListener("mousemove", (event) => {
    const cell = at(event);
    canvas.style.cursor = cell ? "pointer" : "default";
    if (cell) showTip(cellWords(view.state, view.layout, cell), event.clientX, event.clientY);
    else hideTip();
  });
  canvas.addEventListener("mouseleave", hideTip);
  canvas.addEventListener("click", (event) => {
    const cell = at(event);
    if (!cell) return;
    view.focus = view.layout.cells.indexOf(cell);
    selectCell(cell, event.shiftKey || event.ctrlKey || event.metaKey);
  });
  canvas.addEventListener("keydown", moveFocus);
  canvas.addEventListener("focus", paintDiagram);
  canvas.addEventListener("blur", paintDiagram);
  let waiting = 0;
  byId("filter").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { view.state.filter = event.target.value; writeState(view.state); renderTable(); }, 150);
  });
  byId("more").addEventListener("click", () => { view.rowsShown += 4 * PAGE_ROWS; renderTable(); });
  byId("pick").addEventListener("click", () => reselect({ picked: view.rows.map((run) => textAt(view.data.columns.id, run)) }));
  byId("clear").addEventListener("click", () => reselect({ picked: [], cells: [], run: null }));
  byId("csv").addEventListener("click", saveCsv);
  byId("svg").addEventListener("click", () => save(diagramSvg(), "image/svg+xml", fileName("diagram", "svg")));
  byId("png").addEventListener("click", () => savePng(canvas, fileName("diagram", "png")));
  byId("theme").addEventListener("change", (event) => change({ theme: event.target.value }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  addEventListener("hashchange", () => { view.state = readState(location.hash); showInputs(); render(); });
  let sizing = 0;
  addEventListener("resize", () => { clearTimeout(sizing); sizing = setTimeout(render, 150); });
}

function showInputs() {
  byId("filter").value = view.state.filter;
  byId("theme").value = view.state.theme;
}

window.grokjax = { view, follow }; // for the console of the browser

async function begin() {
  view.data = await unpackData(JSON.parse(byId("data").textContent));
  view.state = readState(location.hash);
  showInputs();
  listen();
  await render();
  document.documentElement.dataset.ready = "1";
  setInterval(follow, POLL);
  // So that the first click does not wait for them.
  for (const probe of Object.keys(view.data.curves).slice(0, 4)) setTimeout(() => curveBlock(view.data, probe, 0), 200);
}

begin().catch((error) => {
  byId("hint").textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
});
