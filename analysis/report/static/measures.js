// What the colour of a cell can be. A measure gives {value, low, high, text, beyond, note, shares} of some runs.

function measuresOf(data) {
  const scalars = data.probes.map((name) => `final_${name}`).filter((name) => name in data.columns);
  return [
    { name: "time", label: (l) => `median steps to ${percent(l)} validation accuracy`, log: true, of: timeMeasure },
    { name: "share", label: (l) => `share of runs that reach ${percent(l)}`, of: shareMeasure, limits: [0, 1] },
    { name: "delay", label: (l) => `median delay in steps at ${percent(l)}, of runs that reach it`, of: delayMeasure },
    { name: "ratio", label: (l) => `median of validation over training time at ${percent(l)}`, of: ratioMeasure, log: true },
    { name: "phase", label: () => "most probable phase", of: phaseMeasure },
    ...scalars.map((name) => ({ name, label: () => `median of ${name.replace("_", " ")}`, of: finalMeasure(name) })),
  ];
}

const titles = { time: "median time to the level", share: "share grokked", delay: "delay", ratio: "ratio of times", phase: "most probable phase" };
const measureTitle = (measure) => titles[measure.name] ?? measure.name.replace("_", " ");

function timeMeasure(data, runs, level) {
  const found = summarise(data, runs, level);
  const { estimate, low, high } = found.median;
  const count = `${found.hits}/${found.n}`;
  if (Number.isNaN(estimate)) return { value: NaN, text: "not obs.", count, note: timeNote(found) };
  if (Number.isFinite(estimate)) return { value: estimate, low, high, text: short(estimate), count, note: timeNote(found) };
  const mayCome = found.undecided && 2 * (found.hits + found.undecided) >= found.n;
  const text = mayCome ? "?" : `> ${short(data.budget)}`;
  return { value: NaN, low, high, text, beyond: true, count, note: timeNote(found) };
}

function timeNote(found) {
  const parts = [
    [found.censored - found.undecided, "censored"], [found.undecided, "still training"],
    [found.diverged, "diverged"], [found.notObserved, "not observed"],
  ].filter(([n]) => n);
  return [`${found.hits} of ${found.n} runs arrived`, ...parts.map(([n, what]) => `${n} ${what}`)].join(", ");
}

function shareMeasure(data, runs, level) {
  const found = summarise(data, runs, level);
  const { estimate, low, high } = found.share;
  return { value: estimate, low, high, text: percent(Math.round(1000 * estimate) / 1000), count: `${found.hits}/${found.n}`, note: timeNote(found) };
}

function medianMeasure(values, format) {
  const known = values.filter((value) => !Number.isNaN(value));
  const { estimate, low, high } = medianInterval(values);
  const note = `${known.length} of ${values.length} runs have a value`;
  return { value: estimate, low, high, text: known.length ? format(estimate) : "none", count: `${known.length}/${values.length}`, note };
}

const delayMeasure = (data, runs, level) => medianMeasure(runs.map((run) => delayOf(data, level, run)), short);
const ratioMeasure = (data, runs, level) => medianMeasure(runs.map((run) => ratioOf(data, level, run)), (v) => number(v, 3));
const finalMeasure = (name) => (data, runs) => medianMeasure(runs.map((run) => data.columns[name][run]), (v) => number(v, 3));

function phaseMeasure(data, runs) {
  const phase = mostProbable(data, runs);
  const shares = phaseShares(data, runs);
  const told = data.phases.map((name, i) => [name, shares[i]]).filter(([, share]) => share > 0);
  return { value: NaN, phase, shares, text: String(runs.length), count: "", note: told.map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ") };
}

// The colours of all cells: a function from a measured value, and the limits of the scale.
function colouring(data, measure, measured) {
  const finite = measured.map((m) => m.value).filter(Number.isFinite);
  const log = measure.log || (measure.name.includes("loss") && finite.every((v) => v > 0));
  let [low, high] = measure.limits ?? [Math.min(...finite), Math.max(...finite)];
  if (measure.name === "time") [low, high] = [Math.max(low, 1) * 0.9, Math.max(high, 1) * 1.1];
  else if (low === high) [low, high] = log ? [low / 1.1, high * 1.1] : [low - 0.5, high + 0.5];
  const usable = finite.length > 0 && (!log || low > 0);
  const place = (v) => (log ? Math.log(Math.max(v, low) / low) / Math.log(high / low) : (v - low) / (high - low));
  const ordered = ["time", "delay", "ratio"].includes(measure.name);
  const scale = ordered ? [...data.colours.viridis].reverse() : data.colours.viridis;
  const of = (m) => {
    if (m.phase) return data.colours.phases[m.phase];
    return usable && Number.isFinite(m.value) ? shade(scale, place(m.value)) : null;
  };
  return { of, low, high, log: log && usable, scale, usable, place };
}
