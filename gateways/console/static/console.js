// What a page gains with script: it follows what happens, and obeys one key for each thing to do.
//
//   <div data-live="/address/of/this/part" data-live-for="all | study key">...</div>
//
// A part with data-live asks for itself anew when /live tells of its study (of any, for "all"), and every half minute,
// so that waiting times are right. Without script every link and every form works as it is.

const REFRESH_MS = 30_000;
const SOON_MS = 1_000; // changes come in bursts
const AT_ONCE_MS = 100;

class Part {
  #timer = null;
  #due = Infinity;
  #arrived = new Set();

  constructor(element) {
    this.element = element;
    this.address = element.dataset.live;
    this.of = element.dataset.liveFor;
    this.count();
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
    if (this.isInUse()) return this.ask(SOON_MS);
    try {
      const answer = await fetch(this.address, { headers: { Accept: "text/html" }, redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 401) return signedOut();
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!this.isInUse()) this.show(fresh.body.childNodes);
    } catch {
      // The server is away; the stream says so, and the next time may do.
    }
  }

  /** Nobody wants what they are typing, or choosing from, to be replaced. */
  isInUse() {
    const field = document.activeElement;
    return this.element.contains(field) && field.matches("input") && field.value !== "";
  }

  show(nodes) {
    const focused = this.element.contains(document.activeElement) ? place(document.activeElement) : null;
    this.element.replaceChildren(...nodes);
    if (focused) this.element.querySelector(focused)?.focus({ preventScroll: true });
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

  /** How many alerts wait stands in the title, for whoever looks at another window. */
  count() {
    const waiting = Number(this.element.querySelector("[data-waiting]")?.dataset.waiting ?? 0);
    document.title = (waiting ? `(${waiting}) ` : "") + document.title.replace(/^\(\d+\) /, "");
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

function signedOut() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

function follow(parts) {
  const stream = new EventSource("/live");
  const all = () => parts.forEach((part) => part.ask(AT_ONCE_MS));
  stream.addEventListener("open", () => document.documentElement.classList.remove("cut-off"));
  stream.addEventListener("everything", all);
  stream.addEventListener("signed-out", signedOut);
  stream.addEventListener("change", ({ data }) => parts.forEach((part) => part.concerns(data) && part.ask(SOON_MS)));
  stream.addEventListener("alert", ({ data }) => parts.forEach((part) => part.concerns(data) && part.arrived(data)));
  let broken = false;
  stream.addEventListener("error", () => {
    broken = true;
    document.documentElement.classList.add("cut-off");
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => follow(parts), 5_000); // refused: ask again later
  });
  // What happened in between was told to nobody.
  stream.addEventListener("open", () => {
    if (broken) all();
    broken = false;
  });
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
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
  if (event.target.matches("input:not([type=range]), textarea, select")) return;
  if (press(letter(event))) event.preventDefault();
});

// One press is one act, however often the button is hit.
document.addEventListener("submit", ({ target }) => {
  setTimeout(() => target.querySelectorAll("button").forEach((button) => (button.disabled = true)));
});
window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

const parts = [...document.querySelectorAll("[data-live]")].map((element) => new Part(element));
if (parts.some((part) => part.of)) follow(parts.filter((part) => part.of));
