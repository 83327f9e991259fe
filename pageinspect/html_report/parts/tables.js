// SPDX-License-Identifier: GPL-2.0-only
// Long tables that can be sorted and filtered.

import { counted, element, number, size, swatch } from "./format.js";

const FIRST_ROWS = 15;
const MORE_ROWS = 200;
const SHORT = 16;
const MANY = 8;

const SHOWN = {
  text: (value) => value,
  number: (value) => String(value),
  pages: number,
  bytes: (value) => (value ? size(value) : "0"),
};

// The class of a column: n for numbers, s for short text, t for text that may wrap.
function widthOf([, kind, values]) {
  if (kind !== "text") {
    return "n";
  }
  return values.every((value) => (value ?? "").length <= SHORT) ? "s" : "t";
}

// `columns` are [heading, kind, values, spare]; spare ones are not in a narrow window. `codes` has the colour of each row, or is null.
export class LongTable {
  constructor(place, { title, noun, columns, codes, sorted, left }) {
    this.columns = columns;
    this.widths = columns.map(widthOf);
    this.codes = codes;
    this.noun = noun;
    this.left = left;
    this.length = columns[0][2].length;
    this.most = FIRST_ROWS;
    this.sorted = sorted;
    this.falling = true;
    this.filter = element("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": `Filter ${title}`,
      spellcheck: "false",
    });
    this.filter.addEventListener("input", () => this.changed());
    this.state = element("span", { class: "state", role: "status" });
    this.head = element("tr");
    this.body = element("tbody");
    this.more = element("button", { type: "button", class: "more" });
    this.more.addEventListener("click", () => {
      this.most += MORE_ROWS;
      this.show();
    });
    const table = element(
      "table",
      { class: columns.length > MANY ? "long dense" : "long" },
      element("caption", { class: "hidden" }, title),
      element("thead", {}, this.head),
      this.body,
    );
    const scroll = element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
      table,
    );
    place.append(element("div", { class: "controls" }, this.filter, this.state), scroll, this.more);
    columns.forEach(([heading, kind, , spare], i) => {
      const button = element("button", { type: "button" }, heading);
      button.addEventListener("click", () => this.sortBy(i));
      this.head.append(
        element("th", { scope: "col", class: classes(kind === "text" ? "" : "n", spare) }, button),
      );
    });
    this.changed();
  }

  sortBy(i) {
    this.falling = i === this.sorted ? !this.falling : this.columns[i][1] !== "text";
    this.sorted = i;
    this.changed();
  }

  // Find the rows to show, and their order.
  changed() {
    const wanted = this.filter.value.toLowerCase();
    const texts = this.columns.filter(([, kind]) => kind === "text" || kind === "number");
    this.rows = [];
    for (let row = 0; row < this.length; row += 1) {
      if (
        texts.some(([, , values]) =>
          String(values[row] ?? "")
            .toLowerCase()
            .includes(wanted),
        )
      ) {
        this.rows.push(row);
      }
    }
    const values = this.columns[this.sorted][2];
    const sign = this.falling ? -1 : 1;
    this.rows.sort((a, b) => sign * compared(values[a], values[b]) || a - b);
    this.most = FIRST_ROWS;
    this.show();
  }

  show() {
    [...this.head.children].forEach((cell, i) => {
      const order = this.falling ? "descending" : "ascending";
      cell.setAttribute("aria-sort", i === this.sorted ? order : "none");
    });
    this.body.replaceChildren(...this.rows.slice(0, this.most).map((row) => this.line(row)));
    const left = this.rows.length - this.most;
    this.more.hidden = left <= 0;
    const next = left > MORE_ROWS ? `${number(MORE_ROWS)} more of ${number(left)}` : "all";
    this.more.textContent = `Show ${next}`;
    const all = this.length === this.rows.length ? "" : ` of ${number(this.length)}`;
    const cut = this.left ? `; ${counted(this.left, "smaller one")} left out of this file` : "";
    this.state.textContent = `${number(this.rows.length)}${all} ${this.noun}${cut}`;
  }

  line(row) {
    return element(
      "tr",
      {},
      ...this.columns.map(([, kind, values, spare], i) => {
        const value = values[row] ?? null;
        const cell = element("td", { class: classes(this.widths[i], spare) });
        if (i === 0 && this.codes) {
          cell.append(swatch(this.codes[row]));
        }
        if (value !== null) {
          const text = SHOWN[kind](value);
          const long = this.widths[i] === "t" && text.length > SHORT;
          cell.append(long ? element("span", { class: "name", title: text }, text) : text);
        }
        return cell;
      }),
    );
  }
}

function classes(width, spare) {
  return spare ? `${width} spare` : width;
}

function compared(a, b) {
  if (a === b) {
    return 0;
  }
  if (a === null || b === null) {
    return a === null ? -1 : 1;
  }
  return a < b ? -1 : 1;
}
