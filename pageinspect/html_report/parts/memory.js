// SPDX-License-Identifier: GPL-2.0-only
// What the pages of a range are, from runs or, if these were too many, from cells.

// Return the last place in rising values that is at most `value`; -1 if there is none.
export function placeOf(values, value) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

export class Memory {
  // `owners` has the kind and name of each owner; those of the map alone are added. `kindNames` are
  // the names of kinds.
  constructor(data, owners, kindNames) {
    this.exact = data.exact;
    this.order = data.exact ? 0 : data.order;
    this.names = data.names;
    this.kindNames = kindNames;
    this.kinds = [...owners.kind, ...data.owners.kind];
    this.ownerNames = [...owners.name, ...data.owners.name];
    if (data.exact) {
      this.readRuns(data);
    } else {
      this.readCells(data);
    }
    const last = this.starts.length - 1;
    this.start = last < 0 ? 0 : this.starts[0];
    this.end = last < 0 ? 0 : this.starts[last] + this.lengths[last];
  }

  readRuns({ looks, runs, pages, parts, zones, migratetypes }) {
    this.zones = spans(zones);
    this.migratetypes = spans(migratetypes);
    [this.uses, this.owners, this.orders] = looks;
    this.looks = runs;
    this.lengths = pages;
    this.starts = new Float64Array(runs.length);
    let part = 0;
    let pfn = 0;
    for (let i = 0; i < runs.length; i += 1) {
      if (parts[0][part] === i) {
        pfn = parts[1][part];
        part += 1;
      }
      this.starts[i] = pfn;
      pfn += pages[i];
    }
  }

  // Each use in a cell is one entry: its start is that of the cell.
  readCells({ gaps, n, uses, pages, owner, owned }) {
    const length = 2 ** this.order;
    this.uses = uses;
    this.lengths = pages;
    this.starts = new Float64Array(uses.length);
    this.largest = new Map();
    let [cell, entry] = [0, 0];
    for (let i = 0; i < gaps.length; i += 1) {
      cell += gaps[i];
      this.largest.set(cell * length, [owner[i], owned[i]]);
      for (let k = 0; k < n[i]; k += 1) {
        this.starts[entry] = cell * length;
        entry += 1;
      }
    }
  }

  // Call found(pages, use, owner, order, pfn) for all pages of a range; cells begin in it.
  each(start, end, found) {
    let i = placeOf(this.starts, start);
    if (!this.exact) {
      while (i >= 0 && this.starts[i] >= start) {
        i -= 1;
      }
      i += 1;
    }
    for (i = Math.max(i, 0); i < this.starts.length && this.starts[i] < end; i += 1) {
      if (this.exact) {
        const first = Math.max(this.starts[i], start);
        const pages = Math.min(this.starts[i] + this.lengths[i], end) - first;
        const look = this.looks[i];
        if (pages > 0) {
          found(pages, this.uses[look], this.owners[look], this.orders[look], first);
        }
      } else if (this.starts[i] >= start) {
        found(this.lengths[i], this.uses[i], -1, -1, this.starts[i]);
      }
    }
  }

  // Return [number, pages] of uses (place 0) or owners (place 1) in a range, the largest first.
  sums(start, end, place) {
    const pages = new Map();
    this.each(start, end, (n, ...keys) => {
      pages.set(keys[place], (pages.get(keys[place]) ?? 0) + n);
    });
    return [...pages].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  }

  usesOf(start, end) {
    return this.sums(start, end, 0);
  }

  // Of several cells it is not known which owner is the largest.
  largestOwners(start, end) {
    if (this.exact) {
      return this.sums(start, end, 1);
    }
    const largest = end - start === 2 ** this.order ? this.largest.get(start) : undefined;
    return largest ? [largest] : [];
  }

  // Return what is known of a page, or null if it has no struct page. Needs exact runs.
  page(pfn) {
    let found = null;
    this.each(pfn, pfn + 1, (_n, use, owner, order) => {
      const zone = this.zones.at(pfn);
      found = {
        use: this.names[use],
        owner: this.ownerText(owner),
        order,
        zone: zone?.[2] ?? null,
        node: zone?.[3] ?? null,
        migratetype: this.migratetypes.at(pfn)?.[2] ?? null,
      };
    });
    return found;
  }

  ownerText(owner) {
    if (owner < 0) {
      return "";
    }
    return [this.kindNames[this.kinds[owner]], this.ownerNames[owner]].filter(Boolean).join(": ");
  }
}

// Rows [pfn, pages, ...] that can be found by pfn.
function spans(rows) {
  const starts = rows.map(([pfn]) => pfn);
  return {
    at(pfn) {
      const row = rows[placeOf(starts, pfn)];
      return row && pfn < row[0] + row[1] ? row : null;
    },
  };
}
