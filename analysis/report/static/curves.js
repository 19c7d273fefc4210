// Curves of runs against steps: single runs faint, the median and the 10-90 % band strong.

const MOST_LINES = 200; // single runs that are drawn
const MOST_CELLS = 7; // cells that have a colour of their own
const curveStore = new Map(); // "probe/block" -> unpacked block
const awaited = new Map(); // "probe/block" -> what waits for its side file

async function curveBlock(data, probe, k) {
  const key = `${data.version}/${probe}/${k}`;
  if (curveStore.has(key)) return curveStore.get(key);
  const inside = data.curves[probe];
  const packed = inside ? inside[0] : await sideFile(key, `curves_${data.probes.indexOf(probe)}_${k}.js`);
  const block = await unpackCurves(packed);
  curveStore.set(key, block);
  return block;
}

// A side file comes by a script element, because a page opened as a file may not fetch.
function sideFile(key, name) {
  return new Promise((resolve, reject) => {
    awaited.set(key, resolve);
    loadScript(`report_files/${name}`, () => reject(new Error(`${name} beside this page cannot be read; copy the folder report_files with the page`)),
      () => reject(new Error("the curves are newer than this page; they come with its next update")));
  });
}

window.grokjaxCurves = (version, probe, block) => {
  const key = `${version}/${probe}/${Math.floor(block.first / view.data.block)}`;
  awaited.get(key)?.(block);
  awaited.delete(key);
};

function loadScript(address, failed, loaded = () => {}) {
  const script = element("script", { src: `${address}?${Date.now()}` });
  script.onerror = () => { script.remove(); failed(); };
  script.onload = () => { script.remove(); loaded(); };
  document.head.append(script);
}

// Values of some runs at all steps at which one of them was evaluated: {x, rows}.
async function curvesOf(data, probe, runs) {
  const whole = Boolean(data.curves[probe]);
  const blockOf = (run) => (whole ? 0 : Math.floor(run / data.block));
  const needed = [...new Set(runs.map(blockOf))];
  const blocks = new Map(await Promise.all(needed.map(async (k) => [k, await curveBlock(data, probe, k)])));
  const steps = new Set();
  for (const run of runs) for (const step of blocks.get(blockOf(run)).steps[data.grid[run]] ?? []) if (step > 0) steps.add(step);
  const x = [...steps].sort((a, b) => a - b);
  const place = new Map(x.map((step, i) => [step, i]));
  const rows = runs.map((run) => row(blocks.get(blockOf(run)), data.grid[run], run, place, x.length));
  return { x, rows };
}

function row(block, grid, run, place, size) {
  const values = new Array(size).fill(null);
  const start = (run - block.first) * block.points;
  (block.steps[grid] ?? []).forEach((step, p) => {
    const at = place.get(step);
    if (at !== undefined) values[at] = curveValue(block, block.codes[start + p]);
  });
  return values;
}

// A run keeps its value until its next evaluation; one that the stop rule ended keeps its last value to the end.
function carried(values, stopped) {
  let end = values.length - 1;
  while (end >= 0 && values[end] === null) end -= 1;
  let last = null;
  return values.map((value, i) => {
    last = value ?? last;
    return i <= end || stopped ? last : null;
  });
}

function quantileLines(data, runs, rows) {
  const filled = rows.map((values, i) => carried(values, textAt(data.columns.status, runs[i]) === "stopped"));
  const lines = { low: [], median: [], high: [] };
  for (let i = 0; i < (rows[0]?.length ?? 0); i++) {
    const there = filled.map((values) => values[i]).filter((v) => v !== null).sort((a, b) => a - b);
    const enough = 2 * there.length >= runs.length;
    lines.low.push(enough ? quantile(there, 0.1) : null);
    lines.median.push(enough ? quantile(there, 0.5) : null);
    lines.high.push(enough ? quantile(there, 0.9) : null);
  }
  return lines;
}

const faded = (colour, share) => `${colour}${Math.round(255 * share).toString(16).padStart(2, "0")}`;

// Bundles of runs that get a colour each: the selected cells if they are few, else all runs together.
function bundles(data, state, runs) {
  const palette = data.colours.palette;
  const cells = state.cells.map((key) => ({ key, runs: runsOfCell(data, key) })).filter((cell) => cell.runs.length);
  if (cells.length > 1 && cells.length <= MOST_CELLS && !state.picked.length) {
    const others = runs.filter((run) => !cells.some((cell) => cell.runs.includes(run))).map((run) => ({ runs: [run], label: runWords(data, run) }));
    const named = cells.map((cell) => ({ runs: cell.runs, label: keyWords(data, cell.key) }));
    return [...named, ...others].map((group, i) => ({ ...group, colour: onGround(palette[i % palette.length]) }));
  }
  return [{ runs, colour: null, label: cells.length === 1 ? keyWords(data, cells[0].key) : `${runs.length} runs` }];
}

// The last colour of the palette is black: on a dark ground it is drawn white.
const onGround = (colour) => (colour === "#000000" ? colourOf("--ink") : colour);

function keyWords(data, key) {
  return Object.entries(key).map(([name, value]) => {
    const axis = axisOf(data, name);
    return `${axis.label} ${axis.texts[axis.values.indexOf(value)] ?? value}`;
  }).join(", ") || "all runs";
}

// What one chart of a metric shows. `probes`: [name, dash, colour] of the curves in it.
async function curveSpec(data, state, runs, title, probes) {
  const groups = bundles(data, state, runs);
  const drawn = new Set(some(runs, MOST_LINES));
  const all = await Promise.all(probes.map(([probe]) => curvesOf(data, probe, runs)));
  const x = [...new Set(all.flatMap((c) => c.x))].sort((a, b) => a - b);
  const spec = { title, x, lines: [], bands: [], logX: true, words: `${title} of ${runs.length} runs against steps` };
  const strong = [];
  const accuracy = title === "accuracy";
  spec.logY = !accuracy && positive(all) && wide(all);
  probes.forEach(([probe, dash, colour, name], p) => {
    const rows = all[p].rows.map((values) => spread(all[p].x, values, x, spec.logY));
    for (const group of groups) {
      const mine = group.runs.map((run) => runs.indexOf(run));
      const stroke = group.colour ?? colour;
      const faint = Math.max(0.1, Math.min(0.5, 2 / Math.max(group.runs.length, 1)));
      mine.forEach((i) => {
        const run = runs[i];
        const marked = run === view.runIndex;
        if (drawn.has(run) || marked) spec.lines.push({ values: rows[i], stroke: marked ? stroke : faded(stroke, faint), width: marked ? 2.5 : 1, dash, run, label: `${name} · ${runWords(data, run)}` });
      });
      strong.push({ group, stroke, dash, name, lines: quantileLines(data, group.runs, mine.map((i) => rows[i])) });
    }
  });
  for (const { group, stroke, dash, name, lines } of strong) addStrong(spec, group, stroke, dash, name, lines);
  if (accuracy) spec.range = [-0.03, 1.03];
  spec.groups = groups;
  return spec;
}

function addStrong(spec, group, stroke, dash, name, lines) {
  if (group.runs.length > 1) {
    const at = spec.lines.length;
    for (const side of ["high", "low"]) spec.lines.push({ values: lines[side], stroke: faded(stroke, 0), width: 0, label: "" });
    if (!dash) spec.bands.push([at, at + 1, faded(stroke, 0.18)]);
  }
  spec.lines.push({ values: lines.median, stroke, width: 2, dash, told: true, label: `${name}, median of ${group.label}`, median: true });
}

const some = (list, most) => (list.length <= most ? list : Array.from({ length: most }, (_, i) => list[Math.round((i * (list.length - 1)) / (most - 1))]));

// Values at other steps; on a log scale only what is positive.
function spread(from, values, to, log) {
  const at = new Map(from.map((step, i) => [step, values[i]]));
  return to.map((step) => {
    const value = at.get(step) ?? null;
    return log && !(value > 0) ? null : value;
  });
}

const positive = (all) => all.every((c) => c.rows.every((r) => r.every((v) => v === null || v >= 0)));

function wide(all) {
  let [low, high] = [Infinity, 0];
  for (const c of all) for (const r of c.rows) for (const v of r) if (v > 0) { low = Math.min(low, v); high = Math.max(high, v); }
  return high >= 20 * low;
}

function runWords(data, run) {
  const places = data.axes.map((axis) => `${axis.label} ${axis.texts[axis.code[run]]}`);
  return [`run ${textAt(data.columns.id, run)}`, ...places, ...seedWords(data, run)].join(", ");
}

const SEEDS = ["seed", "init_seed", "split_seed", "order_seed", "noise_seed"];
const variedSeeds = (data) => SEEDS.filter((name) => name in data.columns && name in data.head.varied);
const seedWords = (data, run) => variedSeeds(data).map((name) => `${name} ${data.columns[name][run]}`);

async function drawCurves(data, state, runs) {
  const [train, val] = data.colours.palette;
  const several = bundles(data, state, runs)[0].colour !== null;
  const solid = several ? [6, 4] : undefined; // with a colour for each cell, training is dashed
  const pair = (metric) => [[`train_${metric}`, solid, train, "training"], [`val_${metric}`, undefined, val, "validation"]];
  const pick = (run) => chooseRun(run);
  const wanted = [["accuracy", pair("accuracy")], ["loss", pair("loss")]];
  if (state.probe) wanted.push([state.probe, [[state.probe, undefined, onGround(data.colours.palette[2]), state.probe]]]);
  const specs = await Promise.all(wanted.map(([title, probes]) => curveSpec(data, state, runs, title, probes)));
  return specs.map((spec) => ({ ...spec, pick }));
}
