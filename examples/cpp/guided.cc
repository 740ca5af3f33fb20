// SPDX-License-Identifier: Apache-2.0
//
// Introduces usage of guidance from C++: an implicit value from one model under two prompts steers every token, and ranks
// the rows of a chunk-level beam search (W 2, K 2, L 10).
//
//     c++ -std=c++17 guided.cc -o guided $(pkg-config --cflags --libs ivg)
//     ./guided model.gguf "The film was"
#include <ivg.hpp>

#include <iomanip>
#include <iostream>

int main(int count, char **arguments) try {
  if (count != 3) {
    std::cerr << "usage: " << arguments[0] << " MODEL PROMPT\n";
    return 2;
  }
  const ivg::model model(arguments[1]);
  ivg::session session(model);

  ivg::guidance_options search;
  search.width = 2;
  search.successors = 2;
  search.chunk = 10;
  ivg::implicit_options value;  // models that are not named are the session's own
  value.role = IVG_ROLE_TILT | IVG_ROLE_SCORE;
  value.tuned_template = "A review by someone who loved it: {prompt}";
  value.untuned_template = "A review: {prompt}";
  ivg::guidance guidance(search);
  guidance.add(value);

  ivg::generate_options options;
  options.max_tokens = 40;
  options.seed = 1;
  for (const ivg::step &step : session.generate(arguments[2], options, guidance)) std::cout << step.view() << std::flush;
  std::cout << '\n';

  // Rows that were kept, best first, with their scores.
  for (std::uint32_t i = 0; i < session.result().candidate_count; i++) {
    const ivg::candidate row = session.candidate(i);
    std::cout << i << ": score " << std::fixed << std::setprecision(3) << row.score << ", " << row.token_count << " tokens\n";
  }
} catch (const std::exception &problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
