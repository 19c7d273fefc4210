// The box beside the pointer.

function showTip(lines, x, y) {
  const tip = byId("tip");
  fill(tip, ...lines.map((line, i) => element(i ? "div" : "strong", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}
