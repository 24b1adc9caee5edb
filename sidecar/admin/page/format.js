// Numbers and moments in words. Moments are the server's (Unix time, seconds); the browser's clock gives differences only.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

// Two units at most: "2 h 5 min", "42 s".
function duration(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [size, unit] of UNITS) {
    if (left >= size || (unit === "s" && parts.length === 0)) {
      parts.push(`${Math.floor(left / size)} ${unit}`);
      left %= size;
    }
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

const until = (moment, now) => (moment > now ? `in ${duration(Math.ceil(moment - now))}` : "now");
// The larger unit alone, where there is little room.
const roughly = (moment, now) => until(moment, now).replace(/^(in \d+ \w+) .*/, "$1");
const ago = (moment, now) => (now - moment < 1 ? "just now" : `${duration(now - moment)} ago`);

// A call's seconds, with three digits that matter.
function milliseconds(seconds) {
  const ms = seconds * 1000;
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms >= 100) return `${ms.toFixed(0)} ms`;
  return ms >= 10 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(2)} ms`;
}

function bytes(size) {
  if (size < 1024) return `${size} B`;
  const unit = size < 1048576 ? ["KiB", 1024] : ["MiB", 1048576];
  return `${(size / unit[1]).toFixed(size / unit[1] < 10 ? 1 : 0)} ${unit[0]}`;
}

const whole = new Intl.NumberFormat("en");
const count = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;

const two = (number) => String(number).padStart(2, "0");
function clock(moment) {
  const date = new Date(moment * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
const exactly = (moment) => new Date(moment * 1000).toISOString();

const RESULTS = {
  no_slot: "no connection became free",
  resolve: "the host name cannot be resolved",
  egress: "the egress proxy gave no way",
  connect: "cannot be connected to",
  tls: "no trusted TLS connection",
  dead_before_write: "the connection was dead already",
  lost: "the connection broke",
  timeout: "no answer in time",
  broken: "the answer was not valid HTTP",
  server_error: "answered 5xx",
  rate_limited: "answered 429",
  edge_page: "answered with a web page of the edge",
  cut: "stopped",
  token_locked_out: "no token: the account is locked",
  token_unavailable: "no token could be had",
  credentials_refused: "no token: the credentials are refused",
  shutting_down: "shutting down",
  rate_reserved: "held in the batch lane",
};
const result = (word) => (typeof word === "number" ? `answered ${word}` : RESULTS[word] ?? word.replaceAll("_", " "));
