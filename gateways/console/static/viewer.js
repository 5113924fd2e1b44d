// A stack of slices on a canvas: scrolled, windowed and outlined without asking the server again.
//
//   <section data-content="what the study's pictures were when the page was made">
//     <p class="changed" hidden>They are others now: <a href="">load anew</a></p>
//     <figure class="viewer" data-series="/.../series/..." data-marks="none" data-finding="2" data-words='{...}'>
//       <img src="the opening slice in the first window" alt="">
//     </figure>
//   </section>
//
// Below data-series lie MARKS/stack.json (Stack.for_page() and what imagery.py adds), MARKS/outlines.json unless the
// marks are "none", and tiles/INDEX. data-finding (optional) is the one to open with, data-words (optional) translates
// WORDS. The picture is what is seen until the first tile is there, and without this script. Addresses name contents:
// 409 says that the study has others now.

const WORDS = {
  viewer: "Slices. Scroll with the wheel, the arrow keys or a finger.",
  brain: "Brain",
  subdural: "Subdural",
  stroke: "Stroke",
  bone: "Bone",
  key: "Key slice",
  outlines: "Outlines",
  slice: "Slice",
  marked: "marked",
  loading: "Loading …",
  failed: "This slice could not be loaded",
  noOutlines: "The outlines could not be loaded",
  noStack: "There are no pictures to show of this series. They are in the PACS.",
  away: "The pictures cannot be loaded at the moment.",
};
const TILES_BYTES = 128 * 2 ** 20; // what a phone's browser can spare
const AT_ONCE = 4;
const TRIES = 3;
const SVG = "http://www.w3.org/2000/svg";
const leaving = new AbortController(); // what a person wants to say waits for no picture: a browser has six connections

class Changed extends Error {}

/** A picture of the study as the page has it. Throws Changed where it has others now. */
async function ask(url) {
  const answer = await fetch(url, { signal: leaving.signal });
  if (answer.status === 409) throw new Changed(url);
  if (!answer.ok) throw Object.assign(new Error(`status ${answer.status}`), { status: answer.status });
  return answer;
}

function changed() {
  const note = document.querySelector(".changed");
  if (note) note.hidden = false;
}

/** Hounsfield units of a tile (gateways/console/pictures.py, encoded). */
export function decode(buffer, rows, columns) {
  const bytes = new Uint8Array(buffer);
  const count = rows * columns;
  if (bytes.length !== 2 * count) throw new Error(`a tile of ${bytes.length} bytes for ${count} voxels`);
  const voxels = new Int16Array(count);
  for (let row = 0, i = 0; row < rows; row++) {
    let value = 0;
    for (const end = i + columns; i < end; i++) {
      const zigzag = bytes[i] | (bytes[count + i] << 8);
      value += (zigzag >>> 1) ^ -(zigzag & 1);
      voxels[i] = value; // modulo 2 ** 16
    }
  }
  return voxels;
}

/** RGBA by 16-bit voxel: the linear function of PS3.3, C.11.2.1.2.1 (gateways/console/stack.py, Window.grey). */
export function table({ width, level }) {
  const rgba = new Uint8ClampedArray(4 * 65536);
  for (let i = 0; i < 65536; i++) {
    const voxel = (i << 16) >> 16;
    const share = (voxel - (level - 0.5)) / (width - 1) + 0.5;
    const grey = Math.floor(Math.min(Math.max(share, 0), 1) * 255 + 0.5);
    rgba[4 * i] = rgba[4 * i + 1] = rgba[4 * i + 2] = grey;
    rgba[4 * i + 3] = 255;
  }
  return new Uint32Array(rgba.buffer);
}

/** The tiles nearest to the slice that is looked at, as many as memory allows. */
class Tiles {
  #kept = new Map();
  #underWay = new Set();
  #failures = new Map();
  #wanted = [];

  constructor(url, { slices, rows, columns }, changed) {
    Object.assign(this, { url, slices, rows, columns, changed });
    this.most = Math.max(8, Math.floor(TILES_BYTES / (2 * rows * columns)));
  }

  get(index) {
    return this.#kept.get(index);
  }

  failed(index) {
    return (this.#failures.get(index) ?? 0) >= TRIES;
  }

  around(centre) {
    if (this.failed(centre)) this.#failures.delete(centre); // somebody came back to it
    const all = Array.from({ length: this.slices }, (_, index) => index);
    this.#wanted = all.sort((a, b) => Math.abs(a - centre) - Math.abs(b - centre)).slice(0, this.most);
    if (this.#kept.size > this.most) {
      const near = new Set(this.#wanted);
      for (const index of this.#kept.keys()) if (!near.has(index)) this.#kept.delete(index);
    }
    this.#fetch();
  }

  #fetch() {
    // The first one alone: nothing else may delay it.
    const most = this.#kept.size === 0 ? 1 : AT_ONCE;
    for (const index of this.#wanted) {
      if (this.#underWay.size >= most) return;
      if (!this.#kept.has(index) && !this.#underWay.has(index) && !this.failed(index)) this.#load(index);
    }
  }

  async #load(index) {
    this.#underWay.add(index);
    try {
      const answer = await ask(`${this.url}/${index}`);
      this.#kept.set(index, decode(await answer.arrayBuffer(), this.rows, this.columns));
      this.#failures.delete(index);
    } catch (error) {
      if (error instanceof Changed) changed();
      if (error instanceof Changed || error.status < 500) this.#failures.set(index, TRIES); // it will say so again
      const times = Math.min((this.#failures.get(index) ?? 0) + 1, TRIES);
      this.#failures.set(index, times);
      if (times < TRIES) await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** times));
    }
    this.#underWay.delete(index);
    this.changed(index);
    this.#fetch();
  }
}

class Viewer {
  #drawing = false;
  #drag = null;
  #wheel = 0;
  #outlines = null;

  constructor(figure, stack, words) {
    const { series, marks, finding } = figure.dataset;
    Object.assign(this, { figure, stack, words });
    this.opening = this.index = (finding && this.keyOf(finding)) ?? stack.opening;
    this.first = this.window = stack.windows[0];
    this.keys = [...new Set(stack.keys)].filter((key) => key !== null);
    this.build();
    this.listen();
    this.tiles = new Tiles(`${series}/tiles`, stack, (index) => index === this.index && this.draw());
    this.show(this.index);
    if (marks !== "none") this.loadOutlines(`${series}/${marks}/outlines.json`);
  }

  /** The key slice of a finding of the study, by its number there; none where it lies in another series. */
  keyOf(finding) {
    return this.stack.keys[(this.stack.findings ?? []).indexOf(Number(finding))] ?? undefined;
  }

  build() {
    const { rows, columns, slices, edges, marked, windows, notice, legend = [], cautions = [] } = this.stack;
    const { figure, words } = this;
    figure.tabIndex = 0;
    figure.setAttribute("aria-label", words.viewer);
    this.picture = figure.querySelector("img");
    this.canvas = element("canvas", { width: columns, height: rows });
    this.pixels = this.canvas.getContext("2d", { alpha: false });
    this.image = this.pixels.createImageData(columns, rows);
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.place = element("div", { className: "slice" }, this.picture, this.canvas, this.svg);
    for (const [edge, letter] of Object.entries(edges)) {
      this.place.append(element("span", { className: `edge ${edge}`, textContent: letter }));
    }
    this.told = element("p", { className: "told" });
    this.said = element("p", { className: "window" });
    this.stage = element(
      "div",
      { className: "stage" },
      this.place,
      this.said,
      this.told,
      element("p", { className: "notice", textContent: notice }),
    );
    this.counter = element("output", { className: "counter" });
    this.slider = element("input", { type: "range", min: 0, max: slices - 1, step: 1 });
    this.slider.setAttribute("aria-label", words.slice);
    const strip = document.createElementNS(SVG, "svg");
    strip.setAttribute("class", "strip");
    strip.setAttribute("viewBox", `0 0 ${slices} 1`);
    strip.setAttribute("preserveAspectRatio", "none");
    for (const index of marked) {
      const box = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ x: index, y: 0, width: 1, height: 1 })) box.setAttribute(name, value);
      strip.append(box);
    }
    this.presets = windows.map((one) => button(words[one.name] ?? one.name, () => this.see(one)));
    this.toggle = button(words.outlines, () => this.toggleOutlines());
    this.toggle.setAttribute("aria-pressed", "true");
    this.toggle.disabled = true;
    const toKey = button(words.key, () => this.toKey());
    toKey.disabled = this.keys.length === 0;
    const parts = [
      this.stage,
      element("div", { className: "way" }, this.counter, element("div", { className: "along" }, strip, this.slider)),
      element("div", { className: "tools" }, ...this.presets, toKey, this.toggle),
      list("legend", legend, ({ name, label }) => ({ className: `label-${label}`, textContent: name })),
      list("cautions", cautions, (textContent) => ({ textContent })),
    ];
    figure.append(...parts.filter((part) => part !== null));
    figure.classList.add("built");
    this.fit();
    new ResizeObserver(() => this.fit()).observe(this.stage);
  }

  listen() {
    const { figure, stage } = this;
    figure.addEventListener("keydown", (event) => this.key(event));
    stage.addEventListener("wheel", (event) => this.turn(event), { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("pointerdown", (event) => this.grab(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    // One finger never moves the page: otherwise the browser takes a quick one for a fling and ignores the next tap.
    stage.addEventListener("touchmove", (event) => event.touches.length === 1 && event.preventDefault(), {
      passive: false,
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (this.#drag = null));
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    window.addEventListener("resize", () => this.fit()); // also another screen with other pixels
  }

  /** As large as there is room; where it costs little, a whole number of the screen's pixels for each voxel. */
  fit() {
    const { rows, columns, aspect } = this.stack;
    const dots = window.devicePixelRatio;
    let scale = dots * Math.min(this.stage.clientWidth / columns, this.stage.clientHeight / (rows * aspect));
    const whole = Math.floor(scale);
    if (whole >= 1 && scale / whole < 1.15) scale = whole;
    this.place.style.width = `${(columns * scale) / dots}px`;
    this.place.style.height = `${(rows * aspect * scale) / dots}px`;
    // Larger voxels would be seen as squares.
    this.place.classList.toggle("exact", aspect === 1 && (scale === 1 || scale === 2));
  }

  show(index) {
    this.index = Math.min(Math.max(index, 0), this.stack.slices - 1);
    this.tiles.around(this.index);
    this.draw();
  }

  see(chosen) {
    this.window = chosen;
    this.draw();
  }

  toKey() {
    // The leading finding's first, and from each to the next.
    const { keys } = this;
    if (keys.length > 0) this.show(keys[(keys.indexOf(this.index) + 1) % keys.length]);
  }

  toggleOutlines() {
    if (this.toggle.disabled) return;
    this.toggle.setAttribute("aria-pressed", String(this.toggle.getAttribute("aria-pressed") === "false"));
    this.draw();
  }

  /** Once for each frame of the screen, however often it is asked for. */
  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.drawNow();
    });
  }

  drawNow() {
    const { index, window: seen } = this;
    const { slices, marked } = this.stack;
    const voxels = this.tiles.get(index);
    if (voxels) {
      if (this.tableOf !== seen) [this.tableOf, this.table] = [seen, table(seen)];
      const rgba = new Uint32Array(this.image.data.buffer);
      const words = new Uint16Array(voxels.buffer);
      for (let i = 0; i < words.length; i++) rgba[i] = this.table[words[i]];
      this.pixels.putImageData(this.image, 0, 0);
    }
    // Never the pixels of one slice under the number of another.
    const still = !voxels && this.picture !== null && index === this.opening && seen === this.first;
    this.canvas.hidden = !voxels;
    if (this.picture) this.picture.hidden = !still;
    this.told.textContent = voxels || still ? "" : this.tiles.failed(index) ? this.words.failed : this.words.loading;
    this.canvas.dataset.slice = voxels ? index : "";
    this.drawOutlines(Boolean(voxels || still));
    this.said.textContent = `W ${seen.width} L ${seen.level}`;
    const isMarked = marked.includes(index);
    this.counter.textContent = `${index + 1}/${slices}${isMarked ? ` ${this.words.marked}` : ""}`;
    this.counter.classList.toggle("marked", isMarked);
    this.slider.value = index;
    this.presets.forEach((one, number) => one.setAttribute("aria-pressed", String(this.stack.windows[number] === seen)));
  }

  drawOutlines(seen) {
    const wanted = seen && this.toggle.getAttribute("aria-pressed") === "true";
    const paths = wanted ? Object.entries(this.#outlines?.[this.index] ?? {}) : [];
    this.svg.replaceChildren(
      ...paths.map(([label, data]) => {
        const path = document.createElementNS(SVG, "path");
        path.setAttribute("d", data);
        path.setAttribute("class", `label-${label}`);
        return path;
      }),
    );
  }

  async loadOutlines(url) {
    try {
      this.#outlines = await (await ask(url)).json();
      this.toggle.disabled = false;
    } catch (error) {
      if (error instanceof Changed) changed();
      this.toggle.textContent = this.words.noOutlines; // not as if nothing were marked
    }
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 5, PageUp: -5 };
    const preset = this.stack.windows[Number(event.key) - 1];
    if (event.key in steps) this.show(this.index + steps[event.key]);
    else if (event.key === "Home") this.show(0);
    else if (event.key === "End") this.show(this.stack.slices - 1);
    else if (event.code === "KeyO") this.toggleOutlines();
    else if (event.code === "KeyK") this.toKey();
    else if (preset) this.see(preset);
    else return;
    event.preventDefault();
  }

  turn(event) {
    if (event.ctrlKey) return; // zooms the page
    event.preventDefault();
    if (event.deltaMode !== 0 || Math.abs(event.deltaY) >= 50) {
      this.show(this.index + Math.sign(event.deltaY)); // a notch of a wheel
      return;
    }
    this.#wheel += event.deltaY; // a touchpad, in small steps
    const steps = Math.trunc(this.#wheel / 30);
    this.#wheel -= 30 * steps;
    if (steps !== 0) this.show(this.index + steps);
  }

  grab(event) {
    if (!event.isPrimary) {
      this.#drag = null; // a second finger: the page is zoomed
      return;
    }
    this.figure.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    const { clientX: x, clientY: y, button: pressed } = event;
    this.#drag = { x, y, windowing: pressed === 2, index: this.index, window: this.window };
  }

  move(event) {
    const drag = this.#drag;
    if (!drag || !event.isPrimary) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.windowing) {
      const step = Math.min(Math.max(this.stage.clientHeight / this.stack.slices, 4), 16);
      this.show(drag.index + Math.trunc(dy / step));
      return;
    }
    const { width, level } = drag.window;
    const speed = Math.max(width / 200, 0.5);
    this.see({ width: Math.max(Math.round(width + dx * speed), 2), level: Math.round(level + dy * speed) });
  }
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function list(className, items, properties) {
  return items.length > 0 ? element("ul", { className }, ...items.map((one) => element("li", properties(one)))) : null;
}

function button(text, pressed) {
  const made = element("button", { type: "button", textContent: text });
  made.addEventListener("click", pressed);
  return made;
}

/** The viewer of a figure, once it is known what there is to see. */
async function open(figure) {
  const words = { ...WORDS, ...JSON.parse(figure.dataset.words ?? "{}") };
  const { series, marks } = figure.dataset;
  for (let times = 0; ; times++) {
    try {
      const stack = await (await ask(`${series}/${marks}/stack.json`)).json();
      return new Viewer(figure, stack, words);
    } catch (error) {
      if (error instanceof Changed) changed();
      const gone = error instanceof Changed || error.status < 500;
      if (!gone && times + 1 < TRIES) {
        await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** times));
        continue;
      }
      if (!leaving.signal.aborted) {
        figure.replaceChildren(element("p", { className: "none", textContent: gone ? words.noStack : words.away }));
      }
      return null;
    }
  }
}

const figures = [...document.querySelectorAll("figure.viewer")];
let viewer = null;
Promise.all(figures.map(open)).then(([first]) => {
  viewer = first ?? null;
  if (viewer && document.activeElement === document.body) viewer.figure.focus({ preventScroll: true });
});

// A finding leads to its key slice: here, as long as the page has the pictures that it is of, else by its address.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-finding]");
  if (!link || !viewer || event.ctrlKey || event.metaKey || document.querySelector(".changed:not([hidden])")) return;
  const key = viewer.keyOf(link.dataset.finding);
  if (key === undefined) return;
  event.preventDefault();
  viewer.show(key);
  viewer.figure.scrollIntoView({ block: "nearest" });
});

// The page's other part is asked for anew whenever something happens; it says which pictures the study has now.
const shown = document.querySelector(".pictures")?.dataset.content;
const state = document.getElementById("state");
if (state && shown !== undefined) {
  new MutationObserver(() => {
    const now = state.querySelector("[data-content]")?.dataset.content;
    if (now !== undefined && now !== shown) changed();
  }).observe(state, { childList: true });
}

document.addEventListener("submit", (event) => event.defaultPrevented || leaving.abort());
