// Numbers as texts, as the figures print them.

// Steps in at most five characters: 850, 1,650, 12k, 1.2M.
function short(steps) {
  if (!Number.isFinite(steps)) return steps > 0 ? "∞" : "–";
  if (steps < 9995) return Math.round(steps).toLocaleString("en-US");
  if (steps < 999500) return `${Math.round(steps / 1e3)}k`;
  return steps < 9.95e6 ? `${Number((steps / 1e6).toPrecision(2))}M` : `${Math.round(steps / 1e6)}M`;
}

const percent = (share) => `${Number((100 * share).toPrecision(6))}\u00a0%`;

function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e6) return String(Number(value.toPrecision(digits)));
  return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
}

const bracket = (o) =>
  o.state === HIT ? `(${number(o.lower)}, ${number(o.upper)}]`
  : o.state === DIVERGED ? "diverged"
  : o.state === NOT_OBSERVED ? `not observed after ${number(o.lower)}`
  : `later than ${number(o.lower)}`;

function duration(seconds) {
  if (!(seconds >= 0) || !Number.isFinite(seconds)) return "unknown";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Number((seconds / 3600).toPrecision(2))} h`;
  return `${Math.round(seconds / 86400)} days`;
}

// A field of a CSV file; a text that a spreadsheet would take for a formula is marked as text.
function field(value) {
  if (typeof value === "number") return Number.isNaN(value) ? "" : Number.isFinite(value) ? String(value) : number(value);
  const text = /^[=+@\t\r-]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
