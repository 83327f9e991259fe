// SPDX-License-Identifier: GPL-2.0-only
// Fills the parts of the page that need its data.

import { MemoryMap } from "./map.js";
import { Memory } from "./memory.js";
import { LongTable } from "./tables.js";
import { Treemap } from "./treemap.js";
import { canUnpack, unpacked } from "./unpack.js";

const place = (id) => document.getElementById(id);

function ownerTable(data, { id, title, noun, kinds, more }) {
  const { owners } = data;
  const rows = [...owners.pages.keys()].filter(
    (i) => kinds === null || kinds.includes(data.kinds[owners.kind[i]].name),
  );
  const of = (read) => rows.map(read);
  const columns = [
    ["kind", "text", of((i) => data.kinds[owners.kind[i]].name)],
    ["name", "text", of((i) => owners.name[i])],
    ...more.map(([heading, key]) => [heading, "text", of((i) => owners[key][i]), true]),
    ["pages", "pages", of((i) => owners.pages[i])],
    ["size", "bytes", of((i) => owners.pages[i] * data.pageSize)],
  ].filter(([, kind, values]) => kind !== "text" || values.some(Boolean));
  const left = data.kinds.reduce(
    (sum, kind) => sum + (kinds === null || kinds.includes(kind.name) ? kind.others[0] : 0),
    0,
  );
  if (!rows.length) {
    place(id).textContent = "There are none.";
    return;
  }
  const sorted = columns.findIndex(([heading]) => heading === "pages");
  const codes = of((i) => data.kinds[owners.kind[i]].code);
  new LongTable(place(id), { title, noun, columns, codes, sorted, left });
}

function listTable(data, id, title, noun) {
  const list = data.lists[id];
  if (list) {
    const columns = list.columns.map(([heading, kind], i) => [heading, kind, list.values[i]]);
    new LongTable(place(`${id}-table`), { ...list, title, noun, columns, codes: null });
  }
}

function orderClass(data, order) {
  return data.orders.findLastIndex(([least]) => least <= order);
}

// Return a view by order; `neutral` returns the code and label of uses that have none.
function ordered(data, name, title, neutral) {
  const found = (u, order) =>
    neutral(u) || [orderClass(data, order), data.orders[orderClass(data, order)][1]];
  const code = (u, _owner, order) => found(u, order)[0];
  const label = (u, _owner, order) => found(u, order)[1];
  return { name, title, ramp: true, code, label };
}

function mapViews(data, memory) {
  const use = {
    name: "use",
    title: "use",
    code: (u) => data.useCodes[memory.names[u]],
    label: (u) => memory.names[u],
  };
  if (!memory.exact) {
    return [use];
  }
  const isFree = (u) => use.code(u) === data.free;
  const kind = (owner) => data.kinds[memory.kinds[owner]];
  return [
    use,
    {
      name: "kind",
      title: "kind of owner",
      code: (_u, owner) => kind(owner)?.code ?? data.other,
      label: (_u, owner) => kind(owner)?.name ?? "unknown",
    },
    ordered(data, "order", "order of folios", (u) => isFree(u) && [data.free, "free"]),
    ordered(data, "free", "order of free blocks", (u) => !isFree(u) && [data.other, "in use"]),
  ];
}

async function start() {
  const notice = place("notice");
  if (!canUnpack()) {
    notice.textContent =
      "This browser has no DecompressionStream, which the map, the areas of owners and the long " +
      "tables need. All other parts of this page are complete. Browsers of 2023 and later have it.";
    notice.hidden = false;
    return;
  }
  const data = await unpacked("data");
  data.kinds.forEach((kind, i) => {
    kind.others = data.owners.others.find(([number]) => number === i)?.slice(1) ?? [0, 0];
  });
  new Treemap(place("treemap"), data);
  const more = [
    ["file system", "filesystem"],
    ["caller", "caller"],
  ];
  const all = { title: "Owners", noun: "owners", kinds: null, more };
  ownerTable(data, { ...all, id: "owners-table" });
  ownerTable(data, { ...all, id: "files-table", title: "Files", noun: "files", kinds: data.files });
  const caches = { title: "Slab caches", noun: "caches", kinds: data.caches, more: [] };
  ownerTable(data, { ...all, ...caches, id: "caches-table" });
  listTable(data, "processes", "Processes", "processes");
  listTable(data, "cgroups", "Memory cgroups", "rows");
  const kindNames = data.kinds.map((kind) => kind.name);
  const memory = new Memory(await unpacked("map-data"), data.owners, kindNames);
  new MemoryMap(place("memory-map"), memory, mapViews(data, memory), data);
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  const notice = place("notice");
  notice.textContent = `The data of this page could not be read: ${error.message}`;
  notice.hidden = false;
  throw error;
});
