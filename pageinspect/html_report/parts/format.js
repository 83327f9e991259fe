// SPDX-License-Identifier: GPL-2.0-only
// Makes text and elements. Names from the kernel are set as text, never as HTML.

const PREFIXES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function number(n) {
  return n.toLocaleString("en-US");
}

// A number of bytes in at most four digits, as in the tables of reports.
export function size(bytes) {
  let value = bytes;
  let prefix = 0;
  while (Math.abs(value) >= 1024 && prefix < PREFIXES.length - 1) {
    value /= 1024;
    prefix += 1;
  }
  const digits = Number.isInteger(value) || value >= 999.95 ? 0 : value >= 100 ? 1 : 2;
  return `${value.toFixed(digits)} ${PREFIXES[prefix]}`;
}

export function percent(part, whole) {
  const share = whole ? (100 * part) / whole : 0;
  return share > 0 && share < 0.05 ? "<0.1 %" : `${share.toFixed(1)} %`;
}

export function counted(n, noun) {
  return `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
}

export function hex(pfn) {
  return `0x${pfn.toString(16)}`;
}

// A word of a shell's command line.
export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

// An element with attributes and children; a child that is a string becomes text.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function swatch(code, ramp = false) {
  return element("i", { class: `swatch ${ramp ? "o" : "f"}${code}`, "aria-hidden": "true" });
}
