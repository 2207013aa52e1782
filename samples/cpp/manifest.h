// What a program that speaks has to know of a bundle's manifest.json, besides what slm.h tells.
//
// In: a bundle's directory. Out: the prompt's template, sampling settings, and how long speech may
// become.
#pragma once

#include <cstddef>
#include <string>

#include "slm.h"
#include "weights/json.h"

struct Manifest {
  std::string template_text;  // holds {text}
  int bos_id = 0;             // the token before the template's
  std::string frontend;       // "none", or what writes the text for the model
  std::string tokenizer;      // a file's path
  slm_sampling sampling{};    // greedy where that is the bundle's default
  double frames_per_token = 0;
  double extra_frames = 0;
  double frames_per_step = 0;
  double frames_per_second = 0;
  int delay_frames = 0;
  int max_positions = 0;
};

inline constexpr slm_sampling kGreedy = {1.0f, 1, 1.0f, 1.0f};

// A JSON file of the bundle. Throws slm::Failure: it is missing, too large or damaged.
slm::Json read_json(const std::string& path);

// Throws slm::Failure: no manifest, or a damaged one.
Manifest read_manifest(const std::string& bundle);

// The most steps that so many tokens of text take: some models fail to stop. 0 or less: there is no
// room for speech behind a prompt of so many positions.
int bound_steps(const Manifest& manifest, std::size_t text_tokens, std::size_t positions);
