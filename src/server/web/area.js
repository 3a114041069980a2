// area.js - the browser's storage; memory of this page where the browser refuses it.

class Memory {
  #entries = new Map();
  get length() { return this.#entries.size; }
  key(i) { return [...this.#entries.keys()][i] ?? null; }
  getItem(key) { return this.#entries.get(key) ?? null; }
  setItem(key, value) { this.#entries.set(key, String(value)); }
  removeItem(key) { this.#entries.delete(key); }
}

/* Blocked cookies make the mere look at it throw; null: embedders without storage. */
function areaOf(name) {
  try {
    return window[name] ?? new Memory();
  } catch {
    return new Memory();
  }
}

export const local = areaOf('localStorage');
export const session = areaOf('sessionStorage');
/* false: what is kept ends with the page. */
export const keeps = !(local instanceof Memory);
