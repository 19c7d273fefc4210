// While training goes on: look from time to time whether there is newer data, and take it up.

const POLL = 10000; // milliseconds

window.grokjaxVersion = ({ version, ended }) => {
  if (version === view.data.version) return;
  if (ended) location.reload(); // the state is in the address, so nothing is lost
  else loadScript("report_files/data.js", () => {});
};

window.grokjaxData = async (packed) => {
  const data = await unpackData(packed);
  if (data.version === view.data.version) return;
  curveStore.clear();
  view.data = data;
  announce(`new data: ${data.n} runs`);
  await render();
};

function follow() {
  if (view.data.live) loadScript("report_files/version.js", () => {});
}
