// Files that a reader takes along: runs as CSV, figures as SVG and PNG.

function save(content, type, name) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

const fileName = (what, ending) => `${view.data.name.replace(/[^\w.-]+/g, "_")}_${what}.${ending}`;

function csvText(data, state, runs) {
  const columns = allColumns(data, state.level);
  const lines = [columns.map((column) => field(column.name)), ...runs.map((run) => columns.map((column) => field(column.of(run))))];
  return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
}

// The selected runs, or those that the table shows if none are selected.
function saveCsv() {
  const { data, state } = view;
  const selected = selectedRuns(data, state);
  save(csvText(data, state, selected.length ? selected : view.rows), "text/csv", fileName("runs", "csv"));
}

function diagramSvg() {
  const { data, state, layout } = view;
  const pen = new SvgPen(layout.width, layout.height, "#ffffff");
  drawDiagram(pen, data, state, layout, { ink: "#222222", accent: "#d55e00", dark: false });
  return pen.toString();
}

function chartSvg(node) {
  const pen = new SvgPen(560, 340, "#ffffff");
  penChart(pen, node.spec, [64, 34, 470, 250], "#222222");
  return pen.toString();
}

function savePng(canvas, name) {
  canvas.toBlob((blob) => {
    save(blob, "image/png", name);
    // Also for pasting, where the browser allows it.
    navigator.clipboard?.write?.([new ClipboardItem({ "image/png": blob })]).catch(() => {});
  });
}

const chartButtons = (node, what) => [
  button("SVG", () => save(chartSvg(node), "image/svg+xml", fileName(what, "svg")), { class: "quiet", "aria-label": `save ${what} as SVG` }),
  button("PNG", () => savePng(node.querySelector("canvas"), fileName(what, "png")), { class: "quiet", "aria-label": `save ${what} as PNG` }),
];
