// Fetches and plays sounds. Every sound is a WAV file whose address determines it completely; fetched sounds are cached.

const KEPT = 100;
const RELEASE_S = 0.08;
const QUANTUM = 128;  // samples that a browser computes at once, with one playback rate
const LEAST_HELD_S = 0.05;
const FADE_S = 0.02;  // cross-fade from a held note to its release
const LEVEL_S = 0.03;  // duration of the parts whose levels are compared for the cross-fade
const MOST_GAIN = 10;

export class Player {
  constructor(sampleRateHz) {
    this.context = new AudioContext({ sampleRate: sampleRateHz, latencyHint: "interactive" });
    this.master = new GainNode(this.context);
    const limiter = new DynamicsCompressorNode(this.context, { threshold: -3, ratio: 20, attack: 0.001, release: 0.1 });
    this.master.connect(limiter).connect(this.context.destination);
    this.kept = new Map();
    this.held = new Set();  // notes that sound and can be bent
    this.rate = 1;  // their playback rate, set by the pitch wheel
    this.failed = () => {};
  }

  fetch(address) {
    const sound = this.kept.get(address) ?? load(this.context, address);
    this.kept.delete(address);  // the least recently used sound is removed first
    if (this.kept.size >= KEPT) this.kept.delete(this.kept.keys().next().value);
    this.kept.set(address, sound);
    sound.catch(() => this.kept.delete(address));
    return sound;
  }

  // Plays a sound as soon as it is fetched and returns a voice, whose `stop()` releases it, even before it has started.
  // With `note`, { releaseS, periodS }, the sound is held until then; its release starts at `releaseS`, its period is `periodS`.
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

  // A note sounds while its key is held and then continues with its release, in phase and at the level of that moment.
  hold(voice, buffer, gain, { releaseS, periodS }) {
    const { context } = this;
    const sources = [];
    const startS = this.soon();
    let [sinceS, placeS, rate] = [startS, 0, this.rate];  // current place in the buffer
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
      // Half a sample early, so that rounding cannot delay the change by a quantum.
      for (const source of sources) source.playbackRate.setValueAtTime(rate, timeS - 0.5 / context.sampleRate);
    };
    voice.release = () => {
      voice.release = null;
      const heldS = Math.max(LEAST_HELD_S, (voice.stoppedMs - voice.playedMs) / 1000);
      const atS = Math.max(this.soon(), startS + heldS);
      const hereS = placeAt(atS);
      if (hereS > releaseS - FADE_S) return;  // held to the end
      const thereS = hereS + Math.ceil((releaseS - hereS) / periodS) * periodS;
      const softer = Math.min(MOST_GAIN, levelBefore(buffer, hereS) / levelBefore(buffer, releaseS));
      const [, released] = add(atS, Math.round(thereS * buffer.sampleRate) / buffer.sampleRate);
      level.setValueAtTime(gain, atS).linearRampToValueAtTime(0, atS + FADE_S);
      released.setValueAtTime(0, atS).linearRampToValueAtTime(softer * gain, atS + FADE_S);
      sustained.stop(atS + FADE_S);
    };
    this.held.add(voice);
  }

  // Bends all notes that sound, and those that follow.
  bend(semitones) {
    this.rate = 2 ** (semitones / 12);
    const timeS = this.soon();
    for (const voice of this.held) voice.bend(timeS, this.rate);
  }

  // Returns the next time, in whole quanta, that the browser has certainly not computed yet.
  soon() {
    const quantumS = QUANTUM / this.context.sampleRate;
    return Math.ceil((this.context.currentTime + (this.context.baseLatency || quantumS)) / quantumS) * quantumS;
  }

  // Returns the seconds from `start` to the loudspeaker, as far as the browser knows them.
  get outputLatencyS() {
    return (this.context.baseLatency || 0) + (this.context.outputLatency || 0);
  }
}

// Returns the root mean square just before a place in a buffer.
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
