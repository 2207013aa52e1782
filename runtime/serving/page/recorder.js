// The microphone: a recording for a new voice, in whatever format this browser records.

const byId = (id) => document.getElementById(id);
const LONGEST_SECONDS = 29; // the server takes 30
const AS_IT_IS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

let recorder = null; // that is listening

function tell(message, isBad = false) {
  byId("status").textContent = message;
  byId("status").className = isBad ? "bad" : "";
}

async function start() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
  const mine = (recorder = new MediaRecorder(stream));
  const parts = [];
  mine.ondataavailable = ({ data }) => parts.push(data);
  mine.onstop = () => {
    clearInterval(clock);
    for (const track of stream.getTracks()) track.stop();
    recorder = null;
    byId("record").textContent = "Record again";
    keep(new Blob(parts, { type: mine.mimeType }));
  };
  const begun = performance.now();
  const clock = setInterval(() => {
    const seconds = (performance.now() - begun) / 1000;
    byId("record-text").textContent = `${seconds.toFixed(0)} s`;
    if (seconds >= LONGEST_SECONDS && mine.state === "recording") mine.stop();
  }, 200);
  byId("record").textContent = "Stop recording";
  tell("Recording");
  mine.start();
}

function keep(blob) {
  const files = new DataTransfer();
  files.items.add(new File([blob], "recording", { type: blob.type }));
  byId("sample").files = files.files;
  tell("Recorded; give it a name");
}

async function toggle() {
  if (recorder) {
    recorder.stop();
    return;
  }
  try {
    await start();
  } catch (error) {
    tell(`It failed: the browser gives no microphone (${error.message})`, true);
  }
}

if (navigator.mediaDevices && window.MediaRecorder) { // on this machine, or over https
  byId("recorder").hidden = false;
  byId("record").addEventListener("click", toggle);
}
