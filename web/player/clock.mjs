// @ts-check
// The time line of a walk: the frame that is shown, and the next one while it plays. It knows no page.

/** Counts frames by the milliseconds that it is told. */
export class Clock {
  /** @param {() => number} frames returns how many there are, which grows while a run goes on */
  constructor(frames) {
    this.frames = frames;
    this.frame = 0;
    this.fps = 12;
    this.loop = true;
    this.playing = false;
    this.touched = false; // by the user, so it no longer follows what arrives
    this.stride = 1; // frames from one drawn to the next
    /** @type {number | undefined} */
    this.drawn = undefined; // the frame that was drawn last
    /** @type {number | undefined} */
    this.began = undefined; // when frame 0 was, or would have been, shown
  }

  get last() {
    return Math.max(0, this.frames() - 1);
  }

  /**
   * Moves to a frame, or the nearest one that is there.
   * @param {number} frame
   */
  move(frame) {
    this.frame = Math.min(Math.max(0, frame), this.last);
  }

  /**
   * Moves to a frame as the user wants; playing goes on from there.
   * @param {number} frame
   */
  go(frame) {
    this.touched = true;
    this.restart();
    this.move(frame);
  }

  /** Follows the frames that arrive, until the user has touched it. */
  follow() {
    if (!this.playing && !this.touched) this.frame = this.last;
  }

  /** Begins to play, from the first frame if it has ended, or stops. */
  toggle() {
    this.playing = !this.playing;
    this.touched = true;
    if (!this.playing) return;
    if (!this.loop && this.frame >= this.last) this.frame = 0;
    this.restart();
  }

  /** Counts the time from the frame that is shown, as after a change of the frame rate. */
  restart() {
    this.began = undefined;
  }

  /**
   * Plays on; stops at the end unless it loops.
   * @param {number} now in milliseconds
   */
  tick(now) {
    this.began ??= now - (this.frame * 1000) / this.fps;
    const next = Math.floor(((now - this.began) * this.fps) / 1000);
    const frames = this.frames();
    if (next >= frames && !this.loop) {
      this.move(this.last);
      this.toggle();
    } else {
      this.frame = next % Math.max(1, frames);
    }
  }

  /** Notes that its frame is drawn; returns the stride at which frames follow each other. */
  step() {
    if (this.frame !== this.drawn) this.stride = this.playing ? 1 : this.frame - (this.drawn ?? this.frame) || 1;
    this.drawn = this.frame;
    return this.stride;
  }
}
