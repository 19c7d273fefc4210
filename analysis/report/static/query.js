// The filter of the table: `weight_decay >= 1 and status = finished`.

const OPERATORS = {
  ">=": (a, b) => a >= b,
  "<=": (a, b) => a <= b,
  "!=": (a, b) => a !== b,
  "=": (a, b) => a === b,
  ">": (a, b) => a > b,
  "<": (a, b) => a < b,
  "~": (a, b) => String(a).includes(String(b)),
};

// A function from a getter (name -> value of a run) to whether the run passes. Throws an Error with a sentence.
function parseQuery(text, names) {
  const parts = text.split(/\s+and\s+|\s*,\s*/i).map((part) => part.trim()).filter(Boolean);
  const tests = parts.map((part) => parseCondition(part, names));
  return (get) => tests.every((test) => test(get));
}

function parseCondition(part, names) {
  const found = part.match(/^(.+?)\s*(>=|<=|!=|==|=|>|<|~)\s*(.+)$/);
  if (!found) throw new Error(`“${part}” must be a condition such as weight_decay >= 1`);
  const name = fullName(found[1], names);
  const operator = OPERATORS[found[2] === "==" ? "=" : found[2]];
  const wanted = found[3].replace(/^(["'])(.*)\1$/, "$2");
  return (get) => {
    const value = get(name);
    if (typeof value !== "number") return operator(String(value), wanted);
    return !Number.isNaN(value) && operator(value, Number(wanted));
  };
}

// A column by its name or by the last part of it.
function fullName(given, names) {
  const wanted = given.trim().replace(/^(["'])(.*)\1$/, "$2");
  if (names.includes(wanted)) return wanted;
  const ends = names.filter((name) => name.split(".").pop() === wanted);
  if (ends.length === 1) return ends[0];
  if (ends.length > 1) throw new Error(`“${wanted}” could be ${ends.join(" or ")}; write the whole name`);
  throw new Error(`no column is called “${wanted}”; there are ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""}`);
}
