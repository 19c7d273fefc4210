// Two pens with the same strokes: one draws on a canvas, one writes SVG.

class CanvasPen {
  constructor(context) {
    this.context = context;
  }
  rect(x, y, w, h, { fill = null, stroke = null, width = 1, alpha = 1 }) {
    const c = this.context;
    c.globalAlpha = alpha;
    if (fill) { c.fillStyle = fill; c.fillRect(x, y, w, h); }
    if (stroke) { c.strokeStyle = stroke; c.lineWidth = width; c.strokeRect(x, y, w, h); }
    c.globalAlpha = 1;
  }
  line(points, { stroke, width = 1, alpha = 1, dash = [] }) {
    const c = this.context;
    c.globalAlpha = alpha;
    c.strokeStyle = stroke;
    c.lineWidth = width;
    c.setLineDash(dash);
    c.beginPath();
    points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
    c.stroke();
    c.setLineDash([]);
    c.globalAlpha = 1;
  }
  text(x, y, text, { fill, size = 12, align = "left", turn = 0, weight = "normal" }) {
    const c = this.context;
    c.save();
    c.translate(x, y);
    c.rotate((turn * Math.PI) / 180);
    c.font = `${weight} ${size}px system-ui, sans-serif`;
    c.fillStyle = fill;
    c.textAlign = align;
    c.textBaseline = "middle";
    c.fillText(text, 0, 0);
    c.restore();
  }
  widthOf(text, size = 12) {
    this.context.font = `${size}px system-ui, sans-serif`;
    return this.context.measureText(text).width;
  }
}

class SvgPen {
  constructor(width, height, background) {
    this.size = [width, height];
    this.parts = [];
    this.rect(0, 0, width, height, { fill: background });
  }
  add(tag, attributes, text = "") {
    const told = Object.entries(attributes).map(([name, value]) => ` ${name}="${escaped(value)}"`).join("");
    this.parts.push(text ? `<${tag}${told}>${escaped(text)}</${tag}>` : `<${tag}${told}/>`);
  }
  rect(x, y, width, height, { fill = null, stroke = null, width: line = 1, alpha = 1 }) {
    this.add("rect", { x, y, width, height, fill: fill ?? "none", stroke: stroke ?? "none", "stroke-width": line, opacity: alpha });
  }
  line(points, { stroke, width = 1, alpha = 1, dash = [] }) {
    const place = points.map(([x, y]) => `${Math.round(x * 100) / 100},${Math.round(y * 100) / 100}`).join(" ");
    this.add("polyline", { points: place, fill: "none", stroke, "stroke-width": width, opacity: alpha, "stroke-dasharray": dash.join(" ") || "none" });
  }
  text(x, y, text, { fill, size = 12, align = "left", turn = 0, weight = "normal" }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    this.add("text", { x, y, fill, "font-size": size, "font-family": "system-ui, sans-serif", "font-weight": weight,
      "text-anchor": anchor, "dominant-baseline": "central", transform: `rotate(${turn} ${x} ${y})` }, text);
  }
  widthOf(text, size = 12) {
    return 0.58 * size * text.length;
  }
  toString() {
    const [w, h] = this.size;
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}">${this.parts.join("\n")}</svg>`;
  }
}

function escaped(value) {
  return String(value).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
}
