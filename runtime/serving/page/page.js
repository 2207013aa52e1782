// The page of the server: a text becomes speech that is heard while it is made.

const byId = (id) => document.getElementById(id);
const PCM_PEAK = 32767;
const COLUMNS_A_SECOND = 50; // of the waveform
const LOAD_INTERVAL_MS = 1000;

let speech = null; // that is being heard

function headers() {
  const key = byId("key").value.trim();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function tell(message, isBad = false) {
  byId("status").textContent = message;
  byId("status").className = isBad ? "bad" : "";
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  if (answer.status === 401) byId("access").open = true;
  throw new Error(told?.error?.message ?? `the server answers ${answer.status}`);
}

// Speech

class Speech {
  constructor() {
    this.abort = new AbortController();
    this.start = performance.now();
    this.seconds = 0;
    this.gaps = 0;
    this.rest = new Uint8Array(); // half a sample
    this.wave = new Wave(byId("wave"));
  }

  async run() {
    const body = {
      input: byId("text").value,
      voice: byId("voice").value,
      speed: Number(byId("speed").value),
      response_format: "pcm",
    };
    const answer = await ask("v1/audio/speech", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: this.abort.signal,
    });
    await this.open(Number(answer.headers.get("x-sample-rate")));
    const reader = answer.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      this.take(part.value);
    }
    const played = new Promise((resolve) => { this.over = resolve; });
    this.node.port.postMessage("end");
    await played;
  }

  async open(rate) {
    this.rate = rate;
    this.context = new AudioContext({ sampleRate: rate });
    await this.context.audioWorklet.addModule("page/player.js");
    this.node = new AudioWorkletNode(this.context, "player", { outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => {
      if (data === "over") this.over();
      else byId("gaps").textContent = `${++this.gaps}, ${(1000 * data.gap).toFixed(0)} ms`;
    };
    this.node.connect(this.context.destination);
    await this.context.resume();
  }

  take(bytes) {
    const joined = new Uint8Array(this.rest.length + bytes.length);
    joined.set(this.rest);
    joined.set(bytes, this.rest.length);
    const whole = joined.length - (joined.length % 2);
    this.rest = joined.slice(whole);
    const view = new DataView(joined.buffer, 0, whole);
    const samples = new Float32Array(whole / 2);
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / PCM_PEAK;
    if (!samples.length) return;
    this.show(samples);
    this.node.port.postMessage(samples, [samples.buffer]);
  }

  show(samples) {
    const elapsed = performance.now() - this.start;
    if (!this.seconds) {
      byId("first").textContent = `${elapsed.toFixed(0)} ms`;
      byId("gaps").textContent = "none";
      tell("Speaking");
    }
    this.seconds += samples.length / this.rate;
    byId("length").textContent = `${this.seconds.toFixed(1)} s`;
    byId("factor").textContent = (elapsed / 1000 / this.seconds).toFixed(2);
    this.wave.add(samples, this.rate);
  }

  async close() {
    this.abort.abort();
    await this.context?.close();
  }
}

class Wave {
  constructor(canvas) {
    this.canvas = canvas;
    this.peaks = [];
    this.peak = 0;
    this.left = 0; // samples of the column that is being filled
    this.draw();
  }

  add(samples, rate) {
    const column = Math.round(rate / COLUMNS_A_SECOND);
    for (const sample of samples) {
      this.peak = Math.max(this.peak, Math.abs(sample));
      if (++this.left >= column) {
        this.peaks.push(this.peak);
        this.peak = this.left = 0;
      }
    }
    this.draw();
  }

  draw() {
    const { canvas, peaks } = this;
    const scale = window.devicePixelRatio;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(canvas).color;
    const width = Math.min(canvas.width / Math.max(1, peaks.length), 4 * scale);
    const middle = canvas.height / 2;
    context.fillRect(0, middle, canvas.width, 1);
    peaks.forEach((peak, i) => {
      context.fillRect(i * width, middle * (1 - peak), Math.max(1, width * 0.8), 2 * middle * peak);
    });
  }
}

async function start(event) {
  event?.preventDefault();
  await stop();
  const mine = (speech = new Speech());
  byId("stop").disabled = false;
  for (const id of ["first", "factor", "length", "gaps"]) byId(id).textContent = "–";
  tell("Waiting for the first audio");
  try {
    await mine.run();
    if (speech === mine) tell("Done");
  } catch (error) {
    if (speech === mine) tell(`It failed: ${error.message}`, true);
  }
  if (speech === mine) await stop();
}

async function stop() {
  const ending = speech;
  speech = null;
  byId("stop").disabled = true;
  await ending?.close();
}

// Voices and load

async function listVoices(chosen) {
  const { voices } = await (await ask("v1/audio/voices")).json();
  const options = voices.map(({ id, name }) => new Option(name, id));
  byId("voice").replaceChildren(...options);
  if (chosen) byId("voice").value = chosen;
}

async function upload(event) {
  event.preventDefault();
  const form = new FormData();
  form.set("name", byId("name").value);
  form.set("consent", byId("consent").value);
  form.set("audio_sample", byId("sample").files[0]);
  tell("Listening to the recording");
  try {
    const voice = await (await ask("v1/audio/voices", { method: "POST", body: form })).json();
    await listVoices(voice.id);
    tell(["The voice is kept", ...voice.warnings].join("; "));
  } catch (error) {
    tell(`It failed: ${error.message}`, true);
  }
}

async function showLoad() {
  try {
    const load = await (await fetch("health")).json();
    byId("load").max = load.rows;
    byId("load").value = load.speaking;
    const waiting = load.waiting ? `, ${load.waiting} waiting` : "";
    byId("load-text").textContent = `${load.speaking} of ${load.rows}${waiting}`;
  } catch {
    byId("load-text").textContent = "no server";
  }
}

function takeDrops(area) {
  area.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("over");
  });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    byId("sample").files = event.dataTransfer.files;
  });
}

byId("speak").addEventListener("submit", start);
byId("stop").addEventListener("click", stop);
byId("upload").addEventListener("submit", upload);
byId("key").addEventListener("change", () => listVoices().catch((e) => tell(e.message, true)));
byId("speed").addEventListener("input", () => {
  byId("speed-text").textContent = `${Number(byId("speed").value).toFixed(1)} ×`;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("speak").requestSubmit();
});
takeDrops(byId("drop"));
listVoices().catch((error) => tell(error.message, true));
showLoad();
setInterval(showLoad, LOAD_INTERVAL_MS);
