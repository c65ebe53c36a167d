// @ts-check
// The pictures of a walk, fetched and decoded as they are needed: few at a time, and not more than fit into LARGEST
// bytes.

const LARGEST = 96 * 1024 * 1024;
const AT_ONCE = 4;
const AHEAD = 12; // frames that are fetched before they are shown

export class Frames {
  /**
   * @param {(number: number) => string} addressOf a frame
   * @param {(number: number) => void} onReady called when a frame has been decoded, or is gone
   */
  constructor(addressOf, onReady) {
    this.addressOf = addressOf;
    this.onReady = onReady;
    this.available = 0; // frames that have been rendered
    /** Number -> picture, the least recently used first. @type {Map<number, ImageBitmap>} */
    this.decoded = new Map();
    this.bytes = 0;
    /** Number -> its end. @type {Map<number, AbortController>} */
    this.loading = new Map();
    /** @type {Set<number>} */
    this.failed = new Set();
    /** @type {number[]} */
    this.wanted = [];
  }

  /**
   * Returns the picture of a frame, or of the nearest one that is decoded; undefined when none is.
   * @param {number} number
   * @returns {ImageBitmap | undefined}
   */
  at(number) {
    for (let away = 0; away < this.available; away++) {
      for (const near of away ? [number - away, number + away] : [number]) {
        const bitmap = this.decoded.get(near);
        if (!bitmap) continue;
        this.decoded.delete(near); // used last from now on
        this.decoded.set(near, bitmap);
        return bitmap;
      }
      if (away > AHEAD) return this.decoded.values().next().value;
    }
    return undefined;
  }

  /** @param {number} number */
  has(number) {
    return this.decoded.has(number);
  }

  /**
   * Fetches the frames that will be shown soon; those that are no longer wanted are not begun.
   * @param {number} number
   * @param {number} stride
   * @param {boolean} loop
   */
  want(number, stride = 1, loop = false) {
    this.wanted = ahead(number, stride, loop, this.available).filter((next) =>
      !this.decoded.has(next) && !this.loading.has(next) && !this.failed.has(next));
    this.fill();
  }

  fill() {
    const free = Math.max(0, AT_ONCE - this.loading.size);
    for (const number of this.wanted.splice(0, free)) this.load(number);
  }

  /** @param {number} number */
  async load(number) {
    const stop = new AbortController();
    this.loading.set(number, stop);
    try {
      const answer = await fetch(this.addressOf(number), { signal: stop.signal });
      if (!answer.ok) throw new Error(`${answer.status}`);
      const bitmap = await createImageBitmap(await answer.blob());
      if (stop.signal.aborted) return bitmap.close();
      this.keep(number, bitmap);
      this.onReady(number);
    } catch {
      if (stop.signal.aborted) return;
      this.failed.add(number);
      this.onReady(number);
    } finally {
      if (this.loading.get(number) === stop) {
        this.loading.delete(number);
        this.fill();
      }
    }
  }

  /**
   * @param {number} number
   * @param {ImageBitmap} bitmap
   */
  keep(number, bitmap) {
    this.decoded.set(number, bitmap);
    this.bytes += bitmap.width * bitmap.height * 4;
    for (const [oldest, other] of this.decoded) {
      if (this.bytes <= LARGEST || oldest === number) break;
      this.decoded.delete(oldest);
      this.bytes -= other.width * other.height * 4;
      other.close();
    }
  }

  clear() {
    for (const stop of this.loading.values()) stop.abort();
    for (const bitmap of this.decoded.values()) bitmap.close();
    this.decoded.clear();
    this.loading.clear();
    this.failed.clear();
    this.bytes = this.available = 0;
    this.wanted = [];
  }
}

/**
 * Lists the frames that will be shown soon, if things go on at this stride.
 * @param {number} number of the frame that is shown
 * @param {number} stride
 * @param {boolean} loop
 * @param {number} available
 */
export function ahead(number, stride, loop, available) {
  const wanted = new Set();
  for (let step = 0; step <= AHEAD; step++) {
    const next = number + step * stride;
    const there = loop && available ? (next + available) % available : next;
    if (there >= 0 && there < available) wanted.add(there);
  }
  return [...wanted];
}
