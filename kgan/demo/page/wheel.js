// A pitch wheel that springs back, for the screen, the arrow keys and a MIDI keyboard.

const RANGE = 2;  // semitones
const SPEED = 30;  // semitones per second, for the arrow keys and for springing back

export class Wheel {
  // `turned(semitones)` is called on a change; `playing()` returns whether a key is held: only then do the arrow keys bend.
  constructor(element, turned, playing) {
    Object.assign(this, { element, turned, value: 0, target: 0 });
    Object.assign(element, { min: -RANGE, max: RANGE, step: 0.05, value: 0 });
    element.addEventListener("input", () => this.set(+element.value));
    for (const end of ["pointerup", "pointercancel", "touchend", "keyup", "blur"]) element.addEventListener(end, () => this.glide(0));
    window.addEventListener("blur", () => this.glide(0));
    document.addEventListener("keydown", (event) => {
      const way = { ArrowUp: 1, ArrowDown: -1 }[event.code];
      if (!way || !playing() || event.target.matches("select, input, #pad, .cell")) return;
      event.preventDefault();
      this.arrow = event.code;
      this.glide(way * RANGE);
    });
    document.addEventListener("keyup", ({ code }) => {
      if (code !== this.arrow) return;
      this.arrow = null;
      this.glide(0);
    });
  }

  // Sets the wheel from that of a MIDI keyboard, -1 to 1.
  midi(turn) {
    this.set(turn * RANGE);
  }

  set(semitones) {
    this.target = semitones;
    this.show(semitones);
  }

  glide(target) {
    this.target = target;
    if (this.gliding) return;
    this.gliding = true;
    let before = performance.now();
    const step = () => {
      const now = performance.now();
      const reach = SPEED * (now - before) / 1000;
      before = now;
      const way = Math.max(-reach, Math.min(reach, this.target - this.value));
      if (way) this.show(this.value + way);
      this.gliding = this.value !== this.target;
      if (this.gliding) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  show(semitones) {
    this.value = semitones;
    this.element.value = semitones;
    this.turned(semitones);
  }
}
