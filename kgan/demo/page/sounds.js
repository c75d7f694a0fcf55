// Fetching and playing sounds. Every sound is a WAV at an address that says all of it; what was fetched is kept.

const KEPT = 300;
const RELEASE_S = 0.08;

export class Player {
  constructor(sampleRateHz) {
    this.context = new AudioContext({ sampleRate: sampleRateHz, latencyHint: "interactive" });
    this.master = new GainNode(this.context);
    const limiter = new DynamicsCompressorNode(this.context, { threshold: -3, ratio: 20, attack: 0.001, release: 0.1 });
    this.master.connect(limiter).connect(this.context.destination);
    this.kept = new Map();
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
  play(address, { gain = 1, rate = 1, at = 0 } = {}) {
    const voice = { stopped: false, stop() { this.stopped = true; this.release?.(); } };
    this.context.resume();
    voice.started = this.fetch(address).then((sound) => {
      this.start(voice, sound.buffer, gain, rate, at);
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
    if (voice.stopped) voice.release();
  }

  // Seconds from `start` to the loudspeaker, as far as the browser knows them.
  get outputLatencyS() {
    return (this.context.baseLatency || 0) + (this.context.outputLatency || 0);
  }
}

async function load(context, address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(await answer.text());
  const wav = await answer.arrayBuffer();
  const buffer = await context.decodeAudioData(wav.slice(0));
  return { wav, buffer, name: decodeURIComponent(answer.headers.get("x-name") ?? "") };
}
