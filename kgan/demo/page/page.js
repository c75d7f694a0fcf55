// The page: its state, which is stored in the address, and the controls that change it.

import { drawSpectrogram, drawWave } from "./draw.js";
import { Keyboard, noteName } from "./keyboard.js";
import { Sequencer, STEPS } from "./sequencer.js";
import { Player } from "./sounds.js";
import { Wheel } from "./wheel.js";

const TRACKS = 8;
const SCALE = [12, 9, 7, 4, 2, 0, -3, -12];  // pitches of the sequencer's sounds: a pentatonic scale with a bass note
const MIDDLE = 60;
const LONGEST_LIST = 100;  // longest list of labels; longer ones get a search field
const LARGEST_SEED = 2 ** 32 - 1;
const RETRIGGER_MS = 150;
const AHEAD_AFTER_MS = 400;
const element = (id) => document.getElementById(id);
const model = await (await fetch("model.json")).json();
const pitched = "pitch" in model.labels;
const pitches = new Set((model.labels.pitch ?? []).map(([value]) => value));
const kinds = Object.keys(model.labels).filter((kind) => kind !== "pitch");
const player = new Player(model.sample_rate_hz);

// State and address

const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];
const knownLabel = (kind, told) => (model.labels[kind].some(([value]) => String(value) === told) ? told : "");
const nearestPitch = (note) => [...pitches].reduce((best, pitch) => (Math.abs(pitch - note) < Math.abs(best - note) ? pitch : best));

function read() {
  const told = new URLSearchParams(location.hash.slice(1));
  const numbers = (name, count, low, high, fallback, whole = true) => {
    const values = (told.get(name) ?? "").split(",").map(Number);
    const usable = (value) => value >= low && value <= high && (!whole || Number.isInteger(value));
    return told.has(name) && values.length === count && values.every(usable) ? values : fallback();
  };
  const seeds = numbers("seeds", 4, 0, LARGEST_SEED, () => Array.from({ length: 4 }, randomSeed));
  const [x, y] = numbers("at", 2, 0, 1, () => [0, 0], false);
  const drawn = () => Array.from({ length: TRACKS }, () => (pitched ? seeds[0] : randomSeed()));
  const tracks = numbers("tracks", TRACKS, 0, LARGEST_SEED, drawn);
  const notes = numbers("notes", TRACKS, 0, 127, () => SCALE.map((step) => MIDDLE + step));
  const steps = numbers("steps", TRACKS, 0, 2 ** STEPS - 1, () => Array(TRACKS).fill(0));
  const range = model.slider_range;
  return {
    seeds, x, y,
    sliders: numbers("sliders", model.sliders.length, -range, range, () => model.sliders.map(() => 0), false),
    labels: Object.fromEntries(kinds.map((kind) => [kind, knownLabel(kind, told.get(`label.${kind}`))])),
    octave: 12 * Math.floor(numbers("octave", 1, 0, 96, () => [pitched ? nearestPitch(MIDDLE) : MIDDLE])[0] / 12),
    tempo: numbers("tempo", 1, 60, 200, () => [110])[0],
    tracks: tracks.map((seed, t) => ({
      seed,
      note: pitched ? nearestPitch(notes[t]) : notes[t],
      cells: Array.from({ length: STEPS }, (_, step) => Boolean((steps[t] >> step) & 1)),
    })),
  };
}

const state = read();
addEventListener("hashchange", () => location.reload());  // an address was pasted into the address bar
let last = { note: pitched ? nearestPitch(MIDDLE) : MIDDLE, real: false, address: "" };
let realNumber = 0;

function write() {
  const { tracks } = state;
  const told = new URLSearchParams({
    seeds: state.seeds, at: [state.x, state.y], sliders: state.sliders, ...chosenLabels(), octave: state.octave, tempo: state.tempo,
    tracks: tracks.map(({ seed }) => seed), notes: tracks.map(({ note }) => note),
    steps: tracks.map(({ cells }) => cells.reduce((bits, on, step) => bits + on * 2 ** step, 0)),
  });
  history.replaceState(null, "", `#${told.toString().replaceAll("%2C", ",")}`);
}

const chosenLabels = () =>
  Object.fromEntries(kinds.filter((kind) => state.labels[kind] !== "").map((kind) => [`label.${kind}`, state.labels[kind]]));
const withLabels = (note) => ({ ...chosenLabels(), ...(pitched ? { "label.pitch": note } : {}) });

function soundAddress(note, { seeds, x, y } = state) {
  return `sound.wav?${new URLSearchParams({ seeds, x, y, sliders: state.sliders, ...withLabels(note) })}`;
}

// The sound of a held key, and where its release begins. A generator that makes only clips plays the clip.
const keyAddress = (note) => soundAddress(note) + (model.note ? `&duration=${model.note.duration_s}` : "");
const heldNote = (note) => ({ releaseS: model.note.duration_s - model.note.release_s, periodS: 1 / (440 * 2 ** ((note - 69) / 12)) });

const rateOf = (note) => (pitched ? 1 : 2 ** ((note - MIDDLE) / 12));  // without a pitch label, keys change the playback speed

// Playing and showing

player.failed = (error) => { element("status").textContent = error.message; };

function play(note, { gain = 1, event = null, real = false, key = false } = {}) {
  const address = real ? `real.wav?${new URLSearchParams({ number: realNumber, ...withLabels(note) })}` : soundAddress(note);
  last = { note, real, address };
  const pressedMs = event?.timeStamp ?? performance.now();
  const voice = key && model.note
    ? player.play(keyAddress(note), { gain, note: heldNote(note) })
    : player.play(address, { gain, rate: real ? 1 : rateOf(note) });
  voice.started.then((sound) => {
    const waitedMs = performance.now() - pressedMs + 1000 * (voice.delayS + player.outputLatencyS);
    show(sound, real, note, waitedMs);
  }, () => {});
  return voice;
}

function show({ buffer, name }, real, note, waitedMs) {
  const all = buffer.getChannelData(0);
  const samples = all.subarray(0, Math.round(model.clip_s * buffer.sampleRate));  // draw as much of a held note as of a clip
  const status = element("status");
  const what = real ? `B, real: ${name}` : `A, generated${pitched ? `: ${noteName(note)}` : ""}`;
  status.textContent = `${what}. Heard ${Math.round(waitedMs)} ms after the key press.`;
  Object.assign(status.dataset, { latencyMs: waitedMs, peak: samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0), real });
  requestAnimationFrame(() => {
    drawWave(element("wave"), samples);
    drawSpectrogram(element("spectrogram"), all, samples.length);
  });
}

// Once the timbre stays the same, the sounds of the visible keys are fetched in advance, so that a key sounds at once.
let ahead = 0;
async function fetchAhead() {
  const mine = ++ahead;
  await new Promise((done) => setTimeout(done, AHEAD_AFTER_MS));
  for (const key of document.querySelectorAll(".key:not(:disabled)")) {
    if (mine !== ahead) return;
    await player.fetch(keyAddress(+key.dataset.note)).catch(() => {});
  }
}

// While a control moves, the sound is played from time to time, and once more when the control stops.
let retriggered = 0;
let resting = null;
function changed({ heard = true } = {}) {
  write();
  fetchAhead();
  if (!heard) return;
  clearTimeout(resting);
  const wait = retriggered + RETRIGGER_MS - performance.now();
  if (wait > 0) {
    resting = setTimeout(changed, wait);
  } else if (soundAddress(last.note) !== last.address) {
    retriggered = performance.now();
    play(last.note);
  }
}

// Timbre

const pad = element("pad");

function placeKnob() {
  Object.assign(element("knob").style, { left: `${100 * state.x}%`, top: `${100 * state.y}%` });
  pad.setAttribute("aria-label", `Between the sounds: ${Math.round(100 * state.x)} % right, ${Math.round(100 * state.y)} % down`);
}

function moveTo(x, y) {
  [state.x, state.y] = [x, y].map((value) => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000);
  placeKnob();
  changed();
}

function follow(event) {
  const box = pad.getBoundingClientRect();
  moveTo((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}

pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); follow(event); });
pad.addEventListener("pointermove", (event) => { if (pad.hasPointerCapture(event.pointerId)) follow(event); });
pad.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.code];
  if (!way) return;
  event.preventDefault();
  moveTo(state.x + 0.05 * way[0], state.y + 0.05 * way[1]);
});

for (const button of document.querySelectorAll(".corner")) {
  button.addEventListener("click", () => {
    const corner = +button.dataset.corner;
    state.seeds[corner] = randomSeed();
    [state.x, state.y] = [corner % 2, Math.floor(corner / 2)];
    placeKnob();
    changed();
  });
}

element("dice").addEventListener("click", () => {
  state.seeds = state.seeds.map(randomSeed);
  changed();
});

model.sliders.forEach(([less, more], i) => {
  const line = document.createElement("label");
  line.className = "slider";
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min: -model.slider_range, max: model.slider_range, step: 0.1, value: state.sliders[i] });
  input.setAttribute("aria-label", `${less} or ${more}`);
  input.addEventListener("input", () => { state.sliders[i] = +input.value; changed(); });
  input.addEventListener("dblclick", () => { input.value = 0; input.dispatchEvent(new Event("input")); });
  const ends = [less, more].map((text) => Object.assign(document.createElement("span"), { textContent: text }));
  line.append(ends[0], input, ends[1]);
  element("sliders").append(line);
});

function selectOf(kind, values) {
  const select = document.createElement("select");
  select.append(new Option("any", ""), ...values.map(([value, name]) => new Option(name, value)));
  select.value = state.labels[kind];
  select.addEventListener("change", () => { state.labels[kind] = select.value; changed(); });
  return [select];
}

// A search field for many values: the browser lists the names that contain the typed text.
function searchOf(kind, values) {
  const numbers = new Map([["", ""], ...values.map(([value, name]) => [name, String(value)])]);
  const list = Object.assign(document.createElement("datalist"), { id: `names-${kind}` });
  list.append(...values.map(([, name]) => new Option(name)));
  const search = Object.assign(document.createElement("input"), { type: "search", placeholder: `any of ${values.length}` });
  search.setAttribute("list", list.id);
  search.value = [...numbers].find(([, value]) => value === state.labels[kind])[0];
  search.addEventListener("change", () => {
    if (numbers.has(search.value)) {
      state.labels[kind] = numbers.get(search.value);
      changed();
    } else {
      element("status").textContent = `There is no ${kind} ${search.value}.`;
    }
  });
  return [search, list];
}

for (const kind of kinds) {
  const line = document.createElement("label");
  const values = model.labels[kind];
  const parts = (values.length > LONGEST_LIST ? searchOf : selectOf)(kind, values);
  parts[0].id = `label-${kind}`;
  line.append(`${kind} `, ...parts);
  element("labels").append(line);
}

// Keyboard

const known = (note) => (pitched ? pitches.has(note) : note >= 24 && note <= 96);
const press = (note, gain, event) => play(note, { gain, event, key: true });
const keyboard = new Keyboard(element("keyboard"), press, known, (turned) => wheel?.midi(turned));
const wheel = model.note ? new Wheel(element("bend"), (semitones) => player.bend(semitones), () => keyboard.held.size > 0) : null;
element("bend-line").hidden = !wheel;

function showOctave(first) {
  state.octave = Math.min(96, Math.max(0, first));
  keyboard.show(state.octave);
  element("octave").textContent = `from ${noteName(state.octave)}`;
  changed({ heard: false });
}

element("octave-down").addEventListener("click", () => showOctave(state.octave - 12));
element("octave-up").addEventListener("click", () => showOctave(state.octave + 12));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("select, input:not([type=range])")) return;
  const way = { KeyZ: -12, KeyX: 12 }[event.code];
  if (way) showOctave(state.octave + way);
});
element("keyboard-help").textContent = `Play with the letters on the keys; Z and X change the octave. ${wheel
  ? `A note sounds while its key is held, for at most ${Math.floor(heldNote(MIDDLE).releaseS)} s; ↑ and ↓ bend it by two semitones. ` : ""}${pitched
  ? "Keys are disabled for pitches that this generator was not trained on."
  : "This generator has no pitch label: the keys play its sound faster or slower."}`;

// A and B, saving, link, MIDI, volume

element("play-generated").addEventListener("click", (event) => play(last.note, { event }));
element("play-real").addEventListener("click", (event) => {
  realNumber += last.real ? 1 : 0;
  play(last.note, { event, real: true });
});
element("save").addEventListener("click", async () => {
  try {
    const { wav, name } = await player.fetch(last.real ? last.address : soundAddress(last.note));
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(new Blob([wav], { type: "audio/wav" }));
    anchor.download = `${last.real ? name : `${model.name}_${pitched ? `${last.note}_` : ""}${state.seeds[0]}`}.wav`;
    anchor.click();
    URL.revokeObjectURL(anchor.href);
  } catch (error) {
    player.failed(error);
  }
});
element("link").addEventListener("click", async () => {
  write();
  try {
    await navigator.clipboard.writeText(location.href);
    element("status").textContent = "Link copied. It makes the same sounds wherever this model is served.";
  } catch {
    element("status").textContent = "The browser does not allow access to the clipboard. Copy the link from the address bar.";
  }
});
element("midi").addEventListener("click", async () => {
  try {
    const count = await keyboard.connectMidi();
    element("status").textContent = count ? `MIDI inputs connected: ${count}.` : "No MIDI keyboard was found. You can still connect one.";
  } catch {
    element("status").textContent = "This browser does not allow access to MIDI.";
  }
});
element("volume").addEventListener("input", ({ target }) => { player.master.gain.value = target.value ** 2; });
player.master.gain.value = element("volume").value ** 2;

// Sequencer

const addressOf = ({ seed, note }) => soundAddress(note, { seeds: [seed, seed, seed, seed], x: 0, y: 0 });
const playTrack = (track, at = 0) => player.play(addressOf(track), { rate: rateOf(track.note), at });
const sequencer = new Sequencer(element("steps"), state.tracks, playTrack, () => changed({ heard: false }));

sequencer.draw((track, t) => {
  const hear = document.createElement("button");
  hear.textContent = `▶ ${t + 1}`;
  hear.setAttribute("aria-label", `Play sound ${t + 1}`);
  hear.addEventListener("click", () => playTrack(track));
  const dice = document.createElement("button");
  dice.textContent = "⚄";
  dice.setAttribute("aria-label", `New sound ${t + 1}`);
  dice.addEventListener("click", () => {
    track.seed = randomSeed();
    playTrack(track);
    changed({ heard: false });
  });
  const select = document.createElement("select");
  select.setAttribute("aria-label", `Pitch of sound ${t + 1}`);
  const notes = Array.from({ length: 73 }, (_, i) => 24 + i).filter(known);
  select.append(...notes.map((note) => new Option(noteName(note), note)));
  select.value = track.note;
  select.addEventListener("change", () => {
    track.note = +select.value;
    playTrack(track);
    changed({ heard: false });
  });
  return [hear, dice, select];
});

function showTempo() {
  sequencer.tempo = state.tempo;
  element("tempo").value = state.tempo;
  element("tempo-shown").textContent = `${state.tempo} / min`;
}

element("tempo").addEventListener("input", ({ target }) => { state.tempo = +target.value; showTempo(); changed({ heard: false }); });
element("clear").addEventListener("click", () => sequencer.clear());
element("run").addEventListener("click", async ({ target }) => {
  if (sequencer.running) {
    sequencer.stop();
  } else {
    target.disabled = true;  // a second click must not start a second sequence
    const used = state.tracks.filter(({ cells }) => cells.some(Boolean));
    await Promise.allSettled(used.map((track) => player.fetch(addressOf(track))));
    target.disabled = false;
    target.focus();
    sequencer.start(player.context);
  }
  target.setAttribute("aria-pressed", sequencer.running);
  target.textContent = sequencer.running ? "Stop" : "Play";
});

element("model").textContent = `${model.name}, ${model.step.toLocaleString()} iterations`;
document.title = `${model.name} - kgan`;
placeKnob();
showTempo();
showOctave(state.octave);
document.body.dataset.ready = "true";
