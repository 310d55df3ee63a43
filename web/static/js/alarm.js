// The sound of an immediate alert: every 5 s, louder for 30 s, with vibration, until somebody presses.
// It makes its own tones (Web Audio): nothing to download, nothing to fail. A browser may refuse sound until the
// person has pressed something in the page; `blocked()` says so and the page must show it.
//
//   const alarm = new Alarm({ onchange });   onchange() when blocked(), ringing() or testedAt changed
//   await alarm.test()                       plays one ring softly; true when it could be heard
//   alarm.start(); alarm.stop();             start() while ringing changes nothing
//   alarm.tick(now)                          once a second, from anywhere (see everySecond in staff.js)
//   alarm.wake()                             from any press: quietly makes sound possible, plays nothing
//   alarm.chime()                            one soft tone, for something new that can wait

const EVERY_MS = 5_000;
const LOUDEST_AFTER_MS = 30_000;

/** From a third to full, rising over the first half minute. */
export function loudness(ringingForMs) {
  return 0.3 + 0.7 * Math.min(1, Math.max(0, ringingForMs) / LOUDEST_AFTER_MS);
}

export class Alarm {
  #context = null;
  #since = null;
  #last = 0;
  #onchange;

  testedAt = null;

  constructor({ onchange = () => {} } = {}) {
    this.#onchange = onchange;
  }

  ringing() {
    return this.#since !== null;
  }

  /** True when the browser would play nothing just now. */
  blocked() {
    return this.#context === null || this.#context.state !== "running";
  }

  /** Only from a press: browsers allow sound from then on. */
  async test() {
    const heard = await this.wake();
    if (heard) {
      this.#ring(0.5);
      this.testedAt = new Date();
    }
    this.#onchange();
    return heard;
  }

  async start(now = Date.now()) {
    if (this.ringing()) return;
    this.#since = now;
    this.#last = 0;
    this.tick(now);
    await this.wake();
    this.#onchange();
  }

  stop() {
    if (!this.ringing()) return;
    this.#since = null;
    navigator.vibrate?.(0);
    this.#onchange();
  }

  tick(now = Date.now()) {
    if (!this.ringing() || now - this.#last < EVERY_MS - 500) return;
    this.#last = now;
    navigator.vibrate?.([300, 150, 300, 150, 600]);
    this.#ring(loudness(now - this.#since));
  }

  chime() {
    if (this.blocked()) return;
    this.#tone(this.#context.currentTime, 660, 0.15, 0.25);
  }

  async wake() {
    const Context = window.AudioContext ?? window.webkitAudioContext;
    if (!Context) return false;
    if (this.#context === null) {
      this.#context = new Context();
      this.#context.onstatechange = () => this.#onchange();
    }
    if (this.#context.state !== "running") {
      // resume() stays pending for ever where the browser forbids sound: don't wait for it long.
      await Promise.race([this.#context.resume().catch(() => {}), new Promise((done) => setTimeout(done, 400))]);
    }
    return this.#context.state === "running";
  }

  #ring(volume) {
    if (this.blocked()) {
      this.wake(); // allowed by now, perhaps
      return;
    }
    const from = this.#context.currentTime + 0.02;
    for (const [index, pitch] of [784, 988, 784, 988].entries()) this.#tone(from + index * 0.28, pitch, 0.22, volume);
  }

  #tone(at, pitch, seconds, volume) {
    const gain = this.#context.createGain();
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(volume, at + 0.02);
    gain.gain.setValueAtTime(volume, at + seconds - 0.05);
    gain.gain.linearRampToValueAtTime(0, at + seconds);
    gain.connect(this.#context.destination);
    const tone = this.#context.createOscillator();
    tone.type = "triangle";
    tone.frequency.value = pitch;
    tone.connect(gain);
    tone.start(at);
    tone.stop(at + seconds);
  }
}
