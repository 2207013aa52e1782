/* slm.h: speech language models on CPUs, from bundles of `python -m export.build --target native`.
 *
 * In: a bundle's directory, prompts, frames or recordings. Out: codes, audio, frames. Plain C, for
 * any language. Nothing is thrown, nothing is printed, and no call ends the process: a function
 * returns a status, and on failure fills in the error that it was given.
 *
 *   slm_bundle    a loaded model: weights, codec, voices. It does not change after loading, so any
 *                 number of threads can use it.
 *   slm_sequence  one utterance of the language model: what it has read, and the codes it has drawn.
 *   slm_speech    one utterance of the codec's decoder: frames go in, audio comes out.
 *
 * A sequence and a speech belong to one thread at a time. Results depend on the bundle, the inputs
 * and the kernels' instruction set only: not on threads, not on other sequences of the same call.
 */
#ifndef SLM_H
#define SLM_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SLM_API __declspec(dllexport)
#else
#define SLM_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header. A library of another number has another interface: refuse it. */
#define SLM_INTERFACE 1

typedef enum slm_status {
  SLM_OK = 0,
  SLM_BAD_ARGUMENT = 1, /* a null pointer, a size or a value out of range */
  SLM_BAD_BUNDLE = 2,   /* a file is missing, damaged, or of another version */
  SLM_NO_MEMORY = 3,
  SLM_NO_ROOM = 4,      /* a sequence has reached the model's last position */
  SLM_CANCELLED = 5,
  SLM_NOT_SUPPORTED = 6, /* this bundle or processor cannot do that */
  SLM_BROKEN = 7         /* an error of the library itself */
} slm_status;

/* One line for people: what, where, how to mend. Empty after success. */
typedef struct slm_error {
  char message[512];
} slm_error;

typedef struct slm_bundle slm_bundle;
typedef struct slm_sequence slm_sequence;
typedef struct slm_speech slm_speech;

/* SLM_INTERFACE of the library. */
SLM_API uint32_t slm_interface(void);
/* Version of the library, such as "0.4.0". */
SLM_API const char *slm_version(void);

/* -- bundles ------------------------------------------------------------------------------------ */

typedef struct slm_options {
  uint32_t size;       /* sizeof(slm_options); new fields are added at the end */
  int32_t threads;     /* at most so many; 0: as many as processors are free to this process */
  int32_t map_weights; /* 1: map the file, so that processes share its memory; 0: copy it into large
                          pages, which is faster to read */
  const char *kernels; /* NULL: the fastest of this processor; or a name, as slm_kernels lists them */
  int32_t time_parts;  /* 1: keep the times of the model's parts, for slm_part_times */
} slm_options;

typedef struct slm_facts {
  uint32_t size; /* sizeof(slm_facts), set by the caller */
  int32_t heads;             /* codes a step */
  int32_t is_next_token;     /* 1: one code a step, stream after stream */
  int32_t hidden_size;
  int32_t max_positions;
  int32_t streams;           /* codes of a frame */
  int32_t sample_rate_hz;
  int32_t hop_samples;
  int32_t delay_frames;      /* frames that the codec must see before a frame's audio is final */
  int32_t speaker_channels;
  int32_t is_speaker_aware;
  int32_t has_text_head;
  int32_t threads;
  int64_t weight_bytes;
  int64_t step_bytes;        /* that one step reads of the weights */
  const char *precision;     /* of the language model: "fp32", "bf16", "int8", "int4" */
  const char *codec_precision;
  const char *kernels;       /* in use, such as "avx512" */
  const char *cache;         /* of keys and values: "float32", "float16" or "int8" */
  int32_t prefixes;          /* that prompts can begin with and that are not read again */
} slm_facts;

/* Names of the kernels that this processor can run, fastest first, separated by spaces. */
SLM_API const char *slm_kernels(void);

/* Open a bundle. options may be NULL. The bundle's hashes are checked only by slm_verify. */
SLM_API slm_status slm_open(const char *directory, const slm_options *options, slm_bundle **bundle,
                            slm_error *error);
/* The bundle must not be closed before its sequences and speeches. NULL is ignored. */
SLM_API void slm_close(slm_bundle *bundle);
/* Compare every file that the manifest lists with its SHA-256, without opening the bundle. */
SLM_API slm_status slm_verify(const char *directory, slm_error *error);
SLM_API slm_status slm_describe(const slm_bundle *bundle, slm_facts *facts, slm_error *error);

/* The speaker embedding of a stored voice, float [speaker_channels]. name NULL: the default voice. */
SLM_API slm_status slm_voice(const slm_bundle *bundle, const char *name, float *speaker,
                             slm_error *error);
/* Input embeddings of tokens: float [count][hidden_size]. Where a token is the bundle's placeholder
 * and `speaker` is not NULL, the projected speaker stands in its place. */
SLM_API slm_status slm_embed(const slm_bundle *bundle, const int32_t *tokens, size_t count,
                             const float *speaker, float *embeddings, slm_error *error);
/* What stands for a speaker in a prompt: float [speaker_channels] -> float [hidden_size]. */
SLM_API slm_status slm_project_speaker(const slm_bundle *bundle, const float *speaker,
                                       float *embedding, slm_error *error);

/* What prefix `number` (0 … prefixes - 1) was read as: tensor "prefix.NUMBER" of prefixes.safetensors,
 * U8 [bytes]. A bundle that has this file reads it instead. state NULL: only `bytes` is told. */
SLM_API slm_status slm_prefix(const slm_bundle *bundle, size_t number, void *state, size_t room,
                              size_t *bytes, slm_error *error);

/* -- measuring ---------------------------------------------------------------------------------- */

/* What a part of a layer has cost, in all calls of a stage: "read" (slm_read), "step" (slm_step) or
 * "decode" (slm_speech_decode). The parts of a stage add up to its calls. layer: "0", "1" … of the
 * backbone, "head 0" … (those with decoder layers: "head 0 layer 0" …), "final", "drawing" and
 * "other" of the language model; "first", "stage 1" …, "last" and "other" of the codec. */
typedef struct slm_part_time {
  const char *stage;
  const char *layer;
  const char *part;
  double seconds;
  int64_t calls;
} slm_part_time;

/* Times since the last such call, of a bundle that was opened with time_parts. times: room for
 * `room` of them, whose names are valid until the bundle is closed; or NULL, then count is the room
 * that is always enough, and nothing is forgotten. */
SLM_API slm_status slm_part_times(const slm_bundle *bundle, slm_part_time *times, size_t room,
                                  size_t *count, slm_error *error);

typedef struct slm_limits {
  uint32_t size; /* sizeof(slm_limits), set by the caller; new fields are added at the end */
  double read_bytes_per_second; /* of memory in large pages. 0: too little memory is free to read
                                   beyond the caches */
  double fp32_macs_per_second;  /* multiply-adds; 0: the processor has no instruction for them */
  double bf16_macs_per_second;
  double int8_macs_per_second;
} slm_limits;

/* What this machine can do at most with so many threads, in a second or two: other work on it makes
 * it less. It takes at most a quarter of the free memory, and 1 GB. */
SLM_API slm_status slm_measure_limits(int32_t threads, slm_limits *limits, slm_error *error);

/* -- sequences: the language model -------------------------------------------------------------- */

typedef struct slm_sampling {
  float temperature;        /* above 0 */
  int32_t top_k;            /* 1: greedy */
  float top_p;              /* 0 … 1 */
  float repetition_penalty; /* 1 … */
} slm_sampling;

/* A sequence with room for `positions` positions; it grows when more are read. */
SLM_API slm_status slm_sequence_open(const slm_bundle *bundle, int64_t positions,
                                     slm_sequence **sequence, slm_error *error);
SLM_API void slm_sequence_close(slm_sequence *sequence);
/* Read embeddings, float [count][hidden_size], after everything that was read before. Codes that the
 * last slm_step drew are read first. Nothing has changed if this fails. */
SLM_API slm_status slm_read(slm_sequence *sequence, const float *embeddings, size_t count,
                            slm_error *error);
/* Hidden state (final norm) of the last position read, float [hidden_size]. */
SLM_API slm_status slm_hidden(const slm_sequence *sequence, float *hidden, slm_error *error);
/* Draw a token of text after the last position; it is not read yet. Codes that the last slm_step
 * drew are read first. noise: in [0, 1). */
SLM_API slm_status slm_write(slm_sequence *sequence, const slm_sampling *sampling, float noise,
                             int32_t *token, slm_error *error);

typedef struct slm_drawn {
  int32_t kept; /* leading codes that are speech */
  int32_t stop; /* 1: a head drew the end of speech */
} slm_drawn;

/* One step of `rows` different sequences of one bundle, side by side.
 *
 * Each sequence draws the codes after its last position; the embedding of those codes is read by its
 * next step. sampling: one for each row. noise: float [rows][heads] in [0, 1). codes: int32
 * [rows][heads]. drawn: one for each row. Nothing has changed if this fails. */
SLM_API slm_status slm_step(slm_sequence *const *sequences, size_t rows,
                            const slm_sampling *sampling, const float *noise, int32_t *codes,
                            slm_drawn *drawn, slm_error *error);
/* End the work of the thread that is in slm_read or slm_step with this sequence: it returns
 * SLM_CANCELLED, and so do all later calls. May be called from any thread. */
SLM_API void slm_cancel(slm_sequence *sequence);

/* -- speech: the codec -------------------------------------------------------------------------- */

/* speaker: float [speaker_channels]. */
SLM_API slm_status slm_speech_open(const slm_bundle *bundle, const float *speaker,
                                   slm_speech **speech, slm_error *error);
SLM_API void slm_speech_close(slm_speech *speech);
/* Do not let the first audio wait for all the later frames that it depends on (delay_frames): it goes
 * up to `look_ahead` frames before the newest one, computed as though that one went on. The audio
 * behind it is exact again, after a fade of one frame. Only before any frames were given. With the
 * demo codec (delay_frames 14) the error in the last 10 frames of the first audio is 38 dB below
 * the speech for a look_ahead of 6, and 28 dB for 4. */
SLM_API slm_status slm_speech_hasten(slm_speech *speech, int32_t look_ahead, slm_error *error);
/* Decode further frames, int32 [count][streams]; is_last: no more will come.
 *
 * Writes the audio that is final: samples in [-1, 1]. Joined, the audio of all calls is that of the
 * whole utterance, whatever the calls' sizes. room: of `audio`, in samples; slm_speech_room says how
 * many a call can write. */
SLM_API slm_status slm_speech_decode(slm_speech *speech, const int32_t *frames, size_t count,
                                     int32_t is_last, float *audio, size_t room, size_t *samples,
                                     slm_error *error);
/* The most samples that slm_speech_decode can write for `count` more frames. */
SLM_API size_t slm_speech_room(const slm_speech *speech, size_t count);

/* Frames and speaker of a recording: float [samples] at the bundle's rate -> int32
 * [count][streams], float [speaker_channels]. room: of `frames`, in frames; samples / hop + 1 is
 * enough. Either output may be NULL. */
SLM_API slm_status slm_encode(const slm_bundle *bundle, const float *audio, size_t samples,
                              int32_t *frames, size_t room, size_t *count, float *speaker,
                              slm_error *error);

#ifdef __cplusplus
}
#endif

#endif
