// SPDX-License-Identifier: GPL-2.0-only
// Reads the data that the page carries: JSON, compressed with zlib, in base64.

export function canUnpack() {
  return typeof DecompressionStream === "function";
}

export async function unpacked(id) {
  const packed = atob(document.getElementById(id).textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}
