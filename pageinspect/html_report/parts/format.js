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
  return `${rounded(value, digits)} ${PREFIXES[prefix]}`;
}

// Between two texts that are equally near, the even one, as in reports; toFixed() has the larger.
function rounded(value, digits) {
  const scaled = value * 10 ** digits;
  const between = Number.isInteger(value * 8) && Math.abs(scaled % 1) === 0.5;
  return (between ? (2 * Math.round(scaled / 2)) / 10 ** digits : value).toFixed(digits);
}

export function percent(part, whole) {
  const share = whole ? (100 * part) / whole : 0;
  return share > 0 && share < 0.05 ? "<0.1 %" : `${rounded(share, 1)} %`;
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
