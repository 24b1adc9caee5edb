// The list of calls: the newest first, filtered, paused, walked through with the arrow keys.

const MOST = 200;
const FILTERS = [
  ["all", "All", () => true],
  ["4xx", "4xx", (call) => call.status >= 400 && call.status < 500],
  ["failed", "Failed", (call) => hasFailed(call)],
  ["recovered", "Retried", (call) => call.recovered.length > 0],
  ["slow", "Slow", (call) => call.duration_seconds >= list.slow],
];
const list = { calls: [], waiting: [], filter: "all", words: "", paused: false, held: 0, slow: 1, skipped: 0 };

// What the document leaves out has its default.
const DEFAULTS = {
  source: "upstream", duration_seconds: 0, upstream_seconds: 0, token_wait_seconds: 0, deliveries: 0, attempts: [], recovered: [],
  bytes_in: 0, bytes_out: 0, error: "", outcome: "", detail: "", idempotency_key: "", caller_gone: false, futile: false, foreign: false,
  lane: "", held_seconds: 0, deprecated: "",
  mangopay_id: "", mangopay_type: "", cf_ray: "", traceparent: "", x_request_id: "",
};

// The sidecar's own errors, Mangopay's 5xx, another ClientId, and nobody there: not what Mangopay refused to a caller.
const hasFailed = (call) => call.error !== "" || call.foreign || call.status === null || call.status >= 500;
const ownSeconds = (call) => Math.max(0, call.duration_seconds - call.upstream_seconds);

function takeCalls(event) {
  const calls = event.calls.map((call) => ({ ...DEFAULTS, ...call })).reverse();
  list.skipped = event.skipped;
  if (event.reset && list.paused) {
    const shown = new Set(list.calls.map((call) => call.id));
    list.waiting = calls.filter((call) => !shown.has(call.id));
    list.held = list.waiting.length;
  } else if (event.reset) {
    list.calls = calls;
    list.waiting = [];
  } else if (list.paused) {
    list.waiting = [...calls, ...list.waiting].slice(0, MOST);
    list.held += calls.length + event.skipped;
  } else {
    list.calls = [...calls, ...list.calls].slice(0, MOST);
  }
  showCalls();
}

function showCalls() {
  const matches = FILTERS.find(([name]) => name === list.filter)[2];
  const words = list.words.toLowerCase();
  const shown = list.calls.filter((call) => matches(call) && (words === "" || haystack(call).includes(words)));
  const focused = byId("calls").contains(document.activeElement);
  keep(byId("calls"), shown, (call) => call.id, createRow, () => {});
  if (focused && !byId("calls").contains(document.activeElement)) focusRow(0);
  rove();
  say(byId("calls-empty"), list.calls.length ? "No call of the last 200 is like that." : "No calls yet.");
  show(byId("calls-empty"), shown.length === 0);
  showCounts();
  showNote();
}

function haystack(call) {
  return `${call.method} ${call.path} ${call.status} ${call.id} ${call.error} ${call.outcome} ${call.x_request_id} ${call.traceparent} ${call.mangopay_id} ${call.mangopay_type} ${call.cf_ray}`.toLowerCase();
}

function showCounts() {
  for (const [name, label, matches] of FILTERS) {
    const words = name === "slow" ? `${label} (${milliseconds(list.slow)} or more)` : label;
    say(byId(`filter-${name}-words`), words);
    say(byId(`filter-${name}-count`), String(list.calls.filter(matches).length));
  }
}

function showNote() {
  if (list.paused) say(byId("calls-note"), `Paused; ${count(list.held, "call")} since.`);
  else say(byId("calls-note"), list.skipped ? `${count(list.skipped, "call")} more in this second than can be listed.` : "");
}

// --- rows

function createRow(call) {
  const button = make("button", {
    type: "button",
    class: "open",
    tabindex: "-1",
    title: exactly(call.at),
    "aria-label": `${clock(call.at)}, ${call.method} ${call.path}, ${call.status ?? "nobody was there"}, ${milliseconds(call.duration_seconds)}`,
    text: clock(call.at),
  });
  const share = make("span", { class: "share", "aria-hidden": "true" });
  share.style.setProperty("--share", call.duration_seconds ? call.upstream_seconds / call.duration_seconds : 0);
  const row = make(
    "tr",
    { class: call.duration_seconds >= list.slow ? "slow" : null },
    make("td", { class: "time" }, button),
    make("td", { class: "code" }, make("span", { class: `status ${statusClass(call)}`, text: call.status ?? "gone" })),
    make("td", { class: "call" }, make("b", { text: call.method }), " ", make("span", { class: "path", text: call.path })),
    make("td", { class: "number total" }, milliseconds(call.duration_seconds), share),
    make("td", { class: "number" }, call.deliveries ? milliseconds(call.upstream_seconds) : "–"),
    make("td", { class: "number" }, milliseconds(ownSeconds(call))),
    make("td", { class: "done" }, make("div", { class: "tags" }, ...tags(call))),
  );
  row.addEventListener("click", () => openDetail(call, button));
  return row;
}

function statusClass(call) {
  if (call.status === null) return "gone";
  return call.error !== "" && call.status < 500 ? "refused" : `s${Math.floor(call.status / 100)}`;
}

const RECOVERIES = { token: "retried, new token", connection: "retried, new connection", idempotency: "answer read back" };
const OUTCOMES = { "not-sent": "not sent", rejected: "not executed", unknown: "outcome unknown" };

function tags(call) {
  const words = call.recovered.map((how) => ["recovered", RECOVERIES[how] ?? how]);
  if (call.error) words.push(["own", call.error]);
  if (call.outcome) words.push([call.outcome === "unknown" ? "unknown" : "sure", OUTCOMES[call.outcome] ?? call.outcome]);
  if (call.futile) words.push(["own", "401 stays"]);
  if (call.foreign && !call.error) words.push(["own", "another ClientId"]);
  if (call.deprecated) words.push(["sure", "deprecated"]);
  if (call.caller_gone) words.push(["sure", "caller left"]);
  return words.map(([name, text]) => make("span", { class: `tag ${name}`, text }));
}

// --- keys: one row can be reached with Tab, the others with the arrows

const buttons = () => [...byId("calls").querySelectorAll("button.open")];

// The row that had the focus last, while it is shown; else the newest, however the calls came in.
let visited = null;

byId("calls").addEventListener("focusin", (event) => {
  visited = event.target;
  rove();
});

function rove() {
  const all = buttons();
  const target = all.includes(visited) ? visited : all[0];
  for (const button of all) button.tabIndex = button === target ? 0 : -1;
}

function focusRow(index) {
  const all = buttons();
  if (all.length) all[Math.min(all.length - 1, Math.max(0, index))].focus();
}

const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -MOST, End: MOST };

byId("calls").addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  focusRow(buttons().indexOf(document.activeElement) + step);
});

// --- filters

for (const [name] of FILTERS) {
  const radio = make("input", { type: "radio", name: "filter", value: name, id: `filter-${name}`, checked: name === "all" });
  radio.addEventListener("change", () => {
    list.filter = name;
    showCalls();
  });
  byId("filters").append(
    radio,
    make("label", { for: `filter-${name}` }, make("span", { id: `filter-${name}-words` }), " ", make("span", { class: "count", id: `filter-${name}-count` })),
  );
}

byId("search").addEventListener("input", (event) => {
  list.words = event.target.value.trim();
  showCalls();
});

byId("pause").addEventListener("click", () => {
  list.paused = !list.paused;
  byId("pause").setAttribute("aria-pressed", String(list.paused));
  say(byId("pause"), list.paused ? "Go on" : "Pause");
  if (!list.paused) list.calls = [...list.waiting, ...list.calls].slice(0, MOST);
  list.waiting = [];
  list.held = 0;
  showCalls();
});

showCalls();
