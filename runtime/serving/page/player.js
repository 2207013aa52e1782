// Plays samples as they come, in the audio thread. Messages in: Float32Array, or "end". Messages
// out: {gap: seconds} when it had nothing to play, "over" when all was played.

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.position = 0; // in the first of the queue
    this.ended = false;
    this.begun = false;
    this.missing = 0; // samples of the gap that is being heard
    this.port.onmessage = ({ data }) => {
      if (data === "end") this.ended = true;
      else this.queue.push(data);
    };
  }

  process(_, [[output]]) {
    let filled = 0;
    while (filled < output.length && this.queue.length) {
      const chunk = this.queue[0];
      const count = Math.min(output.length - filled, chunk.length - this.position);
      output.set(chunk.subarray(this.position, this.position + count), filled);
      filled += count;
      this.position += count;
      if (this.position === chunk.length) {
        this.queue.shift();
        this.position = 0;
      }
    }
    this.noteGap(filled, output.length - filled);
    if (this.ended && !this.queue.length) {
      this.port.postMessage("over");
      return false;
    }
    return true;
  }

  noteGap(filled, missing) {
    if (filled && this.missing) {
      this.port.postMessage({ gap: this.missing / sampleRate });
      this.missing = 0;
    }
    this.begun ||= filled > 0;
    if (this.begun && !this.ended) this.missing += missing;
  }
}

registerProcessor("player", Player);
