// The page's numbers: outcomes, medians with censoring, shares. They are those of analysis/statistics.py and
// analysis/outcomes.py; a test compares them for all cells. Nothing here knows of a page.

const SLACK = 1e-9; // products such as 23/24 * ... * 12/13 differ from one half by rounding
const Z = 1.959963984540054; // 97.5 % of the normal distribution
const HIT = 0;
const CENSORED = 1;
const NOT_OBSERVED = 2;
const DIVERGED = 3;

const textAt = (column, run) => column.words[column.code[run]];
const unknown = () => ({ estimate: NaN, low: NaN, high: NaN });

// When a run reached a level: somewhere in (lower, upper].
function outcome(data, split, level, run) {
  const { state, at } = data.outcomes[split][data.levels.indexOf(level)];
  const steps = data.grids[data.grid[run]];
  const s = state[run];
  if (s === HIT) return { state: s, lower: at[run] > 0 ? steps[at[run] - 1] : -Infinity, upper: steps[at[run]] };
  if (s === DIVERGED) return { state: s, lower: Infinity, upper: Infinity };
  return { state: s, lower: data.columns.last_step[run], upper: Infinity };
}

// Survival at each different time: how many were at risk, and how many had the event.
function survivalCurve(times, events) {
  const order = times.map((_, i) => i).sort((a, b) => times[a] - times[b]);
  const points = [];
  let atRisk = times.length;
  let share = 1;
  for (let i = 0; i < order.length; ) {
    const time = times[order[i]];
    let all = 0;
    let hits = 0;
    for (; i < order.length && times[order[i]] === time; i++) {
      all += 1;
      hits += events[order[i]] ? 1 : 0;
    }
    share *= (atRisk - hits) / atRisk;
    points.push({ time, atRisk, hits, share });
    atRisk -= all;
  }
  return points;
}

// Log-log limits of a survival curve; NaN where the formula has no value.
function survivalLimits(points) {
  let sum = 0;
  return points.map(({ atRisk, hits, share }) => {
    sum += hits / (atRisk * (atRisk - hits));
    const error = Z * Math.sqrt((1 / Math.log(share) ** 2) * sum);
    const middle = Math.log(-Math.log(share));
    return { low: Math.exp(-Math.exp(middle + error)), high: Math.exp(-Math.exp(middle - error)) };
  });
}

function firstBelowHalf(points, shares) {
  const i = shares.findIndex((share) => share <= 0.5 + SLACK);
  return i < 0 ? Infinity : points[i].time;
}

function kaplanMeierMedian(times, events) {
  if (!times.length) return unknown();
  const points = survivalCurve(times, events);
  const limits = survivalLimits(points);
  const low = points.map((p, i) => (Number.isNaN(limits[i].low) ? (p.share > SLACK ? 1 : 0) : limits[i].low));
  const high = limits.map((limit) => (Number.isNaN(limit.high) ? 1 : limit.high));
  const share = points.map((p) => p.share);
  return {
    estimate: firstBelowHalf(points, share),
    low: firstBelowHalf(points, low),
    high: firstBelowHalf(points, high),
  };
}

// Times and events of some runs as Kaplan-Meier takes them: a diverged run stays at risk until after the last hit.
function survivalTimes(outcomes) {
  const times = outcomes.map((o) => (o.state === HIT ? o.upper : Math.max(o.lower, 0)));
  const end = times.reduce((most, time) => (Number.isFinite(time) ? Math.max(most, time) : most), 0);
  return {
    times: outcomes.map((o, i) => (o.state === DIVERGED ? end : times[i])),
    events: outcomes.map((o) => o.state === HIT),
  };
}

function medianTime(outcomes) {
  if (outcomes.some((o) => o.state === NOT_OBSERVED)) return unknown();
  const { times, events } = survivalTimes(outcomes);
  return kaplanMeierMedian(times, events);
}

// A share k/n with Wilson's score interval.
function wilson(k, n) {
  if (n === 0) return unknown();
  const share = k / n;
  const scale = 1 / (1 + Z ** 2 / n);
  const centre = scale * (share + Z ** 2 / (2 * n));
  const half = scale * Z * Math.sqrt((share * (1 - share)) / n + Z ** 2 / (4 * n ** 2));
  return { estimate: share, low: k ? centre - half : 0, high: k < n ? centre + half : 1 };
}

// Counts, median time and share of hits of a cell; `undecided`: how many of the censored runs still train.
function summarise(data, runs, level) {
  const outcomes = Array.from(runs, (run) => outcome(data, "val", level, run));
  const count = (state) => outcomes.filter((o) => o.state === state).length;
  const training = (run) => ["waiting", "running"].includes(textAt(data.columns.status, run));
  const undecided = outcomes.filter((o, i) => o.state === CENSORED && training(runs[i])).length;
  const hits = count(HIT);
  return {
    n: outcomes.length,
    hits,
    censored: count(CENSORED),
    diverged: count(DIVERGED),
    notObserved: count(NOT_OBSERVED),
    undecided,
    median: medianTime(outcomes),
    share: wilson(hits, outcomes.length),
  };
}

// Median, and the narrowest symmetric pair of order statistics that covers it with at least 95 %.
function medianInterval(values) {
  const x = Array.from(values).filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
  const n = x.length;
  if (!n) return unknown();
  const k = coverage(n);
  const middle = n % 2 ? x[(n - 1) / 2] : between(x[n / 2 - 1], x[n / 2]);
  return { estimate: middle, low: k ? x[k - 1] : -Infinity, high: k ? x[n - k] : Infinity };
}

function between(low, high) {
  return Number.isFinite(low) || Number.isFinite(high) ? (low + high) / 2 : high;
}

// How many numbers i from 0 to n - 1 have P(at most i of n fair coins) <= 0.025.
function coverage(n) {
  let log = -n * Math.LN2; // of the probability of i heads
  let sum = 0;
  for (let i = 0; i < n; i++) {
    sum += Math.exp(log);
    if (sum > 0.025) return i;
    log += Math.log((n - i) / (i + 1));
  }
  return n;
}

function delayOf(data, level, run) {
  const [train, val] = [outcome(data, "train", level, run), outcome(data, "val", level, run)];
  return train.state === HIT && val.state === HIT ? val.upper - train.upper : NaN;
}

function ratioOf(data, level, run) {
  const [train, val] = [outcome(data, "train", level, run), outcome(data, "val", level, run)];
  if (train.state !== HIT || val.state !== HIT) return NaN;
  if (train.upper > 0) return val.upper / train.upper;
  return val.upper > 0 ? Infinity : 1;
}

// Share of each phase among the runs, in the order of the phases.
function phaseShares(data, runs) {
  const shares = data.phases.map(() => 0);
  for (const run of runs) shares[data.phases.indexOf(textAt(data.columns.phase, run))] += 1 / runs.length;
  return shares;
}

// The most frequent phase of the decided runs; of equals the first.
function mostProbable(data, runs) {
  const counts = data.phases.map(() => 0);
  for (const run of runs) counts[data.phases.indexOf(textAt(data.columns.phase, run))] += 1;
  counts[data.phases.indexOf("undecided")] = 0;
  const most = Math.max(...counts);
  return most > 0 ? data.phases[counts.indexOf(most)] : "undecided";
}

// The cells of some axes: [{index, runs}], in grid order.
function cellsOf(axes, runs) {
  const cells = new Map();
  for (const run of runs) {
    let key = 0;
    for (const axis of axes) key = key * axis.values.length + axis.code[run];
    if (!cells.has(key)) cells.set(key, { index: axes.map((axis) => axis.code[run]), runs: [] });
    cells.get(key).runs.push(run);
  }
  return [...cells].sort((a, b) => a[0] - b[0]).map((entry) => entry[1]);
}

const everyone = (data) => Array.from({ length: data.n }, (_, i) => i);

// A quantile of sorted numbers, between its neighbours, as NumPy's default.
function quantile(sorted, share) {
  const at = (sorted.length - 1) * share;
  const i = Math.floor(at);
  return i + 1 < sorted.length ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}
