// The events, and what the page says while there are none.

const STALE = 5000; // milliseconds without an event; one comes each second
const AGAIN = 4000; // milliseconds until another try, where the browser does not try by itself
const live = { source: null, heard: performance.now(), begun: performance.now(), fresh: false };

const HANDLERS = {
  status: (status) => {
    time.server = status.time;
    time.received = performance.now();
    list.slow = status.slow_seconds;
    proxy = status.proxy;
    showIdentity(status);
    showFindings(status);
    showPanels(status);
    showStart(status);
  },
  calls: takeCalls,
  history: showHistory,
};

function connect() {
  live.source?.close();
  live.source = new EventSource("/events");
  for (const [name, handle] of Object.entries(HANDLERS)) {
    live.source.addEventListener(name, (event) => {
      live.heard = performance.now();
      handle(JSON.parse(event.data));
      showLive();
    });
  }
  live.source.addEventListener("error", showLive);
}

function showIdentity(status) {
  say(byId("client"), status.client_id);
  say(byId("environment"), status.environment);
  byId("environment").dataset.environment = status.environment;
  run(byId("about"), (moment) => `${status.version}, up ${duration(status.uptime_seconds + moment - status.time)}`);
  document.body.classList.remove("waiting");
}

function showLive() {
  const silent = performance.now() - live.heard;
  const stale = silent > STALE;
  document.body.classList.toggle("stale", stale);
  byId("live").dataset.state = stale ? "stale" : time.server ? "live" : "connecting";
  say(byId("live-text"), stale ? "No news" : time.server ? "Live" : "Connecting");
  show(byId("stale"), stale);
  if (!stale) return;
  const since = time.server ? `What you see is of ${clock(time.server)}` : "There is nothing to see yet";
  const why = live.source?.readyState === EventSource.CLOSED
    ? "the sidecar refuses, is gone, or has too many pages open"
    : "the sidecar is gone, or busy, or the network to it is";
  say(byId("stale"), `No news for ${duration(silent / 1000)}: ${why}. ${since}. Trying again.`);
  document.title = `No news · ${byId("client").textContent || "mangopay-sidecar"}`;
  showIcon(COLORS.none);
}

setInterval(() => {
  showLive();
  const closed = live.source === null || live.source.readyState === EventSource.CLOSED;
  if (closed && !document.hidden && performance.now() - live.begun > AGAIN) {
    live.begun = performance.now();
    connect();
  }
}, 500);

// A page that nobody sees costs nothing, and leaves its connection to others.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    live.source?.close();
    live.source = null;
  } else {
    live.heard = performance.now();
    connect();
  }
});

if (!document.hidden) connect();
