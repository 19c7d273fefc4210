// The Kaplan-Meier curve of the selected cells: the share of runs that have not arrived, with numbers at risk.

function survivalSpec(data, state, runs) {
  const groups = bundles(data, state, runs).map((group) => {
    const outcomes = group.runs.map((run) => outcome(data, "val", state.level, run));
    const { times, events } = survivalTimes(outcomes);
    return { ...group, times, curve: survivalCurve(times, events), median: medianTime(outcomes), n: outcomes.length, hits: events.filter(Boolean).length, blind: outcomes.some((o) => o.state === NOT_OBSERVED) };
  });
  const usable = groups.filter((group) => !group.blind);
  const x = [...new Set([0, ...usable.flatMap((group) => group.curve.map((p) => p.time))])].sort((a, b) => a - b);
  if (x.length === 1) x.push(data.budget);
  const colours = data.colours.palette;
  const lines = usable.map((group) => ({
    values: stepsAt(group.curve, x), stroke: group.colour ?? colours[1], width: 2, told: true, label: `${group.label}, n = ${group.n}`,
  }));
  const ticks = roundTicks(0, x[x.length - 1], false, 6);
  return { title: `share of runs below ${percent(state.level)} (Kaplan–Meier)`, x, lines, range: [0, 1.03], steps: true, groups, ticks, height: 190 };
}

// The curve's value at each time, up to the last time that this group has.
function stepsAt(curve, x) {
  let i = 0;
  let share = 1;
  return x.map((time) => {
    while (i < curve.length && curve[i].time <= time) share = curve[i++].share;
    return curve.length && time > curve[curve.length - 1].time ? null : share;
  });
}

const atRisk = (times, at) => times.filter((time) => time >= at).length;

// Medians, and how many runs were still at risk at round times.
function riskTable(data, spec) {
  const head = ["", "arrived", "median", "95 % interval", ...spec.ticks.map((t) => `at risk, ${short(t)}`)];
  const rows = spec.groups.map((group) => [
    group.label, `${group.hits}/${group.n}`, medianWords(group.median, data), intervalWords(group.median),
    ...spec.ticks.map((t) => atRisk(group.times, t)),
  ]);
  return element("table", { class: "small" },
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((cells, i) => element("tr", { "data-median": number(spec.groups[i].median.estimate, 15) },
      ...cells.map((cell, c) => element(c ? "td" : "th", c ? {} : { scope: "row", style: spec.groups[i].colour ? `color: ${spec.groups[i].colour}` : null }, String(cell)))))));
}

function medianWords(median, data) {
  if (Number.isNaN(median.estimate)) return "not observed";
  return Number.isFinite(median.estimate) ? number(median.estimate) : `beyond ${short(data.budget)}`;
}

function intervalWords({ low, high }) {
  if (Number.isNaN(low)) return "";
  if (!Number.isFinite(low)) return "no limits";
  return `${number(low)} to ${Number.isFinite(high) ? number(high) : "no limit"}`;
}
