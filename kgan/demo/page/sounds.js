// Fetching and playing sounds. Every sound is a WAV at an address that says all of it; what was fetched is kept.

const KEPT = 100;
const RELEASE_S = 0.08;
const QUANTUM = 128;  // samples that a browser computes at once, at one playback rate
const LEAST_HELD_S = 0.05;
const FADE_S = 0.02;  // from a held note to its release
const LEVEL_S = 0.03;  // of the parts whose levels are compared for that
const MOST_GAIN = 10;

export class Player {
  constructor(sampleRateHz) {
    this.context = new AudioContext({ sampleRate: sampleRateHz, latencyHint: "interactive" });
    this.master = new GainNode(this.context);
    const limiter = new DynamicsCompressorNode(this.context, { threshold: -3, ratio: 20, attack: 0.001, release: 0.1 });
    this.master.connect(limiter).connect(this.context.destination);
    this.kept = new Map();
    this.held = new Set();  // notes that sound and can be bent
    this.rate = 1;  // what the pitch wheel makes of them
    this.failed = () => {};
  }

  fetch(address) {
    const sound = this.kept.get(address) ?? load(this.context, address);
    this.kept.delete(address);  // what was used last stays longest
    if (this.kept.size >= KEPT) this.kept.delete(this.kept.keys().next().value);
    this.kept.set(address, sound);
    sound.catch(() => this.kept.delete(address));
    return sound;
  }

  // Plays a sound as soon as it is here; `stop()` of what comes back lets it go, even before that.
  // With `note`, { releaseS, periodS }, it is held until then: where its release begins, and the time that its wave repeats in.
  play(address, { gain = 1, rate = 1, at = 0, note = null } = {}) {
    const voice = { playedMs: performance.now(), stoppedMs: null, delayS: 0 };
    voice.stop = () => { voice.stoppedMs ??= performance.now(); voice.release?.(); };
    this.context.resume();
    voice.started = this.fetch(address).then((sound) => {
      if (note) this.hold(voice, sound.buffer, gain, note);
      else this.start(voice, sound.buffer, gain, rate, at);
      if (voice.stoppedMs !== null) voice.release();
      return sound;
    });
    voice.started.catch((error) => this.failed(error));
    return voice;
  }

  start(voice, buffer, gain, rate, at) {
    const source = new AudioBufferSourceNode(this.context, { buffer, playbackRate: rate });
    const level = new GainNode(this.context, { gain });
    source.connect(level).connect(this.master);
    source.start(at);
    voice.release = () => {
      const now = this.context.currentTime;
      level.gain.setTargetAtTime(0, now, RELEASE_S / 3);
      source.stop(now + 2 * RELEASE_S);
    };
  }

  // A note sounds for as long as its key is held, and goes on in its release: in phase, at the level that it has there.
  hold(voice, buffer, gain, { releaseS, periodS }) {
    const { context } = this;
    const sources = [];
    const startS = this.soon();
    let [sinceS, placeS, rate] = [startS, 0, this.rate];  // where it is in the buffer
    const placeAt = (timeS) => placeS + (timeS - sinceS) * rate;
    const add = (atS, offsetS) => {
      const source = new AudioBufferSourceNode(context, { buffer, playbackRate: rate });
      const level = new GainNode(context, { gain });
      source.connect(level).connect(this.master);
      source.start(atS, offsetS);
      sources.push(source);
      source.onended = () => { if (source === sources.at(-1)) this.held.delete(voice); };
      return [source, level.gain];
    };
    const [sustained, level] = add(startS, 0);
    voice.delayS = startS - context.currentTime;
    voice.bend = (timeS, now) => {
      if (timeS > sinceS) [placeS, sinceS] = [placeAt(timeS), timeS];
      rate = now;
      // Half a sample early: rounding must not make it a quantum late.
      for (const source of sources) source.playbackRate.setValueAtTime(rate, timeS - 0.5 / context.sampleRate);
    };
    voice.release = () => {
      voice.release = null;
      const heldS = Math.max(LEAST_HELD_S, (voice.stoppedMs - voice.playedMs) / 1000);
      const atS = Math.max(this.soon(), startS + heldS);
      const hereS = placeAt(atS);
      if (hereS > releaseS - FADE_S) return;  // it has been held to its end
      const thereS = hereS + Math.ceil((releaseS - hereS) / periodS) * periodS;
      const softer = Math.min(MOST_GAIN, levelBefore(buffer, hereS) / levelBefore(buffer, releaseS));
      const [, released] = add(atS, Math.round(thereS * buffer.sampleRate) / buffer.sampleRate);
      level.setValueAtTime(gain, atS).linearRampToValueAtTime(0, atS + FADE_S);
      released.setValueAtTime(0, atS).linearRampToValueAtTime(softer * gain, atS + FADE_S);
      sustained.stop(atS + FADE_S);
    };
    this.held.add(voice);
  }

  // Bends all notes that are held or end, and those to come.
  bend(semitones) {
    this.rate = 2 ** (semitones / 12);
    const timeS = this.soon();
    for (const voice of this.held) voice.bend(timeS, this.rate);
  }

  // The next time that the browser has not computed yet for sure, a whole number of quanta.
  soon() {
    const quantumS = QUANTUM / this.context.sampleRate;
    return Math.ceil((this.context.currentTime + (this.context.baseLatency || quantumS)) / quantumS) * quantumS;
  }

  // Seconds from `start` to the loudspeaker, as far as the browser knows them.
  get outputLatencyS() {
    return (this.context.baseLatency || 0) + (this.context.outputLatency || 0);
  }
}

// Returns the root mean square of the last moment before a place of a buffer.
function levelBefore(buffer, placeS) {
  const end = Math.max(1, Math.round(placeS * buffer.sampleRate));
  const part = buffer.getChannelData(0).subarray(Math.max(0, end - Math.round(LEVEL_S * buffer.sampleRate)), end);
  return Math.sqrt(part.reduce((sum, value) => sum + value ** 2, 1e-9) / part.length);
}

async function load(context, address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(await answer.text());
  const wav = await answer.arrayBuffer();
  const buffer = await context.decodeAudioData(wav.slice(0));
  return { wav, buffer, name: decodeURIComponent(answer.headers.get("x-name") ?? "") };
}
