// What a page gains with script: it follows what happens, and obeys one key for each thing to do.
//
//   <div data-live="/address/of/this/part" data-live-for="all | study key">...</div>
//
// A part with data-live asks for itself anew when /live tells of its study (of any, for "all"), and every half minute,
// so that waiting times are right. Behind it comes #condition: how much the page can be relied on, and how long the
// session lasts. Without script every link and every form works as it is.

const REFRESH_MS = 30_000;
const SOON_MS = 1_000; // changes come in bursts
const AT_ONCE_MS = 20; // several alerts are one question; the console hands the same rows to all who ask
const AGAIN_MS = 5_000;
const PATIENCE_MS = 15_000;
const OVERDUE_MS = 120_000; // browsers let pages in the background ask once a minute
const TYPING_MS = 10_000;
const WARNED_MS = 5 * 60_000;

// --- what the whole page says: that it may be old, that the session ends soon, how many wait ---

const TITLE = document.title;
const missing = new Set();
let waiting = 0;
let leavesAt = Infinity;
let leavesInAnyCase = false;

/** Whoever could not be asked lately; one of them is enough for a page to be old. */
function missed(whom) {
  missing.add(whom);
  document.documentElement.classList.add("cut-off");
}

function reached(whom) {
  missing.delete(whom);
  if (missing.size === 0) document.documentElement.classList.remove("cut-off");
}

/** Take in #condition as it came with a part; said anew only where it says something else. */
function take(fresh) {
  const shown = document.getElementById("condition");
  if (shown && fresh !== shown && fresh.textContent.trim() !== shown.textContent.trim()) {
    shown.replaceChildren(...fresh.childNodes);
  }
  leavesAt = Date.now() + 1000 * Number(fresh.dataset.left);
  leavesInAnyCase = "atLast" in fresh.dataset;
  entitle();
}

/** Alerts that wait and a session that ends stand in the title, for whoever looks at another window. */
function entitle() {
  const left = leavesAt - Date.now();
  const leaving = document.getElementById("leaving");
  if (leaving) {
    leaving.hidden = left > WARNED_MS;
    leaving.querySelector("button").hidden = leavesInAnyCase;
    const says = leaving.querySelector("[data-says]");
    const said = leaving.hidden ? "" : says.dataset.says.replace("{}", Math.max(1, Math.ceil(left / 60_000)));
    if (says.textContent !== said) says.textContent = said;
  }
  const title = (leaving && !leaving.hidden ? "⏳ " : "") + (waiting ? `(${waiting}) ` : "") + TITLE;
  if (document.title !== title) document.title = title;
}

function signedOut() {
  keepTyped();
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}&why=ended`);
}

document.getElementById("leaving")?.addEventListener("submit", async (event) => {
  if (parts.length === 0) return; // the page itself is asked for anew
  event.preventDefault();
  try {
    await fetch("/stay", { method: "POST", body: new URLSearchParams(new FormData(event.target)), redirect: "manual" });
  } catch {
    // The parts say so.
  }
  parts.forEach((part) => part.ask(0));
});

// --- parts ---

class Part {
  #timer = null;
  #due = Infinity;
  #turn = 0;
  #typedAt = 0;
  #arrived = new Set();

  constructor(element) {
    this.element = element;
    this.address = element.dataset.live;
    this.of = element.dataset.liveFor;
    this.heardAt = Date.now();
    this.count();
    element.addEventListener("input", () => (this.#typedAt = Date.now()));
    setInterval(() => this.ask(0), REFRESH_MS + Math.random() * 5_000);
  }

  concerns(key) {
    return this.of === "all" || this.of === key;
  }

  /** Ask for the part anew within some time; an earlier wish counts over a later one. */
  ask(within) {
    const due = Date.now() + within;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.load(), within);
  }

  arrived(key) {
    this.#arrived.add(key);
    this.ask(AT_ONCE_MS);
  }

  async load() {
    this.#due = Infinity;
    const turn = ++this.#turn;
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const answer = await fetch(this.address, { headers: { Accept: "text/html" }, redirect: "manual", signal });
      if (answer.type === "opaqueredirect" || answer.status === 401) return signedOut();
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (turn !== this.#turn) return; // a later question was answered sooner
      const condition = fresh.getElementById("condition");
      condition.remove();
      take(condition);
      if (this.isInUse()) return this.ask(TYPING_MS);
      this.heardAt = Date.now();
      reached(this);
      this.show(fresh.body.childNodes);
    } catch {
      if (turn !== this.#turn) return;
      missed(this);
      this.ask(AGAIN_MS);
    }
  }

  /** Nobody wants the field that they are typing in to be taken from under their fingers. */
  isInUse() {
    const typing = Date.now() - this.#typedAt < TYPING_MS;
    return typing && this.element.contains(document.activeElement) && document.activeElement.value !== "";
  }

  show(nodes) {
    const now = document.activeElement;
    const focused = this.element.contains(now) ? place(now) : null;
    const marked = focused && now.matches("input") ? [now.selectionStart, now.selectionEnd] : null;
    // A field that holds something is in use, whether somebody types or looks at the pictures meanwhile: it stays.
    const typed = [...this.element.querySelectorAll("input[id]")].filter((field) => field.value !== "");
    this.element.replaceChildren(...nodes);
    for (const field of typed) this.element.querySelector(`#${CSS.escape(field.id)}`)?.replaceWith(field);
    if (focused) this.element.querySelector(focused)?.focus({ preventScroll: true });
    if (marked && document.activeElement === now) now.setSelectionRange(...marked);
    for (const key of this.#arrived) this.element.querySelector(`[data-key="${key}"]`)?.classList.add("new");
    this.tell(this.#arrived.size);
    this.#arrived.clear();
    this.count();
  }

  tell(count) {
    const told = document.getElementById("told");
    const first = this.element.querySelector(".new .c-ai");
    if (told && count > 0) told.textContent = `${told.dataset.new}: ${first?.textContent.trim() ?? count}`;
  }

  count() {
    const counted = this.element.querySelector("[data-waiting]");
    if (counted) waiting = Number(counted.dataset.waiting);
    entitle();
  }
}

/** A selector that finds the element again after its part was replaced. */
function place(element) {
  if (element.id) return `#${element.id}`;
  const row = element.closest("tr[data-key]");
  if (row) return `tr[data-key="${row.dataset.key}"] a`;
  const form = element.closest("form");
  return form ? `form[action="${form.getAttribute("action")}"] button` : "a";
}

// --- what happens ---

/** The stream itself; everything is to be loaded once it is open: what happened before was told to nobody. */
class Stream {
  #source = null;
  #timer = null;

  constructor(tell) {
    this.tell = tell;
  }

  open() {
    this.#source = new EventSource("/live");
    this.#source.addEventListener("open", () => {
      this.tell({ kind: "up" });
      this.tell({ kind: "everything" });
    });
    for (const kind of ["everything", "signed-out", "change", "alert"]) {
      this.#source.addEventListener(kind, ({ data }) => this.tell({ kind, key: data }));
    }
    this.#source.addEventListener("error", () => {
      this.tell({ kind: "down" });
      // Refused, and not only broken off: the browser does not ask again by itself.
      if (this.#source.readyState === EventSource.CLOSED) this.#timer = setTimeout(() => this.open(), AGAIN_MS);
    });
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}

/**
 * One stream for all tabs: a browser opens six connections to a host, and a seventh tab would wait for ever. Who holds
 * the lock listens and tells the others. A tab that is looked at takes the lock: browsers freeze those that are not.
 */
class Shared {
  #channel = new BroadcastChannel("sinsok-live");
  #stream;
  #asking = null;
  #release = null;

  constructor(hear) {
    this.#channel.onmessage = ({ data }) => hear(data);
    this.#stream = new Stream((news) => {
      this.#channel.postMessage(news);
      hear(news);
    });
    this.ask({ steal: document.visibilityState === "visible" });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && !this.#release) this.ask({ steal: true });
    });
    window.addEventListener("pagehide", () => {
      this.#asking?.abort();
      this.#stream.close();
      this.#release?.();
      this.#channel.close();
    });
  }

  async ask({ steal }) {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const options = steal ? { steal } : { signal: asking.signal };
    try {
      await navigator.locks.request("sinsok-live", options, () => {
        this.#stream.open();
        return new Promise((release) => (this.#release = release));
      });
    } catch {
      if (asking.signal.aborted) return;
      this.#release = null;
      this.#stream.close();
      this.ask({ steal: false }); // another tab has taken it; this one is the next
    }
  }
}

function follow(parts) {
  const all = () => parts.forEach((part) => part.ask(AT_ONCE_MS));
  const hear = ({ kind, key }) => {
    if (kind === "up") reached("stream");
    else if (kind === "down") missed("stream");
    else if (kind === "everything") all();
    else if (kind === "signed-out") signedOut();
    else if (kind === "change") parts.forEach((part) => part.concerns(key) && part.ask(SOON_MS));
    else if (kind === "alert") parts.forEach((part) => part.concerns(key) && part.arrived(key));
  };
  // Neither is there where the console is reached without TLS from another machine.
  if (navigator.locks && window.BroadcastChannel) new Shared(hear);
  else new Stream(hear).open();
}

// --- keys ---

const keys = document.getElementById("keys");

/** Whoever speaks to their computer, or leans on the keyboard, can switch single keys off (WCAG 2.1.4). */
function keysAct() {
  return localStorage.getItem("sinsok-keys") !== "off";
}

function showKeys() {
  keys.hidden = false;
  keys.setAttribute("aria-pressed", String(keysAct()));
  document.documentElement.classList.toggle("no-keys", !keysAct());
}

/** The Latin letter of a key, also where the keyboard writes Hangul. */
function letter({ key, code }) {
  return /^[a-z]$/.test(key) || !/^Key[A-Z]$/.test(code) ? key : code.at(-1).toLowerCase();
}

function press(key) {
  if (key === "u" && document.querySelector(".study")) {
    location.assign("/worklist");
    return true;
  }
  if (key === "j" || key === "k") return step(key === "j" ? 1 : -1);
  const target = document.querySelector(`[data-press="${CSS.escape(key)}"]`);
  if (target instanceof HTMLFormElement) target.requestSubmit();
  else if (target instanceof HTMLInputElement) target.focus();
  else return false;
  return true;
}

function step(by) {
  const links = [...document.querySelectorAll(".worklist .c-study a")];
  if (links.length === 0) return false;
  const now = links.indexOf(document.activeElement);
  const next = now < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(now + by, 0), links.length - 1);
  links[next].focus();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
  if (event.target.matches("input:not([type=range]), textarea, select")) return;
  if (keysAct() && press(letter(event))) event.preventDefault();
});

if (keys) {
  keys.addEventListener("click", () => {
    localStorage.setItem("sinsok-keys", keysAct() ? "off" : "on");
    showKeys();
  });
  showKeys();
}

// --- what was typed ---

const person = () => document.querySelector(".who .name")?.textContent;

/** What somebody typed and could not send comes back with its form, to the same person in the same tab. */
function keepTyped() {
  const field = document.getElementById("reason");
  if (field?.value) sessionStorage.setItem("typed", JSON.stringify([person(), field.form.action, field.value]));
}

function giveBackTyped() {
  if (!person()) return; // the login page stands in between
  const [whose, action, value] = JSON.parse(sessionStorage.getItem("typed") ?? "[]");
  sessionStorage.removeItem("typed");
  const field = document.getElementById("reason");
  if (field && whose === person() && action === field.form.action) field.value = value;
}

document.addEventListener("submit", ({ target }) => {
  keepTyped();
  // One press is one act, however often the button is hit.
  if (target.id !== "leaving") {
    setTimeout(() => target.querySelectorAll("button").forEach((button) => (button.disabled = true)));
  }
});
window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
giveBackTyped();

// --- begin ---

const parts = [...document.querySelectorAll("[data-live]")].map((element) => new Part(element));
const condition = document.getElementById("condition");
if (condition) take(condition);
if (parts.some((part) => part.of)) follow(parts.filter((part) => part.of));
setInterval(() => {
  parts.filter((part) => Date.now() - part.heardAt > OVERDUE_MS).forEach(missed);
  entitle();
}, 5_000);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") parts.forEach((part) => part.ask(0));
});
