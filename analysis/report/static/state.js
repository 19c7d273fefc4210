// What is being looked at. It stands in the page's address, behind the #, so that a view can be sent to a colleague.

const DEFAULTS = {
  x: null, y: null, facet: null, colour: "time", level: null, sx: "even", sy: "even",
  fix: {}, cells: [], picked: [], run: null, filter: "", sort: ["id", 1], probe: null, theme: "auto", bars: true,
};
const MOST_PICKED = 200; // ids that an address has room for

function readState(fragment) {
  const state = structuredClone(DEFAULTS);
  let given = {};
  try {
    given = JSON.parse(decodeURIComponent(fragment.replace(/^#/, "")) || "{}");
  } catch {
    return state;
  }
  for (const name of Object.keys(DEFAULTS)) {
    if (given !== null && name in given && sameForm(given[name], DEFAULTS[name])) state[name] = given[name];
  }
  return state;
}

// An address may come from anywhere: a list stays a list, an object an object.
function sameForm(value, usual) {
  if (usual === null) return value === null || typeof value === "string" || typeof value === "number";
  return typeof value === typeof usual && Array.isArray(value) === Array.isArray(usual) && value !== null;
}

function writeState(state) {
  const told = {};
  for (const name of Object.keys(DEFAULTS)) {
    const value = name === "picked" ? state.picked.slice(0, MOST_PICKED) : state[name];
    if (JSON.stringify(value) !== JSON.stringify(DEFAULTS[name])) told[name] = value;
  }
  const text = Object.keys(told).length ? `#${encodeURIComponent(JSON.stringify(told))}` : "#";
  if (location.hash !== text && !(text === "#" && !location.hash)) history.replaceState(null, "", text);
}

// Names that this experiment does not have are replaced by the first that it has.
function fitState(state, data) {
  const names = data.axes.map((axis) => axis.name);
  const others = (...taken) => names.find((name) => !taken.includes(name)) ?? null;
  if (!names.includes(state.x)) state.x = others(state.y, state.facet);
  if (state.y !== "" && (!names.includes(state.y) || state.y === state.x)) state.y = others(state.x, state.facet);
  if (!names.includes(state.facet) || [state.x, state.y].includes(state.facet)) state.facet = null;
  if (!data.levels.includes(state.level)) state.level = data.level;
  if (!measuresOf(data).some((measure) => measure.name === state.colour)) state.colour = "time";
  state.fix = Object.fromEntries(Object.entries(state.fix).filter(([name]) => names.includes(name)));
  if (!data.probes.includes(state.probe)) state.probe = null;
  const ids = new Set(data.columns.id.words);
  state.picked = state.picked.filter((id) => ids.has(id));
  if (!ids.has(state.run)) state.run = null;
  state.cells = state.cells.filter((cell) => typeof cell === "object" && cell !== null);
}

const axisOf = (data, name) => data.axes.find((axis) => axis.name === name) ?? null;

// Runs that the choice of values for the other axes leaves.
function runsInView(data, state) {
  const fixed = Object.entries(state.fix).map(([name, value]) => [axisOf(data, name), value]);
  const used = fixed.filter(([axis]) => axis && ![state.x, state.y, state.facet].includes(axis.name));
  return everyone(data).filter((run) => used.every(([axis, value]) => axis.values[axis.code[run]] === value));
}

// Runs of a selected cell, given as values of axes.
function runsOfCell(data, cell) {
  const axes = Object.keys(cell).map((name) => axisOf(data, name));
  if (axes.includes(null)) return [];
  const codes = axes.map((axis) => axis.values.indexOf(cell[axis.name]));
  const runs = [];
  for (let run = 0; run < data.n; run++) if (axes.every((axis, a) => axis.code[run] === codes[a])) runs.push(run);
  return runs;
}

function selectedRuns(data, state) {
  const runs = new Set(state.cells.flatMap((cell) => runsOfCell(data, cell)));
  for (const run of pickedRuns(data, state)) runs.add(run);
  return [...runs].sort((a, b) => a - b);
}

function pickedRuns(data, state) {
  if (!state.picked.length) return [];
  const picked = new Set(state.picked);
  return everyone(data).filter((run) => picked.has(textAt(data.columns.id, run)));
}
