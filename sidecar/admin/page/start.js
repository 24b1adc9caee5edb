// How an app calls: the base URL, one curl line, and a few lines for each SDK. Open until the first call came.

const opening = { chosen: false, closing: false };

// As the README has them; a test holds both to each other.
const SDKS = [
  ["Python", (base, client, key) => `import mangopay

mangopay.client_id, mangopay.apikey = "${client}", "${key}"
mangopay.api_sandbox_url = "${base}/v2.01/"  # before the resources are imported
from mangopay.resources import User

print([user.email for user in User.all()])
`],
  ["Node", (base, client, key) => `const MangoPay = require('mangopay4-nodejs-sdk')
const api = new MangoPay({ clientId: '${client}', clientApiKey: '${key}', baseUrl: '${base}' })

api.Users.getAll().then((users) => console.log(users.map((user) => user.Email)))
`],
  ["PHP", (base, client, key) => `<?php
require 'vendor/autoload.php';

$api = new MangoPay\\MangoPayApi();
$api->Config->ClientId = '${client}';
$api->Config->ClientPassword = '${key}';
$api->Config->BaseUrl = '${base}';
$api->Config->TemporaryFolder = sys_get_temp_dir();

print_r(array_map(fn($user) => $user->Email, $api->Users->GetAll()));
`],
  ["Java", (base, client, key) => `MangoPayApi api = new MangoPayApi();
api.getConfig().setClientId("${client}");
api.getConfig().setClientPassword("${key}");
api.getConfig().setBaseUrl("${base}");

System.out.println(api.getUserApi().getAll().size());
`],
  ["Ruby", (base, client, key) => `require 'mangopay'

MangoPay.configure do |c|
  c.client_id = '${client}'
  c.client_apiKey = '${key}'
  c.root_url = '${base}'
  c.preproduction = true # without this the next line has no effect
  c.use_ssl = false
end

p MangoPay::User.fetch.map { |user| user['Email'] }
`],
  [".NET", (base, client, key) => `var api = new MangoPayApi();
api.Config.ClientId = "${client}";
api.Config.ClientPassword = "${key}";
api.Config.BaseUrl = "${base}";

Console.WriteLine((await api.Users.GetAllAsync()).Count);
`],
];
const sdks = { shown: 0, base: null, client: "", key: "" };

function showStart(status) {
  const [address] = status.proxy.addresses;
  show(byId("start"), address !== undefined);
  if (address === undefined) return;
  const key = status.proxy.needs_caller_key;
  say(byId("base-url"), address);
  say(byId("first-call"), firstCall(status));
  const base = address.startsWith("unix:") ? null : address;
  say(byId("start-note"), startNote(base, key));
  show(byId("sdks"), base !== null);
  Object.assign(sdks, { base, client: status.client_id, key: key ? "THE-CALLER-KEY" : "dummy" });
  if (base !== null) showSdk();
  openOrClose(status.calls.requests === 0);
}

function firstCall(status) {
  const call = { method: "GET", path: "/v2.01/{client}/users?per_page=1", idempotency_key: "", bytes_in: 0 };
  return curl(call);
}

function startNote(base, key) {
  const who = key ? "Callers prove themselves with the caller key (listen.caller_key) as their password." : "No credentials are needed: the sidecar adds the token.";
  return base === null ? `${who} SDKs need an address: set SIDECAR_LISTEN_PORT.` : who;
}

// It closes by itself once, when the first call came; never against somebody who opened it or is in it.
function openOrClose(without) {
  const start = byId("start");
  if (opening.chosen || start.contains(document.activeElement) || start.open === without) return;
  opening.closing = true;
  start.open = without;
}

byId("start").addEventListener("toggle", () => {
  if (!opening.closing) opening.chosen = true;
  opening.closing = false;
});

// --- tabs (WAI-ARIA: one can be reached with Tab, the others with the arrows)

const tabs = SDKS.map(([name], index) => make("button", {
  type: "button",
  role: "tab",
  id: `sdk-${index}`,
  "aria-controls": "sdk",
  text: name,
}));
byId("sdk-tabs").append(...tabs);

function showSdk() {
  tabs.forEach((tab, index) => {
    tab.setAttribute("aria-selected", String(index === sdks.shown));
    tab.tabIndex = index === sdks.shown ? 0 : -1;
  });
  byId("sdk").setAttribute("aria-labelledby", `sdk-${sdks.shown}`);
  say(byId("sdk-code"), SDKS[sdks.shown][1](sdks.base, sdks.client, sdks.key));
}

function chooseSdk(index) {
  sdks.shown = (index + SDKS.length) % SDKS.length;
  showSdk();
  say(byId("sdk-copied"), "");
}

const TURNS = { ArrowRight: (at) => at + 1, ArrowLeft: (at) => at - 1, Home: () => 0, End: () => -1 };

tabs.forEach((tab, index) => tab.addEventListener("click", () => chooseSdk(index)));
byId("sdk-tabs").addEventListener("keydown", (event) => {
  const turn = TURNS[event.key];
  if (turn === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  chooseSdk(turn(sdks.shown));
  tabs[sdks.shown].focus();
});

for (const name of ["base-url", "first-call", "sdk"]) {
  const source = byId(name === "sdk" ? "sdk-code" : name);
  byId(`${name}-copy`).addEventListener("click", () => copy(source.textContent, byId(`${name}-copied`), () => {
    getSelection().selectAllChildren(source);
  }));
}
