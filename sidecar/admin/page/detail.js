// One call: what happened in time, the facts, and the same call as a curl line without secrets.

const dialog = byId("detail");
let proxy = { addresses: [], needs_caller_key: false, client_segment: "_" };
let opener = null;

function openDetail(call, button) {
  opener = button;
  say(byId("detail-title"), `${call.method} ${call.path}`);
  say(byId("detail-words"), inWords(call));
  byId("timeline").replaceChildren(...timeline(call));
  byId("facts").replaceChildren(...facts(call).flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]));
  showCurl(call);
  say(byId("copied"), "");
  dialog.showModal();
}

byId("detail-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside it
});
dialog.addEventListener("close", () => {
  if (opener !== null && opener.isConnected) focusRow(buttons().indexOf(opener));
  else byId("calls-title").focus();
});

function inWords(call) {
  const answered = call.status === null ? "The caller left before there was an answer" : call.source === "upstream" ? `Mangopay answered ${call.status}` : `The sidecar answered ${call.status}`;
  const parts = [`${answered}, after ${milliseconds(call.duration_seconds)}.`];
  if (call.recovered.includes("token")) parts.push("The token had expired or was revoked; the call was retried with a new one.");
  if (call.recovered.includes("connection")) parts.push("A connection failed, and the call was retried on another one.");
  if (call.recovered.includes("idempotency")) parts.push("The answer was lost on its way, or refused it as a repeat, and the stored one was read back by its Idempotency-Key.");
  if (call.futile) parts.push("A new token would not help: the 401 was passed on.");
  if (call.foreign) parts.push("Its path names another ClientId than the sidecar's.");
  if (call.outcome === "not-sent") parts.push("Nothing of it was sent to Mangopay.");
  if (call.outcome === "rejected") parts.push("Mangopay answered it with 401 and executed nothing: it may be sent again.");
  if (call.outcome === "unknown") parts.push("Mangopay may have executed it: find out before it is repeated.");
  return parts.join(" ");
}

// --- the attempts, over the time of the call

function timeline(call) {
  const total = Math.max(call.duration_seconds, 1e-6);
  const lines = call.attempts.map((attempt, index) => {
    const it = { token: 0, connection: 0, upstream: 0, at: 0, purpose: "call", ...attempt };
    const name = it.purpose === "read_back" ? "Reading back" : `Attempt ${index + 1}`;
    const spans = [["connection", it.connection], ["token", it.token], ["mangopay", it.upstream]];
    const told = [["connection", it.connection], ["token", it.token], ["Mangopay", it.upstream]]
      .filter(([, seconds]) => seconds > 0)
      .map(([what, seconds]) => `${what} ${milliseconds(seconds)}`);
    return line(name, it.at, spans, total, `${result(it.result)}: ${told.join(", ") || "at once"}`);
  });
  const own = [["rest", call.duration_seconds]];
  return [line("Whole call", 0, own, total, `${milliseconds(ownSeconds(call))} of ${milliseconds(call.duration_seconds)} not with Mangopay`), ...lines];
}

function line(name, at, spans, total, words) {
  const track = make("div", { class: "track", "aria-hidden": "true" });
  let from = at;
  for (const [kind, seconds] of spans) {
    if (seconds > 0) {
      const span = make("i", { "data-wait": kind, title: `${kind} ${milliseconds(seconds)}` });
      span.style.left = `${(from / total) * 100}%`;
      span.style.width = `${(seconds / total) * 100}%`;
      track.append(span);
    }
    from += seconds;
  }
  const begins = at > 0 ? `from ${milliseconds(at)}` : "";
  return make("li", {}, make("b", { text: name }), track, make("span", { class: "quiet", text: [begins, words].filter(Boolean).join("; ") }));
}

function facts(call) {
  const all = [
    ["Time", exactly(call.at)],
    ["Id in log and errors", call.id],
    ["Total", milliseconds(call.duration_seconds)],
    ["Mangopay", call.deliveries ? milliseconds(call.upstream_seconds) : "not asked"],
    ["Waited for a token", call.token_wait_seconds > 0 ? milliseconds(call.token_wait_seconds) : ""],
    ["Lane", call.lane],
    ["Held in it", call.held_seconds > 0 ? milliseconds(call.held_seconds) : ""],
    ["Deprecated", call.deprecated],
    ["Deliveries", String(call.deliveries)],
    ["Body received", bytes(call.bytes_in)],
    ["Body returned", bytes(call.bytes_out)],
    ["Error", call.error],
    ["Outcome", call.outcome],
    ["Reason", call.detail],
    ["Idempotency-Key", call.idempotency_key],
    ["Caller", call.caller_gone ? "left before the end" : ""],
    ["What support will ask for", support(call)],
    ["X-Request-Id", call.x_request_id],
    ["traceparent", call.traceparent],
  ];
  return all.filter(([, value]) => value !== "");
}

function support(call) {
  const told = [["Mangopay's Id", call.mangopay_id], ["Type", call.mangopay_type], ["CF-Ray", call.cf_ray]];
  return told.filter(([, value]) => value !== "").map(([name, value]) => `${name} ${value}`).join(", ");
}

// --- curl

const quoted = (text) => (/^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function curl(call) {
  if (!call.path.startsWith("/") || !/^[A-Z]+$/.test(call.method) || proxy.addresses.length === 0) return null;
  const path = call.path.replaceAll("{client}", proxy.client_segment).replaceAll("{id}", "ID");
  const [address] = proxy.addresses;
  const socket = address.startsWith("unix:") ? address.slice(5) : null;
  const words = ["curl", call.method === "HEAD" ? "--head" : "-i"];
  if (call.method !== "GET" && call.method !== "HEAD") words.push("-X", call.method);
  if (socket !== null) words.push("--unix-socket", quoted(socket));
  words.push(quoted(`${socket === null ? address : "http://localhost"}${path}`));
  if (proxy.needs_caller_key) words.push("-u", '"app:$SIDECAR_CALLER_KEY"');
  if (call.idempotency_key) words.push("-H", quoted(`Idempotency-Key: ${call.idempotency_key}`));
  if (call.bytes_in > 0) words.push("-H", quoted("Content-Type: application/json"), "--data", "@body.json");
  return words.join(" ");
}

function showCurl(call) {
  const words = curl(call);
  byId("curl").value = words ?? "";
  byId("copy").disabled = words === null;
  const notes = [];
  if (words === null) notes.push("What came was no call that could be made again.");
  if (call.path.includes("{id}")) notes.push("Put the real id in place of ID: it was not kept.");
  if (words !== null && call.bytes_in > 0) notes.push("The body was not kept: put one into body.json.");
  if (words !== null && call.method !== "GET" && call.method !== "HEAD") notes.push("Made again it may move money again.");
  if (call.foreign) notes.push("This line has the sidecar's ClientId; the call had another one.");
  if (call.outcome === "unknown" && call.idempotency_key === "" && call.method === "POST") notes.push("It had no Idempotency-Key.");
  say(byId("curl-note"), notes.join(" "));
}

byId("copy").addEventListener("click", () => {
  const box = byId("curl");
  copy(box.value, byId("copied"), () => {
    box.focus();
    box.select();
  });
});

// Without a clipboard (for this address, or without leave) the text is selected, to be copied by hand.
async function copy(text, told, select) {
  try {
    await navigator.clipboard.writeText(text);
    say(told, "Copied.");
  } catch {
    select();
    say(told, "Selected: copy it with the keyboard.");
  }
}
