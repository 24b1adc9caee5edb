// The numbers behind the findings.

function bar(label) {
  return make("div", { class: "bar-outer", role: "img", "aria-label": label }, make("div", { class: "bar-inner" }));
}

function setBar(element, share, level, label) {
  const inner = element.firstElementChild;
  inner.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
  inner.dataset.level = level;
  element.setAttribute("aria-label", label);
}

// Rows of a label and a value, which may be a function of time; those without a value are left out.
function rows(parent, entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined);
  keep(
    parent,
    shown,
    ([label]) => label,
    ([label]) => make("div", { class: "row" }, make("span", { class: "quiet", text: label }), make("span", { class: "value" })),
    (element, [, value]) => {
      const target = element.children[1];
      if (typeof value === "function") run(target, value);
      else {
        stop(target);
        say(target, value);
      }
    },
  );
}

function showPanels(status) {
  keep(byId("tokens"), status.tokens, (token) => token.credential, createToken, updateToken);
  rows(byId("store"), status.store === null ? [] : [
    ["shared through", `${status.store.kind} at ${status.store.place}`],
    ["store", storeState(status.store)],
  ]);
  showLimits(status);
  showUpstream(status);
  showProcess(status);
}

// --- tokens

const STATES = {
  latched_lockout: "locked out",
  latched_refused: "refused",
  refreshing: "being fetched",
  backing_off: "cannot be fetched",
  valid: "valid",
  empty: "none yet",
};

function createToken(token) {
  return make(
    "div",
    { class: "token" },
    make("p", { class: "big" }, make("b"), make("span", { class: "quiet" })),
    bar(`Life of the ${token.credential} token`),
    make("div", { class: "rows" }),
  );
}

function updateToken(element, token) {
  const [big, life, list] = element.children;
  const [word, rest] = big.children;
  const latched = token.latched_until !== null;
  say(word, token.valid && token.state !== "valid" ? `valid, ${STATES[token.state]}` : tokenWord(token));
  if (token.valid) run(rest, (moment) => ` expires ${until(token.expires_at, moment)}`);
  else {
    stop(rest);
    say(rest, "");
  }
  show(life, token.valid);
  if (token.valid) {
    const whole = token.expires_at - token.fetched_at;
    const left = (token.expires_at - now()) / whole;
    setBar(life, left, left < 0.1 ? "warning" : "ok", `${Math.round(left * 100)}% of the token's life is left`);
  }
  rows(list, [
    ["credential", token.credential === "api" ? "API key" : `${token.credential} key`],
    ["refresh", token.valid && token.refresh_at !== null && !latched ? renewal(token) : null],
    ["next try", latched ? (moment) => until(token.latched_until, moment) : null],
    ["next fetch", !latched && !token.valid && token.next_attempt_at !== null ? (moment) => until(token.next_attempt_at, moment) : null],
    ["fetched", token.generation ? (moment) => `${count(token.generation, "time")}${token.fetched_at === null ? "" : `, ${ago(token.fetched_at, moment)}`}` : null],
    ["failed", token.failures ? `${count(token.failures, "time")} in a row` : null],
    ["last error", token.last_error],
    ["401s refresh again", token.paused_until === null ? null : (moment) => `${until(token.paused_until, moment)}: ${token.paused_paths.join(", ")}`],
  ]);
}

function tokenWord(token) {
  return token.state === "empty" && token.generation ? "expired" : STATES[token.state] ?? token.state;
}

function storeState(store) {
  if (store.up === null) return "not used yet";
  return store.up ? (moment) => `works, for ${duration(moment - store.since)}` : `down: it ${store.last_error}`;
}

function renewal(token) {
  return (moment) => (token.next_attempt_at === null ? "once it is used" : until(token.refresh_at, moment));
}

// --- rate limits

const WINDOWS = { "15m": "15 min", "30m": "30 min", "1h": "1 h", "24h": "24 h" };
const UNTOLD = "a window of unknown length";

function showLimits(status) {
  const list = byId("limits");
  if (status.rate_limits.length === 0) {
    keep(list, ["none"], (item) => item, () => make("p", { class: "quiet", text: "No answer of Mangopay's has told them yet." }), () => {});
    return;
  }
  const windows = status.rate_limits.map((each, index) => ({ ...each, key: each.window ?? `untold ${index}` }));
  const reserve = status.batch_lane === null ? 0 : status.batch_lane.reserve;
  keep(list, windows, (each) => each.key, createWindow, (element, window) => updateWindow(element, window, reserve));
}

function createWindow(window) {
  return make(
    "div",
    { class: "window" },
    make(
      "div",
      { class: "row" },
      make("span", {}, make("b", { text: WINDOWS[window.window] ?? UNTOLD }), make("span", { class: "quiet small" })),
      make("span", { class: "value" }),
    ),
    barWithReserve(),
  );
}

function barWithReserve() {
  const meter = bar("");
  meter.append(make("div", { class: "bar-reserve" }));
  return meter;
}

// ``reserve`` is the share of the window, at its end, that batch calls leave to others.
function updateWindow(element, window, reserve) {
  const [row, meter] = element.children;
  const mark = meter.children[1];
  mark.style.width = `${reserve * 100}%`;
  show(mark, reserve > 0);
  const reset = row.children[0].children[1];
  const used = window.used ?? 0;
  const total = window.remaining === null ? null : used + window.remaining;
  const over = window.reset !== null && window.reset <= now();
  const text = total === null ? `${whole.format(used)} used` : `${whole.format(window.remaining)} left`;
  say(row.children[1], over ? "reset" : text);
  const share = total ? used / total : 0;
  const level = share >= 1 ? "critical" : share >= 0.9 ? "warning" : "ok";
  const kept = reserve > 0 ? `; ${Math.round(reserve * 100)}% of it is not for batch calls` : "";
  const label = total === null ? text : `${whole.format(window.remaining)} of ${whole.format(total)} left${kept}`;
  meter.title = label;
  setBar(meter, over ? 0 : share, over ? "ok" : level, label);
  if (window.reset === null) say(reset, "");
  else run(reset, (moment) => ` resets ${roughly(window.reset, moment)}`);
}

// --- Mangopay and the way there

function showUpstream(status) {
  const { upstream, pool } = status;
  const minute = Object.entries(upstream.failures_last_minute).map(([kind, number]) => `${number} × ${result(kind)}`);
  const last = upstream.last_failure;
  meters(byId("upstream"), [
    ["connections", pool.open - pool.idle, pool.size, `${pool.open - pool.idle} in use, ${pool.idle} idle, of ${pool.size}`],
  ], [
    ["calls waiting", pool.waiting ? whole.format(pool.waiting) : null],
    ["last answer", upstream.answered_at === null ? "none yet" : (moment) => ago(upstream.answered_at, moment)],
    ["failing", upstream.failures ? `${count(upstream.failures, "call")} in a row` : null],
    ["last minute", minute.length ? minute.join(", ") : null],
    ["last failure", last === null ? null : (moment) => `${result(last.kind)}, ${ago(last.at, moment)}`],
    ["certificate", status.client_certificate === null ? "none (no mTLS)" : certificate(status.client_certificate)],
    ["address", status.base_url],
  ]);
}

function certificate(it) {
  return (moment) => (it.expires_at < moment ? "has expired" : `${count(it.days_left, "day")} left, until ${exactly(it.expires_at).slice(0, 10)}`);
}

// --- the process

function showProcess(status) {
  const { calls } = status;
  meters(byId("process"), [
    ["callers", calls.connections, calls.max_connections, `${whole.format(calls.connections)} of ${whole.format(calls.max_connections)} connections`],
    ["replay memory", status.replay_buffer_bytes, status.replay_budget_bytes, `${bytes(status.replay_buffer_bytes)} of ${bytes(status.replay_budget_bytes)}`],
  ], [
    ["calls", `${whole.format(calls.requests)}, ${whole.format(calls.in_flight)} in flight`],
    ["4xx by Mangopay", whole.format(calls.client_errors)],
    ["5xx by Mangopay", whole.format(calls.server_errors)],
    ["sidecar's own errors", whole.format(calls.errors)],
    ["retried", whole.format(calls.recovered)],
    ["last reload", status.reload === null || status.reload.successful ? null : "failed"],
    ["apps call", status.proxy.addresses[0] ?? "nowhere: no listener"],
    ["warnings", status.warnings.length ? status.warnings.join(" ") : null],
  ]);
}

// Bars first, then rows.
function meters(parent, bars, entries) {
  if (parent.children.length === 0) parent.append(make("div", { class: "meters" }), make("div", { class: "rows" }));
  const [top, bottom] = parent.children;
  keep(
    top,
    bars,
    ([label]) => label,
    ([label]) => make("div", { class: "window" }, make("div", { class: "row" }, make("span", { class: "quiet", text: label }), make("span", { class: "value" })), bar(label)),
    (element, [, value, limit, text]) => {
      const share = limit ? value / limit : 0;
      say(element.children[0].children[1], text);
      setBar(element.children[1], share, share >= 0.9 ? "warning" : "ok", text);
    },
  );
  rows(bottom, entries);
}
