// What is the case, in words; and where to look.

const GLYPHS = { ok: "✓", info: "i", warning: "!", critical: "×", none: "·" };
const COLORS = { ok: "#2e9e5b", info: "#2e9e5b", warning: "#d9901a", critical: "#d43d3d", none: "#8a93a3" };
const WORDS = { ok: "OK", info: "OK", warning: "attention", critical: "failing" };
// What is said of an area of which there is nothing to say.
const NOTHING = { certificate: "not used", token: "none", key: "not tried yet" };
const UNKNOWN = "not known yet";
const RANK = { none: 0, ok: 1, info: 2, warning: 3, critical: 4 };
const AREAS = [
  ["token", "Token"],
  ["key", "Key"],
  ["lock", "Lock"],
  ["rate_limit", "Rate limit"],
  ["network", "Network"],
  ["mangopay", "Mangopay"],
  ["certificate", "Certificate"],
  ["calls", "Calls"],
  ["sidecar", "Sidecar"],
];

function showFindings(status) {
  const [first, ...rest] = status.findings;
  showHeadline(first);
  keep(byId("findings"), rest, (finding) => `${finding.kind} ${finding.title}`, createFinding, updateFinding);
  const levels = areaLevels(status);
  keep(byId("areas"), AREAS, ([name]) => name, createArea, (element, [name]) => updateArea(element, name, levels[name]));
  const troubled = AREAS.some(([name]) => RANK[levels[name]] >= RANK.warning);
  show(byId("areas"), troubled);
  show(byId("fine"), !troubled);
  say(byId("fine-text"), fine(levels));
  showTab(status, first);
}

function showHeadline(finding) {
  byId("headline").dataset.level = finding.level;
  byId("headline").dataset.kind = finding.kind;
  say(byId("headline-glyph"), GLYPHS[finding.level]);
  say(byId("headline-title"), finding.title);
  say(byId("headline-text"), finding.text);
  say(byId("headline-mend"), finding.mend);
  show(byId("headline-mend"), finding.mend !== "");
  countDown(byId("headline-countdown"), finding);
}

function countDown(element, finding) {
  const [label, value] = element.children;
  show(element, finding.until !== null);
  if (finding.until === null) return stop(value);
  say(label, `${finding.until_label} `);
  run(value, (moment) => until(finding.until, moment));
}

function createFinding() {
  return make(
    "li",
    { class: "finding" },
    make("span", { class: "glyph", "aria-hidden": "true" }),
    make("div", {}, make("h3"), make("p"), make("p", { class: "mend" })),
    make("p", { class: "countdown" }, make("span"), make("b")),
  );
}

function updateFinding(element, finding) {
  const [glyph, words, countdown] = element.children;
  element.dataset.level = finding.level;
  element.dataset.kind = finding.kind;
  say(glyph, GLYPHS[finding.level]);
  const [title, text, mend] = words.children;
  say(title, finding.title);
  say(text, finding.text);
  say(mend, finding.mend);
  show(mend, finding.mend !== "");
  countDown(countdown, finding);
}

// The worst that was found in each area; areas of which nothing is known yet are "none".
function areaLevels(status) {
  const levels = Object.fromEntries(AREAS.map(([name]) => [name, "ok"]));
  if (status.client_certificate === null) levels.certificate = "none";
  if (status.rate_limits.length === 0) levels.rate_limit = "none";
  if (status.upstream.answered_at === null && status.tokens.every((token) => token.generation === 0)) {
    levels.network = levels.mangopay = levels.token = levels.key = "none";
  }
  // A lock or a refused key shows as what it is; the token is only missing for it.
  if (!status.tokens[0].valid) levels.token = "none";
  for (const { area, level } of status.findings) {
    if (RANK[level] >= RANK.warning && RANK[level] > RANK[levels[area]]) levels[area] = level;
  }
  return levels;
}

const listed = new Intl.ListFormat("en");
const inside = (label) => (label === "Mangopay" ? label : label.toLowerCase());

// The strip in one line, while there is nothing to look at.
function fine(levels) {
  const named = (wanted) => AREAS.filter(([name]) => wanted(name)).map(([, label]) => inside(label));
  const ok = named((name) => levels[name] !== "none");
  const unknown = named((name) => levels[name] === "none" && name !== "certificate");
  const parts = [`Nothing wrong with ${listed.format(ok)}.`];
  if (unknown.length) parts.push(`Not known yet: ${listed.format(unknown)}.`);
  if (levels.certificate === "none") parts.push("No client certificate is used.");
  return parts.join(" ");
}

function createArea([, label]) {
  return make(
    "li",
    {},
    make("span", { class: "glyph", "aria-hidden": "true" }),
    make("span", { class: "area", text: label }),
    make("span", { class: "level" }),
  );
}

function updateArea(element, name, level) {
  element.dataset.level = level;
  say(element.children[0], level === "info" ? GLYPHS.ok : GLYPHS[level]);
  say(element.children[2], WORDS[level] ?? NOTHING[name] ?? UNKNOWN);
}

// The browser's tab tells as much as fits: how bad it is, and whose sidecar it is.
function showTab(status, finding) {
  document.title = `${finding.title} · ${status.client_id} ${status.environment}`;
  showIcon(COLORS[finding.level]);
}

function showIcon(color) {
  const svg = `<svg xmlns="${SVG}" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${color}"/></svg>`;
  const address = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  if (byId("icon").getAttribute("href") !== address) byId("icon").setAttribute("href", address);
}
