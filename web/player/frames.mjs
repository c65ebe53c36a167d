// The pictures of a walk, fetched and decoded as they are needed: few at a time, and not more than fit into LARGEST bytes.

const LARGEST = 96 * 1024 * 1024;
const AT_ONCE = 4;
const AHEAD = 12; // frames that are fetched before they are shown

export class Frames {
  // addressOf(number): where the picture of a frame is; onReady(number): called when one has been decoded
  constructor(addressOf, onReady) {
    this.addressOf = addressOf;
    this.onReady = onReady;
    this.available = 0; // frames that have been rendered
    this.decoded = new Map(); // number -> ImageBitmap, the least recently used first
    this.bytes = 0;
    this.loading = new Map(); // number -> AbortController
    this.failed = new Set();
    this.wanted = [];
  }

  // The picture of a frame, or of the nearest one that is decoded; undefined when none is.
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

  has(number) {
    return this.decoded.has(number);
  }

  // Fetch what will be shown soon, if things go on at this stride; what is no longer wanted is not begun.
  want(number, stride = 1, loop = false) {
    const wanted = [];
    for (let step = 0; step <= AHEAD; step++) {
      let next = number + step * stride;
      if (loop && this.available) next = (next + this.available) % this.available;
      if (next >= 0 && next < this.available && !wanted.includes(next)) wanted.push(next);
    }
    this.wanted = wanted.filter((next) => !this.decoded.has(next) && !this.loading.has(next) && !this.failed.has(next));
    this.fill();
  }

  fill() {
    while (this.loading.size < AT_ONCE && this.wanted.length) this.load(this.wanted.shift());
  }

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
