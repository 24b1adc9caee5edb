// Building and keeping the document. Data become text nodes and never HTML.

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// An element with properties (class, text, attributes) and children.
function make(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

function draw(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") element.textContent = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Set only what differs, so that a selection, a focus or a reader is left alone.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

// Have ``parent`` hold one element for each item, in order; elements whose key stays are kept and updated.
function keep(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = known.get(name);
    if (element === undefined) {
      element = create(item);
      element.dataset.key = name;
    }
    known.delete(name);
    update(element, item);
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  for (const element of known.values()) element.remove();
}

// What counts down or up between two events: the server's time goes on by the browser's.
const time = { server: 0, received: 0 };
const now = () => time.server + (performance.now() - time.received) / 1000;
const running = new Map(); // element -> what it says at a moment

function run(element, words) {
  running.set(element, words);
  say(element, words(now()));
}

function stop(element) {
  running.delete(element);
}

setInterval(() => {
  const moment = now();
  for (const [element, words] of running) {
    if (element.isConnected) say(element, words(moment));
    else running.delete(element);
  }
}, 250);

// Light, dark, or as the system says.
const THEMES = ["auto", "light", "dark"];

function applyTheme(name) {
  document.documentElement.dataset.theme = name;
  say(byId("theme"), `Theme: ${name}`);
}

function storedTheme() {
  try {
    const name = localStorage.getItem("theme");
    return THEMES.includes(name) ? name : "auto";
  } catch {
    return "auto"; // storage is forbidden
  }
}

applyTheme(storedTheme());
byId("theme").addEventListener("click", () => {
  const name = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  applyTheme(name);
  try {
    localStorage.setItem("theme", name);
  } catch {
    // it then lasts as long as the page
  }
});
