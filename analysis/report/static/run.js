// One run: its settings, when it arrived where, how it ended, and how to train it alone.

function runCard(data, run) {
  const at = (name) => (data.columns[name]?.words ? textAt(data.columns[name], run) : data.columns[name]?.[run]);
  const id = at("id");
  const facts = [
    ["status", at("status")], ["phase", at("phase")], ["last evaluation at step", number(at("last_step"))],
    ...SEEDS.filter((name) => name in data.columns).map((name) => [name, number(at(name))]),
    ["rows that train", number(at("n_train"))],
  ];
  return element("section", { class: "card", "aria-label": `run ${id}` },
    element("h3", {}, `Run ${id} `, button("close", () => chooseRun(null), { class: "quiet" })),
    pairs(facts),
    element("h4", {}, "Steps at which an accuracy was first at a level (after, until]"), levelTable(data, run),
    element("h4", {}, "Settings"), pairs(settingsOf(data, run, at)),
    ...(data.comparison ? [] : lastingParts(data, run, id, at)));
}

// What only the page of one experiment can tell.
function lastingParts(data, run, id, at) {
  return [
    element("h4", {}, "Its weights"),
    element("p", {}, "In the packs below ", element("code", {}, `${data.head.path}/groups/${at("group")}/ended`), ". This writes them to a file:"),
    element("pre", {}, `python -c 'import analysis; analysis.export_weights("${data.head.folder}", "${id}", "${id}.safetensors")'`),
    element("h4", {}, "Train just this run"), commandOf(data, run, id, at),
  ];
}

function pairs(list) {
  return element("dl", {}, ...list.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
}

function levelTable(data, run) {
  const rows = data.levels.map((level) => [percent(level), ...["train", "val", "lasting"].map((split) => bracket(outcome(data, split, level, run)))]);
  return element("table", { class: "small" },
    element("thead", {}, element("tr", {}, ...["level", "training", "validation", "validation, lasting"].map((t) => element("th", { scope: "col" }, t)))),
    element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((cell, i) => element(i ? "td" : "th", i ? {} : { scope: "row" }, cell))))));
}

const variedNames = (data) => Object.keys(data.head.varied).flatMap((name) => name.split(",").map((part) => part.trim()));

// All settings; those that vary have the values of this run.
function settingsOf(data, run, at) {
  const own = Object.fromEntries(variedNames(data).filter((name) => data.columns[name]).map((name) => [name, at(name)]));
  const all = { ...data.head.settings, ...own };
  return Object.keys(all).sort().map((name) => [name, all[name] === null ? "not set" : typeof all[name] === "object" ? JSON.stringify(all[name]) : typeof all[name] === "number" ? number(all[name], 15) : all[name]]);
}

function commandOf(data, run, id, at) {
  const start = data.head.starts[0];
  if (!start?.command || variedNames(data).some((name) => !data.columns[name])) {
    return element("p", {}, "The command is not known, because the training was not started by run.py.");
  }
  const words = withoutOut(start.command).filter((word) => !word.startsWith("axes"));
  const axes = Object.fromEntries(Object.entries(data.head.varied).map(([axis, values]) => [axis, [valueOf(data, axis, values, at)]]));
  const line = ["python", ...words, `axes=${JSON.stringify(axes)}`, "--out", `results/${data.head.path}_${id}`];
  return element("pre", {}, line.map(quoted).join(" "));
}

function withoutOut(words) {
  const out = words.findIndex((word) => word === "--out");
  const kept = out < 0 ? words : words.filter((_, i) => i !== out && i !== out + 1);
  return kept.filter((word) => !word.startsWith("--out=") && !word.startsWith("execution.out="));
}

// The value of an axis as the configuration has it, the one that this run has.
function valueOf(data, axis, values, at) {
  const names = axis.split(",").map((part) => part.trim());
  const same = (a, b) => (typeof b === "number" && typeof a === "number" ? Math.abs(a - b) <= 1e-6 * Math.abs(b) : String(a) === String(b));
  return values.find((value) => names.every((name, i) => same(at(name), names.length > 1 ? value[i] : value))) ?? at(names[0]);
}

const quoted = (word) => (/^[\w./=:,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
