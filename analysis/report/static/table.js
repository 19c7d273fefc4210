// The table of runs: sort, filter, pick.

const PAGE_ROWS = 100;

// A column: its name, and the value of a run, a number or a text.
function tableColumns(data, level) {
  const plain = (name) => ({ name, of: (run) => (data.columns[name].words ? textAt(data.columns[name], run) : data.columns[name][run]) });
  const time = (split) => (run) => { const o = outcome(data, split, level, run); return o.state === HIT ? o.upper : NaN; };
  const finals = data.probes.map((name) => `final_${name}`).filter((name) => name in data.columns);
  return [
    plain("id"), ...variedNames(data).filter((name) => data.columns[name]).map(plain), plain("status"), plain("phase"),
    { name: `val_${level}_step`, title: `validation ≥ ${percent(level)}`, of: time("val") },
    { name: `train_${level}_step`, title: `training ≥ ${percent(level)}`, of: time("train") },
    { name: `delay_${level}`, title: "delay", of: (run) => delayOf(data, level, run) },
    plain("last_step"), ...finals.map(plain),
  ];
}

// Every column of the data: for the filter and for CSV files.
function allColumns(data, level) {
  const shown = tableColumns(data, level);
  const names = new Set(shown.map((column) => column.name));
  const rest = Object.keys(data.columns).filter((name) => !names.has(name));
  return [...shown, ...rest.map((name) => ({ name, of: (run) => (data.columns[name].words ? textAt(data.columns[name], run) : data.columns[name][run]) }))];
}

function tableRuns(data, state) {
  const columns = allColumns(data, state.level);
  const byName = new Map(columns.map((column) => [column.name, column]));
  const passes = parseQuery(state.filter, [...byName.keys()]);
  const runs = everyone(data).filter((run) => passes((name) => byName.get(name).of(run)));
  const by = byName.get(state.sort[0]) ?? columns[0];
  const keys = new Map(runs.map((run) => [run, by.of(run)]));
  return runs.sort((a, b) => state.sort[1] * compared(keys.get(a), keys.get(b)) || a - b);
}

// Missing values come last, whatever the direction: the caller's sign is undone for them.
function compared(a, b) {
  if (typeof a === "string" || typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
  if (Number.isNaN(a) || Number.isNaN(b)) return (Number.isNaN(a) - Number.isNaN(b)) * view.state.sort[1];
  return a - b;
}

function renderTable() {
  const { data, state } = view;
  const problem = byId("problem");
  try {
    view.rows = tableRuns(data, state);
    problem.textContent = "";
  } catch (error) {
    problem.textContent = error.message;
    view.rows = view.rows ?? everyone(data);
  }
  showRows();
}

// The rows as they are sorted and filtered already; which of them are selected may have changed.
function showRows() {
  const { data, state } = view;
  view.rowsShown = Math.max(PAGE_ROWS, Math.min(view.rowsShown ?? PAGE_ROWS, view.rows.length));
  const columns = tableColumns(data, state.level);
  const selected = new Set(selectedRuns(data, state));
  const shown = view.rows.slice(0, view.rowsShown);
  fill(byId("runs"), element("thead", {}, element("tr", {}, element("th", {}, "pick"), ...columns.map(headCell))),
    element("tbody", {}, ...shown.map((run) => bodyRow(data, state, columns, run, selected))));
  byId("count").textContent = `${view.rows.length} of ${data.n} runs${view.rows.length > shown.length ? `, ${shown.length} shown` : ""}; ${selected.size} selected`;
  byId("more").hidden = shown.length === view.rows.length;
}

function headCell({ name, title }) {
  const [by, direction] = view.state.sort;
  const sorted = by === name ? (direction > 0 ? "ascending" : "descending") : "none";
  const mark = { ascending: " ▲", descending: " ▼", none: "" }[sorted];
  return element("th", { scope: "col", "aria-sort": sorted },
    button(`${title ?? name}${mark}`, () => change({ sort: [name, by === name ? -direction : 1] }), { class: "quiet" }));
}

function bodyRow(data, state, columns, run, selected) {
  const id = textAt(data.columns.id, run);
  const box = element("input", { type: "checkbox", "aria-label": `pick run ${id}`, onchange: () => togglePicked(id) });
  box.checked = state.picked.includes(id);
  const cells = columns.map(({ name, of }) => {
    const value = of(run);
    if (name === "id") return element("td", {}, button(id, () => chooseRun(run), { class: "quiet", title: "show this run" }));
    return element("td", { class: typeof value === "number" ? "number" : null }, typeof value === "number" ? number(value) : value);
  });
  return element("tr", { class: selected.has(run) ? "selected" : null }, element("td", {}, box), ...cells);
}

function togglePicked(id) {
  const { picked } = view.state;
  reselect({ picked: picked.includes(id) ? picked.filter((other) => other !== id) : [...picked, id] });
}
