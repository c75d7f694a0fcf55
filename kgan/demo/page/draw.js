// Draws a sound's waveform and its log spectrogram, from -80 dB to full scale.

const FFT_SAMPLES = 1024;
const FLOOR_DB = -80;
const STOPS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

export function drawWave(canvas, samples) {
  const pen = canvas.getContext("2d");
  const { width, height } = canvas;
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = "#ffb454";
  for (let x = 0; x < width; x++) {
    const part = samples.subarray(Math.floor((x * samples.length) / width), Math.floor(((x + 1) * samples.length) / width) + 1);
    let [low, high] = [1, -1];
    for (const value of part) { low = Math.min(low, value); high = Math.max(high, value); }
    pen.fillRect(x, ((1 - high) * height) / 2, 1, Math.max(1, ((high - low) * height) / 2));
  }
}

// Draws the spectrogram of the first `count` samples.
export function drawSpectrogram(canvas, samples, count = samples.length) {
  const pen = canvas.getContext("2d");
  const { width, height } = canvas;
  const picture = pen.createImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const bins = FFT_SAMPLES / 2;
  for (let x = 0; x < width; x++) {
    const levels = levelsDb(samples, Math.round(((x + 0.5) * count) / width - FFT_SAMPLES / 2));
    for (let y = 0; y < height; y++) {
      const level = levels[Math.floor(((height - 1 - y + 0.5) * bins) / height)];
      const share = 1 - Math.min(0, Math.max(FLOOR_DB, level)) / FLOOR_DB;
      pixels[y * width + x] = PALETTE[Math.round(share * (PALETTE.length - 1))];
    }
  }
  pen.putImageData(picture, 0, 0);
}

function color(share) {
  const place = share * (STOPS.length - 1);
  const i = Math.min(STOPS.length - 2, Math.floor(place));
  return STOPS[i].map((from, k) => from + (place - i) * (STOPS[i + 1][k] - from));
}

const PALETTE = new Uint32Array(Uint8ClampedArray.from({ length: 1024 }, (_, i) => [...color(Math.floor(i / 4) / 255), 255][i % 4]).buffer);
const WINDOW = Float32Array.from({ length: FFT_SAMPLES }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FFT_SAMPLES));
const COSINES = Float32Array.from({ length: FFT_SAMPLES / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / FFT_SAMPLES));
const SINES = Float32Array.from({ length: FFT_SAMPLES / 2 }, (_, k) => -Math.sin((2 * Math.PI * k) / FFT_SAMPLES));

// Returns the levels of the frame that starts at a sample, in dB relative to a full-scale sine. Beyond the sound is silence.
export function levelsDb(samples, start) {
  const real = new Float32Array(FFT_SAMPLES);
  const imag = new Float32Array(FFT_SAMPLES);
  for (let i = 0; i < FFT_SAMPLES; i++) real[i] = (samples[start + i] || 0) * WINDOW[i];
  fft(real, imag);
  const levels = new Float32Array(FFT_SAMPLES / 2);
  for (let k = 0; k < levels.length; k++) levels[k] = 20 * Math.log10(Math.hypot(real[k], imag[k]) / (FFT_SAMPLES / 4) + 1e-8);
  return levels;
}

// The Cooley-Tukey algorithm, in place, with decimation in time.
function fft(real, imag) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imag[i], imag[j]] = [imag[j], imag[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const c = COSINES[(k * n) / size];
      const s = SINES[(k * n) / size];
      for (let i = k; i < n; i += size) {
        const j = i + size / 2;
        const a = real[j] * c - imag[j] * s;
        const b = real[j] * s + imag[j] * c;
        real[j] = real[i] - a;
        imag[j] = imag[i] - b;
        real[i] += a;
        imag[i] += b;
      }
    }
  }
}
