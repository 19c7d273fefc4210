// Where the values of an axis stand: at equal distances, or at their true positions on a linear or log scale.

// The scales that an axis can have.
function scalesOf(axis) {
  const choices = [["even", "equal distances"]];
  if (axis && axis.numeric && axis.values.length > 2) {
    choices.push(["linear", "true positions"]);
    if (axis.values[0] > 0) choices.push(["log", "true positions, log"]);
  }
  return choices;
}

// [begin, end] of each value as shares of the axis. Borders lie half way between neighbours.
function spans(axis, scale) {
  if (!axis) return [[0, 1]];
  const n = axis.values.length;
  const known = scalesOf(axis).some(([name]) => name === scale);
  if (!known || scale === "even") return axis.values.map((_, i) => [i / n, (i + 1) / n]);
  const at = axis.values.map((value) => (scale === "log" ? Math.log(value) : value));
  const borders = at.slice(1).map((value, i) => (value + at[i]) / 2);
  borders.unshift(at[0] - (borders[0] - at[0]));
  borders.push(at[n - 1] + (at[n - 1] - borders[n - 1]));
  const share = (value) => (value - borders[0]) / (borders[n] - borders[0]);
  return at.map((_, i) => [share(borders[i]), share(borders[i + 1])]);
}

// A colour between those of a list; share from 0 to 1.
function shade(colours, share) {
  return colours[Math.round(Math.min(Math.max(share, 0), 1) * (colours.length - 1))];
}

// Black or white, whichever is read better on a colour.
function inkOn(colour) {
  const part = (i) => parseInt(colour.slice(i, i + 2), 16) / 255;
  return 0.299 * part(1) + 0.587 * part(3) + 0.114 * part(5) > 0.5 ? "#000000" : "#ffffff";
}

// Round numbers between two limits.
function roundTicks(low, high, log, most = 6) {
  if (!(high > low)) return [low];
  if (log) {
    const powers = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) powers.push(p);
    const fine = powers.flatMap((p) => [1, 2, 5].map((m) => m * 10 ** p)).filter((t) => t >= low && t <= high);
    if (fine.length >= 2 && fine.length <= most) return fine;
    const coarse = powers.map((p) => 10 ** p).filter((t) => t >= low && t <= high);
    if (coarse.length >= 2) return coarse.filter((_, i) => i % Math.ceil(coarse.length / most) === 0);
    return [low, Math.sqrt(low * high), high].map((t) => Number(t.toPrecision(2)));
  }
  const rough = (high - low) / (most - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high * (1 + 1e-9); t += step) ticks.push(Number(t.toPrecision(12)));
  return ticks;
}
