// SPDX-License-Identifier: GPL-2.0-only
// The map of memory: rows of cells, each in the colour of most of its pages.

import { counted, element, hex, number, percent, size, swatch } from "./format.js";
import { placeOf } from "./memory.js";

const CELL_ORDER = 9;
const STEP = 5;
const MOST_ROWS = 160;
const PURE = 0.9;
const HALF = 0.5;
const HATCH = 4;
const GUTTER = 92;
const AXIS = 18;
const NARROW = 720;
const SHOWN_USES = 6;

export class MemoryMap {
  // `views` are the ways to colour: {name, label, ramp, code(use, owner, order), label(code)}.
  constructor(place, memory, views, { pageSize, target, structPages, colours, hatched }) {
    this.memory = memory;
    this.views = views;
    this.pageSize = pageSize;
    this.target = target;
    this.pageCommand = structPages ? "page" : "list --pfn";
    this.codes = colours;
    this.hatched = hatched;
    this.view = views[0];
    this.only = null;
    this.levels = [];
    this.chosen = memory.start;
    this.build(place);
    this.legend();
    new ResizeObserver(() => this.resized()).observe(this.frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    for (const event of ["beforeprint", "afterprint"]) {
      addEventListener(event, () => {
        document.documentElement.classList.toggle("printed", event === "beforeprint");
        this.draw();
      });
    }
  }

  build(place) {
    this.canvas = element("canvas", {
      tabindex: "0",
      role: "application",
      "aria-label":
        "Map of memory. Arrow keys choose a cell, Enter shows its row larger, Escape goes back.",
      "aria-describedby": "map-details",
    });
    this.mark = element("div", { class: "mark" });
    this.frame = element("div", { class: "frame" }, this.canvas, this.mark);
    this.details = element("div", { id: "map-details", class: "details", "aria-live": "polite" });
    this.where = element("span", { class: "state", role: "status" });
    this.wider = button("Zoom out", () => this.zoomOut());
    this.closer = button("Zoom in", () => this.zoomIn());
    const by = element("select", { "aria-label": "Colour by" });
    by.append(...this.views.map((view) => element("option", { value: view.name }, view.title)));
    by.addEventListener("change", () => {
      this.view = this.views.find((view) => view.name === by.value);
      this.only = null;
      this.legend();
      this.draw();
    });
    const pfn = element("input", {
      type: "text",
      size: "10",
      placeholder: "0x0",
      "aria-label": "pfn",
    });
    const go = element("form", {}, pfn, button("Go to pfn", null, "submit"));
    go.addEventListener("submit", (event) => {
      event.preventDefault();
      this.goTo(Number(pfn.value.trim() || Number.NaN));
    });
    this.keys = element("ul", { class: "legend" });
    const colours = element("label", {}, "Colour by ", by);
    place.append(
      element("div", { class: "controls" }, this.wider, this.closer, this.where, colours, go),
      this.frame,
      this.details,
      this.keys,
    );
    const at = (event) => this.cellAt(event.offsetX, event.offsetY);
    this.canvas.addEventListener("mousemove", (event) => this.describe(at(event) ?? this.chosen));
    this.canvas.addEventListener("mouseleave", () => this.describe(this.chosen));
    this.canvas.addEventListener("click", (event) => this.choose(at(event) ?? this.chosen));
    this.canvas.addEventListener("dblclick", () => this.zoomIn());
    this.canvas.addEventListener("keydown", (event) => this.pressed(event));
  }

  resized() {
    const width = this.frame.clientWidth;
    if (width && width !== this.width) {
      this.width = width;
      this.columns = width < NARROW ? 7 : 9;
      const { start, end } = this.memory;
      let order = Math.max(CELL_ORDER, this.memory.order);
      while (this.rowsOf(start, end, order).length > MOST_ROWS) {
        order += 1;
      }
      this.levels = [{ start, end, order }];
      this.draw();
      this.choose(this.chosen);
    }
  }

  get level() {
    return this.levels[this.levels.length - 1];
  }

  // Return the first pfns of rows that have pages.
  rowsOf(start, end, order) {
    const pages = 2 ** (order + this.columns);
    const rows = [];
    const { starts, lengths } = this.memory;
    let i = Math.max(placeOf(starts, start), 0);
    let row = Math.floor(start / pages) * pages;
    while (row < end && i < starts.length) {
      while (i < starts.length && starts[i] + lengths[i] <= row) {
        i += 1;
      }
      if (i < starts.length && starts[i] < row + pages) {
        rows.push(row);
        row += pages;
      } else if (i < starts.length) {
        row = Math.floor(starts[i] / pages) * pages;
      }
    }
    return rows;
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    const all = (name) => [...Array(this.codes).keys()].map((i) => read(`${name}${i}`));
    const [classes, pale] = (this.view.ramp ? ["o", "q"] : ["c", "p"]).map(all);
    return { classes, pale, ink: read("faint"), hole: read("hole") };
  }

  draw() {
    if (!this.level) {
      return;
    }
    const { start, end, order } = this.level;
    this.rows = this.rowsOf(start, end, order);
    this.height = Math.min(Math.max(Math.floor(420 / this.rows.length), 7), 40);
    const scale = window.devicePixelRatio || 1;
    const height = AXIS + this.rows.length * this.height;
    this.canvas.width = Math.round(this.width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.height = `${height}px`;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const colours = this.colours();
    this.axis(context, colours.ink);
    for (const [i, row] of this.rows.entries()) {
      this.row(context, row, AXIS + i * this.height, colours);
    }
    const span = `${hex(start)} to ${hex(end - 1)}`;
    const cell = size(2 ** order * this.pageSize);
    const row = size(2 ** (order + this.columns) * this.pageSize);
    this.where.textContent = `pfns ${span}: cells of ${cell}, rows of ${row}`;
    this.wider.disabled = this.levels.length < 2;
    this.closer.disabled = order <= this.memory.order;
  }

  axis(context, ink) {
    context.fillStyle = ink;
    context.strokeStyle = ink;
    context.font = "11px ui-monospace, monospace";
    context.textBaseline = "top";
    const width = this.width - GUTTER;
    const row = 2 ** (this.level.order + this.columns) * this.pageSize;
    const parts = this.columns < 9 ? 2 : 4;
    for (let i = 0; i < parts; i += 1) {
      const x = Math.round(GUTTER + (i * width) / parts);
      context.fillText(`+${size((row * i) / parts)}`, x + 3, 2);
      context.fillRect(x, 4, 1, AXIS - 5);
    }
  }

  row(context, first, y, { classes, pale, ink, hole }) {
    const cells = 2 ** this.columns;
    const pages = 2 ** this.level.order;
    const width = this.width - GUTTER;
    const gap = this.height > 10 ? 2 : 1;
    if (this.height > 10 || (first / (cells * pages)) % 4 === 0) {
      context.fillStyle = ink;
      context.fillText(hex(first), 0, y + Math.max((this.height - gap - 11) / 2, -2));
    }
    const height = this.height - gap;
    this.cellCodes(first, cells, pages).forEach(([code, share], i) => {
      const left = GUTTER + Math.floor((i * width) / cells);
      const right = GUTTER + Math.floor(((i + 1) * width) / cells);
      if (code < 0) {
        context.fillStyle = hole;
        context.fillRect(left, y, right - left, height);
        return;
      }
      const dim = this.only !== null && code !== this.only;
      context.globalAlpha = dim ? 0.12 : 1;
      this.cell(context, [left, y, right - left, height], share, [classes[code], pale[code]]);
      if (code >= this.hatched) {
        hatch(context, [left, y, right - left, fullOf(height, share)], hole);
      }
      context.globalAlpha = 1;
    });
  }

  // Draw a cell in its colour, and pale below where pages are of other classes.
  cell(context, [x, y, width, height], share, [colour, pale]) {
    const full = fullOf(height, share);
    context.fillStyle = colour;
    context.fillRect(x, y, width, full);
    context.fillStyle = pale;
    context.fillRect(x, y + full, width, height - full);
  }

  // Return [code of most pages or -1, the part of its pages with it or 1] of each cell of a row.
  cellCodes(first, cells, pages) {
    const sums = new Float64Array(cells * this.codes);
    this.memory.each(first, first + cells * pages, (n, use, owner, order, pfn) => {
      const code = this.view.code(use, owner, order);
      let [at, left] = [pfn, n];
      while (left > 0) {
        const cell = Math.floor((at - first) / pages);
        const here = Math.min(left, first + (cell + 1) * pages - at);
        sums[cell * this.codes + code] += here;
        at += here;
        left -= here;
      }
    });
    return Array.from({ length: cells }, (_, cell) => {
      let [best, total] = [-1, 0];
      for (let code = 0; code < this.codes; code += 1) {
        const n = sums[cell * this.codes + code];
        total += n;
        if (n > (best < 0 ? 0 : sums[cell * this.codes + best])) {
          best = code;
        }
      }
      return [best, total ? sums[cell * this.codes + best] / total : 1];
    });
  }

  cellAt(x, y) {
    const row = this.rows[Math.floor((y - AXIS) / this.height)];
    if (row === undefined || x < GUTTER) {
      return null;
    }
    const column = Math.floor(((x - GUTTER) / (this.width - GUTTER)) * 2 ** this.columns);
    return row + Math.min(column, 2 ** this.columns - 1) * 2 ** this.level.order;
  }

  choose(pfn) {
    this.chosen = pfn;
    this.describe(pfn);
  }

  // Describe the cell of a pfn, and mark it.
  describe(pfn) {
    const pages = 2 ** this.level.order;
    const start = Math.floor(pfn / pages) * pages;
    const row = placeOf(this.rows, start);
    const column = (start - this.rows[row]) / pages;
    const cells = 2 ** this.columns;
    const width = this.width - GUTTER;
    const inside = row >= 0 && column < cells;
    this.mark.hidden = !inside;
    if (inside) {
      this.mark.style.left = `${GUTTER + (column * width) / cells}px`;
      this.mark.style.top = `${AXIS + row * this.height}px`;
      this.mark.style.width = `${Math.max(width / cells, 2)}px`;
      this.mark.style.height = `${this.height - 1}px`;
    }
    const said = pages === 1 ? this.ofPage(start) : this.ofCell(start, pages);
    this.details.replaceChildren(...said);
  }

  ofPage(pfn) {
    const page = this.memory.page(pfn);
    if (page === null) {
      return [element("p", {}, element("b", {}, `pfn ${hex(pfn)}`), ": no struct page")];
    }
    const list = element("dl");
    const facts = { pfn: hex(pfn), ...page };
    for (const [name, value] of Object.entries(facts)) {
      if (value !== null && value !== "") {
        const shown = element("dd", { "data-fact": name }, String(value));
        list.append(element("div", {}, element("dt", {}, name), shown));
      }
    }
    return [list, command(`pageinspect ${this.pageCommand} ${hex(pfn)}${this.target}`)];
  }

  ofCell(start, pages) {
    const end = start + pages;
    const uses = this.memory.usesOf(start, end);
    const all = uses.reduce((sum, [, n]) => sum + n, 0);
    const title = `pfns ${hex(start)} to ${hex(end - 1)}`;
    const line = element("p", {}, element("b", {}, title), `: ${counted(all, "page")} `);
    if (all === 0) {
      line.append("with a struct page");
    }
    for (const [use, n] of uses.slice(0, SHOWN_USES)) {
      const name = this.memory.names[use];
      const code = this.views[0].code(use, -1, -1);
      line.append(element("span", { class: "part" }, swatch(code), `${name} ${number(n)}`));
    }
    if (uses.length > SHOWN_USES) {
      line.append(`and ${counted(uses.length - SHOWN_USES, "more use")}`);
    }
    const owners = this.memory.largestOwners(start, end).slice(0, 3);
    const owned = owners.map(([owner, n]) => `${this.memory.ownerText(owner)} ${number(n)}`);
    const text = `Largest owner${owned.length > 1 ? "s" : ""}: ${owned.join("; ")}`;
    return [
      line,
      element("p", {}, owned.length ? text : ""),
      command(`pageinspect list --pfn ${hex(start)}+${pages}${this.target}`),
    ];
  }

  pressed(event) {
    const pages = 2 ** this.level.order;
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -(2 ** this.columns),
      ArrowDown: 2 ** this.columns,
    };
    if (event.key in steps) {
      const wanted = this.chosen + steps[event.key] * pages;
      this.choose(Math.min(Math.max(wanted, this.level.start), this.level.end - 1));
    } else if (event.key === "Enter" || event.key === "+") {
      this.zoomIn();
    } else if (event.key === "Escape" || event.key === "-") {
      this.zoomOut();
    } else {
      return;
    }
    event.preventDefault();
  }

  zoomIn() {
    const { order } = this.level;
    if (order > this.memory.order) {
      const pages = 2 ** (order + this.columns);
      const start = Math.floor(this.chosen / pages) * pages;
      const range = { start, end: start + pages };
      this.levels.push({ ...range, order: Math.max(order - STEP, this.memory.order) });
      this.draw();
      this.choose(this.chosen);
    }
  }

  zoomOut() {
    if (this.levels.length > 1) {
      this.levels.pop();
      this.draw();
      this.choose(this.chosen);
    }
  }

  goTo(pfn) {
    const { start, end } = this.memory;
    if (!Number.isInteger(pfn) || pfn < start || pfn >= end) {
      const said = Number.isInteger(pfn)
        ? `The map has the pfns ${hex(start)} to ${hex(end - 1)}.`
        : "That is not a pfn: write a number such as 0x1a2b or 6699.";
      this.details.replaceChildren(element("p", {}, said));
      return;
    }
    this.levels.length = 1;
    this.chosen = pfn;
    while (this.level.order > this.memory.order) {
      this.zoomIn();
    }
    this.choose(pfn);
  }

  // Show what the colours are, with the pages of each in all of memory.
  legend() {
    const pages = new Map();
    let all = 0;
    this.memory.each(this.memory.start, this.memory.end, (n, use, owner, order) => {
      const label = this.view.label(use, owner, order);
      const entry = pages.get(label) ?? { code: this.view.code(use, owner, order), n: 0 };
      entry.n += n;
      all += n;
      pages.set(label, entry);
    });
    const entries = [...pages].sort((a, b) =>
      this.view.ramp ? a[1].code - b[1].code : b[1].n - a[1].n,
    );
    this.keys.replaceChildren(...entries.map(([label, entry]) => this.key(label, entry, all)));
  }

  key(label, { code, n }, all) {
    const text = `${label} ${number(n)} (${percent(n, all)})`;
    const pressed = element("button", { type: "button", "aria-pressed": "false" });
    pressed.append(swatch(code, this.view.ramp), text);
    pressed.dataset.name = label;
    pressed.dataset.pages = n;
    pressed.title = "Show only cells of this colour";
    pressed.addEventListener("click", () => {
      this.only = this.only === code ? null : code;
      for (const each of this.keys.querySelectorAll("button")) {
        each.setAttribute("aria-pressed", String(each === pressed && this.only !== null));
      }
      this.draw();
    });
    return element("li", {}, pressed);
  }
}

// Return how much of a cell's height has its colour.
function fullOf(height, share) {
  return share < PURE ? Math.round((height * (share < HALF ? 1 : 2)) / 3) : height;
}

function hatch(context, [x, y, width, height], colour) {
  context.fillStyle = colour;
  for (let line = HATCH / 2; line < height; line += HATCH) {
    context.fillRect(x, y + line, width, 1);
  }
}

function button(text, pressed, type = "button") {
  const made = element("button", { type }, text);
  if (pressed) {
    made.addEventListener("click", pressed);
  }
  return made;
}

function command(text) {
  return element("p", {}, element("code", { class: "command" }, text));
}
