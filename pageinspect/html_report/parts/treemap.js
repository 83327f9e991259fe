// SPDX-License-Identifier: GPL-2.0-only
// Owners as areas: kinds, and the names of a kind when it is opened.

import { counted, element, percent, quoted, size } from "./format.js";

const MOST_NAMES = 80;
const LEAST_SHARE = 0.002;

// Return [x, y, width, height] of each of `sizes`, which fall, as parts of a box.
// Squarified treemaps (Bruls, Huizing, van Wijk): each row is as near to squares as it gets.
export function squares(sizes, width, height) {
  const total = sizes.reduce((sum, each) => sum + each, 0);
  const areas = sizes.map((each) => (each / total) * width * height);
  const found = [];
  let [x, y, w, h] = [0, 0, width, height];
  for (let i = 0; i < areas.length; ) {
    const row = rowOf(areas, i, Math.min(w, h));
    const sum = row.reduce((all, area) => all + area, 0);
    const across = w >= h;
    const thick = sum ? sum / Math.min(w, h) : 0;
    let along = 0;
    for (const area of row) {
      const long = thick ? area / thick : 0;
      found.push(across ? [x, y + along, thick, long] : [x + along, y, long, thick]);
      along += long;
    }
    [x, y, w, h] = across ? [x + thick, y, w - thick, h] : [x, y + thick, w, h - thick];
    i += row.length;
  }
  return found;
}

// Return the areas from number `first` on that stand in one row along a side.
function rowOf(areas, first, side) {
  let last = first;
  let sum = areas[first];
  while (last + 1 < areas.length) {
    const larger = sum + areas[last + 1];
    const before = worst(areas[first], areas[last], sum, side);
    if (worst(areas[first], areas[last + 1], larger, side) > before) {
      break;
    }
    sum = larger;
    last += 1;
  }
  return areas.slice(first, last + 1);
}

function worst(most, least, sum, side) {
  const square = side * side;
  return Math.max((square * most) / (sum * sum), (sum * sum) / (square * least));
}

export class Treemap {
  constructor(place, data) {
    this.data = data;
    this.kind = null;
    this.all = data.kinds.reduce((sum, kind) => sum + kind.pages, 0);
    const free = data.kinds.filter((kind) => kind.name === "free");
    this.withFree = element("input", { type: "checkbox" });
    this.withFree.checked = free.every((kind) => kind.pages < this.all / 3);
    this.withFree.addEventListener("change", () => this.open(null));
    this.free = element("label", {}, this.withFree, " with free memory");
    this.back = element("button", { type: "button" }, "All kinds");
    this.back.addEventListener("click", () => this.open(null, true));
    this.where = element("span", { class: "state", role: "status" });
    this.box = element("div", { class: "treemap", role: "group", "aria-label": "Owners by size" });
    this.about = element("div", { class: "details", "aria-live": "polite" });
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.kind !== null) {
        this.open(null, true);
      }
    });
    place.append(
      element("div", { class: "controls" }, this.back, this.where, this.free),
      this.box,
      this.about,
    );
    this.open(null);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  // Show the names of a kind, or all kinds.
  open(kind, focus = false) {
    const before = this.kind;
    this.kind = kind;
    this.back.disabled = kind === null;
    this.free.hidden = kind !== null;
    this.about.replaceChildren();
    this.areas = kind === null ? this.ofKinds() : this.ofNames(kind);
    const pages = this.areas.reduce((sum, area) => sum + area.pages, 0);
    const memory = `${counted(pages, "page")}, ${this.size(pages)}`;
    const left = this.all - pages;
    if (kind !== null) {
      this.where.textContent = `${kind.name}: ${memory}, ${this.share(pages)}`;
    } else if (left) {
      const free = `${this.size(left)} of free memory (${percent(left, this.all)})`;
      this.where.textContent = `${memory}, without ${free}`;
    } else {
      this.where.textContent = memory;
    }
    this.draw();
    if (focus || kind !== null) {
      const place = kind === null ? this.areas.findIndex((area) => area.kind === before) : 0;
      this.box.children[Math.max(place, 0)]?.focus();
    }
  }

  size(pages) {
    return size(pages * this.data.pageSize);
  }

  // Shares are of all memory, whether or not free memory is shown.
  share(pages) {
    return `${percent(pages, this.all)} of memory`;
  }

  ofKinds() {
    return this.data.kinds
      .filter((kind) => kind.pages && (this.withFree.checked || kind.name !== "free"))
      .sort((a, b) => b.pages - a.pages)
      .map((kind) => ({ label: kind.name, pages: kind.pages, code: kind.code, kind }));
  }

  ofNames(kind) {
    const { owners } = this.data;
    const named = [];
    let [n, pages] = kind.others;
    for (let i = 0; i < owners.pages.length; i += 1) {
      if (this.data.kinds[owners.kind[i]] === kind && owners.pages[i]) {
        if (named.length < MOST_NAMES && owners.pages[i] > kind.pages * LEAST_SHARE) {
          named.push({ label: owners.name[i] || kind.name, pages: owners.pages[i], owner: i });
        } else {
          n += 1;
          pages += owners.pages[i];
        }
      }
    }
    if (pages) {
      named.push({ label: counted(n, "smaller owner"), pages });
    }
    named.sort((a, b) => b.pages - a.pages);
    return named.map((area) => ({ ...area, code: kind.code, kind }));
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.box;
    const places = squares(
      this.areas.map((area) => area.pages),
      width,
      height,
    );
    const focused = [...this.box.children].indexOf(document.activeElement);
    this.box.replaceChildren(
      ...this.areas.map((area, i) => this.tile(area, places[i], [width, height])),
    );
    this.box.children[focused]?.focus();
  }

  tile(area, [x, y, w, h], [width, height]) {
    const memory = this.size(area.pages);
    const pages = counted(area.pages, "page");
    const text = `${area.label}: ${pages}, ${memory}, ${this.share(area.pages)}`;
    const tile = element("button", {
      type: "button",
      class: `tile f${area.code}`,
      "aria-label": text,
      title: text,
    });
    tile.style.left = `${(100 * x) / width}%`;
    tile.style.top = `${(100 * y) / height}%`;
    tile.style.width = `${(100 * w) / width}%`;
    tile.style.height = `${(100 * h) / height}%`;
    const label = shortened(area.label);
    if (w > Math.min(24 + 7 * label.length, 90) && h > 28) {
      tile.append(element("b", {}, label));
      if (h > 46 && w > 80) {
        tile.append(element("span", {}, memory));
      }
    }
    tile.addEventListener("click", () => {
      if (this.kind === null) {
        this.open(area.kind);
      } else {
        this.describe(area);
      }
    });
    return tile;
  }

  // Describe one owner below the areas.
  describe(area) {
    const { owners, target } = this.data;
    const name = area.owner === undefined ? "" : owners.name[area.owner];
    // Commands take * for any letters.
    const wanted = owners.cut.includes(area.owner) ? name.replaceAll("…", "*") : name;
    const owner = name ? `${area.kind.name}:${wanted}` : area.kind.name;
    const lines = [
      element("b", {}, name ? `${area.kind.name}: ${name}` : `${area.kind.name}: ${area.label}`),
      ` — ${counted(area.pages, "page")}, ${this.size(area.pages)}, ${this.share(area.pages)}`,
    ];
    for (const [what, values] of [
      ["file system", owners.filesystem],
      ["caller", owners.caller],
    ]) {
      const value = area.owner === undefined ? "" : values[area.owner];
      if (value && value !== name) {
        lines.push(`, ${what} ${value}`);
      }
    }
    const command = `pageinspect list --owner ${quoted(owner)}${target}`;
    this.about.replaceChildren(
      element("p", {}, ...lines),
      element("code", { class: "command" }, command),
    );
  }
}

// Paths differ at their ends.
function shortened(label) {
  return (label.startsWith("/") && label.split("/").at(-1)) || label;
}
