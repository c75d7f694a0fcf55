// A sequencer with sixteen steps of eight sounds, like WaveGAN's drum machine.

export const STEPS = 16;
const AHEAD_S = 0.12;

export class Sequencer {
  // `tracks` are objects with `cells`, sixteen booleans; `play(track, at)` starts a track's sound; `changed()` is called on a
  // change.
  constructor(element, tracks, play, changed) {
    Object.assign(this, { element, tracks, play, changed, tempo: 110, timer: null });
    element.addEventListener("click", ({ target }) => { if (target.matches(".cell")) this.toggle(target); });
    element.addEventListener("keydown", (event) => this.move(event));
  }

  // `controls(track)` returns the elements to show before a track's steps.
  draw(controls) {
    this.element.replaceChildren(...this.tracks.map((track, t) => {
      const line = document.createElement("div");
      const row = document.createElement("div");
      const cells = document.createElement("div");
      line.className = "track";
      row.className = "row";
      cells.className = "cells";
      row.append(...controls(track, t));
      cells.append(...track.cells.map((on, step) => {
        const cell = document.createElement("button");
        cell.className = "cell";
        Object.assign(cell.dataset, { track: t, step });
        cell.tabIndex = t || step ? -1 : 0;
        cell.setAttribute("aria-label", `Sound ${t + 1}, step ${step + 1}`);
        cell.setAttribute("aria-pressed", on);
        return cell;
      }));
      line.append(row, cells);
      return line;
    }));
  }

  cell(track, step) {
    return this.element.querySelector(`.cell[data-track="${track}"][data-step="${step}"]`);
  }

  toggle(cell) {
    const { cells } = this.tracks[cell.dataset.track];
    cells[cell.dataset.step] = !cells[cell.dataset.step];
    cell.setAttribute("aria-pressed", cells[cell.dataset.step]);
    this.changed();
  }

  clear() {
    for (const track of this.tracks) track.cells.fill(false);
    this.element.querySelectorAll(".cell").forEach((cell) => cell.setAttribute("aria-pressed", false));
    this.changed();
  }

  move(event) {
    const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.code];
    if (!way || !event.target.matches(".cell")) return;
    event.preventDefault();
    const next = this.cell(+event.target.dataset.track + way[0], (+event.target.dataset.step + way[1] + STEPS) % STEPS);
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  get running() {
    return this.timer !== null;
  }

  start(context) {
    context.resume();
    let step = 0;
    let at = context.currentTime + 0.06;
    const schedule = () => {
      at = Math.max(at, context.currentTime);  // timers of a page in the background run late: skip missed steps
      while (at < context.currentTime + AHEAD_S) {
        for (const track of this.tracks) if (track.cells[step]) this.play(track, at);
        this.show(step, (at - context.currentTime) * 1000);
        at += 60 / this.tempo / 4;
        step = (step + 1) % STEPS;
      }
    };
    this.timer = setInterval(schedule, 25);
    schedule();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.light(null);
  }

  show(step, inMs) {
    setTimeout(() => { if (this.running) this.light(step); }, inMs);
  }

  light(step) {
    this.element.querySelectorAll(".cell.now").forEach((cell) => cell.classList.remove("now"));
    if (step !== null) this.tracks.forEach((_, t) => this.cell(t, step).classList.add("now"));
  }
}
