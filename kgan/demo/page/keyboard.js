// Piano keys on the screen, on the computer's keyboard and on a MIDI keyboard.

const NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const BLACK = [1, 3, 6, 8, 10];
const CODES = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ", "KeyK", "KeyO", "KeyL",
  "KeyP", "Semicolon"];

export function noteName(note) {
  return `${NAMES[note % 12]}${Math.floor(note / 12) - 1}`;
}

export class Keyboard {
  // `press(note, gain, event)` returns a voice with `stop()`; `known(note)` returns whether a key is enabled; `turn(turned)` is
  // called when a MIDI keyboard's pitch wheel moves, with a value from -1 to 1.
  constructor(element, press, known, turn) {
    Object.assign(this, { element, press, known, turn, held: new Map(), first: 60 });
    document.addEventListener("keydown", (event) => this.keyDown(event));
    document.addEventListener("keyup", (event) => this.release(event.code));
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, ({ pointerId }) => this.release(`pointer ${pointerId}`));
    window.addEventListener("blur", () => [...this.held.keys()].forEach((by) => this.release(by)));
    new ResizeObserver(() => this.draw()).observe(element);
  }

  show(first) {
    this.first = first;
    this.draw();
  }

  draw() {
    const octaves = this.element.clientWidth < 560 ? 1 : 2;
    if (this.drawn === `${this.first} ${octaves}`) return;
    this.drawn = `${this.first} ${octaves}`;
    const whites = 7 * octaves + 1;
    const focused = [...this.element.children].indexOf(document.activeElement);
    const keys = [];
    for (let note = this.first, white = 0; note <= this.first + 12 * octaves; note++) {
      const black = BLACK.includes(note % 12);
      const key = document.createElement("button");
      key.className = `key ${black ? "black" : "white"}`;
      key.dataset.note = note;
      key.disabled = !this.known(note);
      key.setAttribute("aria-label", noteName(note));
      const letter = CODES[note - this.first]?.replace("Key", "").replace("Semicolon", ";");
      const texts = [letter ?? "", ...(note % 12 ? [] : [noteName(note)])];
      key.append(...texts.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
      const width = 100 / whites;
      key.style.left = `${black ? (white - 0.3) * width : white * width}%`;
      key.style.width = `${black ? 0.6 * width : width}%`;
      if (!black) white++;
      key.addEventListener("pointerdown", (event) => this.hold(`pointer ${event.pointerId}`, note, 1, event));
      key.addEventListener("pointerleave", ({ pointerId }) => this.release(`pointer ${pointerId}`));
      key.addEventListener("keydown", (event) => {
        if (["Enter", "Space"].includes(event.code) && !event.repeat) this.hold(event.code, note, 1, event);
      });
      keys.push(key);
    }
    this.element.replaceChildren(...keys);
    keys[focused]?.focus();
    for (const { note } of this.held.values()) this.mark(note, true);
  }

  keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input:not([type=range])")) return;
    const place = CODES.indexOf(event.code);
    if (place < 0 || event.repeat) return;
    event.preventDefault();
    this.hold(event.code, this.first + place, 1, event);
  }

  hold(by, note, gain, event) {
    if (this.held.has(by) || !this.known(note)) return;
    this.held.set(by, { note, voice: this.press(note, gain, event) });
    this.mark(note, true);
  }

  release(by) {
    const { note, voice } = this.held.get(by) ?? {};
    if (!voice) return;
    voice.stop();
    this.held.delete(by);
    this.mark(note, false);
  }

  mark(note, down) {
    this.element.querySelector(`[data-note="${note}"]`)?.classList.toggle("down", down);
  }

  // Returns the number of MIDI keyboards that are connected now. Keyboards that are connected later also work.
  async connectMidi() {
    const access = await navigator.requestMIDIAccess();
    const listen = () => access.inputs.forEach((input) => { input.onmidimessage = (message) => this.midi(message); });
    access.onstatechange = listen;
    listen();
    return access.inputs.size;
  }

  midi({ data: [status, note, velocity], timeStamp }) {
    const by = `midi ${note}`;
    if ((status & 0xf0) === 0x90 && velocity) this.hold(by, note, (velocity / 127) ** 2, { timeStamp });
    else if ((status & 0xf0) === 0xe0) this.turn(((velocity << 7 | note) - 8192) / 8192);
    else if ((status & 0xf0) === 0x80 || (status & 0xf0) === 0x90) this.release(by);
  }
}
