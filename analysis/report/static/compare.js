// Two experiments on one page: the cells that they share, with the difference of their medians.

function renderComparison(data) {
  const section = byId("comparison");
  section.hidden = !data.comparison;
  if (!data.comparison) return;
  const { names, cells, note } = data.comparison;
  const head = ["cell", ...names.flatMap((name) => [`n ${name}`, `median ${name}`]), "difference", "95 % interval", "log-rank p", "p, adjusted"];
  const rows = cells.map((cell) => [
    cell.label, ...[0, 1].flatMap((i) => [cell.n[i], finite(cell.median[i])]),
    finite(cell.difference), cell.low === null ? "" : cell.low === cell.high ? cell.low : `${finite(cell.low)} to ${finite(cell.high)}`, pWords(cell.p), pWords(cell.adjusted),
  ]);
  fill(section, element("h2", {}, `${names[1]} compared with ${names[0]}`), element("p", {}, note),
    element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((cell, i) => element(i ? "td" : "th", i ? { class: "number" } : { scope: "row" }, String(cell)))))))));
}

const finite = (value) => (typeof value === "string" ? value : value === null ? "" : number(value));
const pWords = (p) => (p === null ? "" : p < 1e-4 ? "< 0.0001" : number(p, 2));
