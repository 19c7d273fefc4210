// Runs the page's own code without a page. Arguments: the scripts, a file with the data as JSON, what to compute.
import { readFileSync } from "node:fs";

const [scripts, file, what] = process.argv.slice(2);
const code = scripts.split(",").map((name) => readFileSync(name, "utf8")).join("\n");
const names = ["unpackData", "unpackCurves", "curveValue", "cellsOf", "everyone", "summarise", "phaseShares", "mostProbable",
  "outcome", "delayOf", "ratioOf", "medianInterval", "parseQuery", "survivalCurve"];
const page = new Function(`"use strict";\n${code}\nreturn {${names.join(", ")}};`)();
const told = (value) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value);
const say = (value) => process.stdout.write(JSON.stringify(value, (_, v) => told(v)));

const data = await page.unpackData(JSON.parse(readFileSync(file, "utf8")));
const tasks = {
  cells: () => data.levels.flatMap((level) => page.cellsOf(data.axes, page.everyone(data)).map(({ index, runs }) => {
    const found = page.summarise(data, runs, level);
    const values = data.axes.map((axis, a) => axis.values[index[a]]);
    return { level, values, ...found, shares: page.phaseShares(data, runs), phase: page.mostProbable(data, runs) };
  })),
  runs: () => page.everyone(data).map((run) => data.levels.map((level) => ({
    train: page.outcome(data, "train", level, run), val: page.outcome(data, "val", level, run),
    delay: page.delayOf(data, level, run), ratio: page.ratioOf(data, level, run),
  }))),
  medians: () => data.lists.map((values) => page.medianInterval(values.map(Number))),
  curves: async () => {
    const blocks = {};
    for (const [probe, [packed]] of Object.entries(data.curves)) {
      const block = await page.unpackCurves(packed);
      const row = (run) => Array.from({ length: block.points }, (_, p) => page.curveValue(block, block.codes[run * block.points + p]));
      blocks[probe] = { steps: block.steps, rows: page.everyone(data).map(row) };
    }
    return blocks;
  },
  queries: () => data.queries.map((text) => {
    try {
      const passes = page.parseQuery(text, Object.keys(data.rows[0]));
      return data.rows.map((row) => passes((name) => row[name]));
    } catch (error) {
      return error.message;
    }
  }),
};
say(await tasks[what]());
