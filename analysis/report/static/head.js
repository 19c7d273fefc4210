// The head of the page: what this is, how far it is, and what its words mean.

function renderHead() {
  const { head, n, budget } = view.data;
  byId("name").textContent = view.data.name;
  byId("claim").textContent = head.claim;
  const varied = Object.entries(head.varied).map(([name, values]) => `${name}: ${valuesInWords(values)}`);
  const counts = Object.entries(head.statuses).map(([status, count]) => `${count} ${status}`);
  const waiting = head.grid - n;
  fill(byId("facts"), pairs([
    ["varied", varied.join("; ") || "nothing"],
    ["runs", `${n} of ${head.grid}: ${counts.join(", ")}${waiting > 0 ? `, ${waiting} not begun` : ""}`],
    ["budget", `${budget.toLocaleString("en-US")} steps`],
    ...progressWords(head), ...machineWords(head),
    ["definitions", head.definitions.join(" ")],
  ]));
  byId("live").hidden = !view.data.live;
}

function valuesInWords(values) {
  const texts = values.map((value) => (Array.isArray(value) ? `(${value.join(", ")})` : typeof value === "number" ? number(value) : String(value)));
  return texts.length <= 8 ? texts.join(", ") : `${texts.slice(0, 3).join(", ")}, …, ${texts[texts.length - 1]} (${texts.length} values)`;
}

function progressWords({ progress, grid }) {
  if (!progress) return [];
  const written = new Date(1000 * Number(view.data.version)).toLocaleTimeString();
  const left = progress.seconds_left === null || progress.seconds_left === undefined ? "" : `; at most ${duration(progress.seconds_left)} left`;
  return [["training", `${progress.done} of ${progress.runs ?? grid} runs done${left}; as of ${written}`]];
}

function machineWords({ starts }) {
  const start = starts[starts.length - 1];
  if (!start) return [];
  const versions = Object.entries(start.versions ?? {}).map(([name, version]) => `${name} ${version}`);
  const commit = start.commit ? [`commit ${start.commit.slice(0, 12)}`] : [];
  return [
    ["hardware", `${start.devices ?? start.platform ?? "unknown"}, precision ${start.precision ?? "unknown"}`],
    ["versions", [`Python ${start.python}`, ...versions, ...commit].join(", ")],
    ["started", `${starts[0].time}${starts.length > 1 && starts[1].time !== starts[0].time ? `; last group ${start.time}` : ""}`],
  ];
}
