// Latency, and calls that failed, of the last ten minutes: two small drawings over the same time.

const MINUTES = 600;
const WIDTH = 600;
const HEIGHT = 64;
let samples = [];
let pointed = null; // the sample under the pointer

function showHistory(history) {
  samples = history;
  const charts = byId("charts");
  if (charts.children.length === 0) charts.append(createChart(), createChart());
  drawLatency(charts.children[0]);
  drawCalls(charts.children[1]);
  readOut();
}

function createChart() {
  const picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "chart" });
  const figure = make("figure", {}, make("figcaption", { class: "quiet small" }), picture);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    point(newest() - MINUTES * (1 - (event.clientX - box.left) / box.width));
  });
  picture.addEventListener("pointerleave", () => point(null));
  return figure;
}

const newest = () => (samples.length ? samples[samples.length - 1].at : 0);
const across = (at) => (1 - (newest() - at) / MINUTES) * WIDTH;

function drawLatency(figure) {
  const [caption, picture] = figure.children;
  const known = samples.filter((sample) => sample.p95_seconds !== null);
  const top = Math.max(0.001, ...known.map((sample) => sample.p95_seconds));
  const height = (seconds) => HEIGHT - 2 - (seconds / top) * (HEIGHT - 6);
  const marks = [];
  for (const sample of known) {
    const x = across(sample.at - sample.seconds);
    const width = Math.max(1, across(sample.at) - x);
    marks.push(draw("rect", { class: "p95", x, width, y: height(sample.p95_seconds), height: HEIGHT - height(sample.p95_seconds) }));
    marks.push(draw("rect", { class: "p50", x, width, y: height(sample.p50_seconds) - 1, height: 2 }));
  }
  picture.replaceChildren(...marks);
  const last = known[known.length - 1];
  say(caption, last ? `Time a call takes, up to ${milliseconds(top)}` : "Time a call takes: no calls");
  picture.setAttribute("aria-label", last ? `Time that calls took in the last 10 minutes: half of them less than ${milliseconds(last.p50_seconds)} at the end, 19 of 20 less than ${milliseconds(top)} at the worst` : "No calls in the last 10 minutes");
}

function drawCalls(figure) {
  const [caption, picture] = figure.children;
  const rate = (number, sample) => number / sample.seconds;
  const top = Math.max(0.2, ...samples.map((sample) => rate(sample.calls, sample)));
  const marks = [];
  for (const sample of samples) {
    const x = across(sample.at - sample.seconds);
    const width = Math.max(1, across(sample.at) - x - 0.5);
    const failed = Math.min(sample.calls, sample.errors + sample.server_errors);
    const tall = (number) => (number ? Math.max(2, (rate(number, sample) / top) * (HEIGHT - 4)) : 0);
    const [all, bad] = [tall(sample.calls), tall(failed)];
    if (all) marks.push(draw("rect", { class: "all", x, width, y: HEIGHT - all, height: all }));
    if (bad) marks.push(draw("rect", { class: "bad", x, width, y: HEIGHT - bad, height: bad }));
  }
  picture.replaceChildren(...marks);
  const total = (name) => samples.reduce((sum, sample) => sum + sample[name], 0);
  const failed = total("errors") + total("server_errors");
  say(caption, `Calls, up to ${top.toFixed(top < 10 ? 1 : 0)} a second; failed ones in red`);
  picture.setAttribute("aria-label", `${count(total("calls"), "call")} in the last 10 minutes, ${whole.format(total("client_errors"))} with 4xx, ${whole.format(failed)} failed`);
}

function point(at) {
  pointed = at === null ? null : samples.find((sample) => at > sample.at - sample.seconds && at <= sample.at) ?? null;
  readOut();
}

function readOut() {
  const sample = pointed ?? samples[samples.length - 1];
  if (sample === undefined) return say(byId("history-readout"), "begins in a few seconds");
  const parts = [clock(sample.at), `${(sample.calls / sample.seconds).toFixed(1)} calls/s`];
  if (sample.p50_seconds !== null) parts.push(`p50 ${milliseconds(sample.p50_seconds)}`, `p95 ${milliseconds(sample.p95_seconds)}`);
  parts.push(`${whole.format(sample.client_errors)} with 4xx`, `${whole.format(sample.errors + sample.server_errors)} failed`);
  if (sample.recovered) parts.push(`${whole.format(sample.recovered)} retried`);
  say(byId("history-readout"), parts.join(" · "));
}
