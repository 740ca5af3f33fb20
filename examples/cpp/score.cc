// SPDX-License-Identifier: Apache-2.0
//
// Introduces usage of values without generating: says of each text how much likelier one prompt makes it than another
// does, from one model, without training.
//
//     c++ -std=c++17 score.cc -o score $(pkg-config --cflags --libs ivg)
//     ./score model.gguf "My review: " "What a wonderful film!" "It was a waste of time."
#include <ivg.hpp>

#include <iomanip>
#include <iostream>
#include <string_view>
#include <vector>

int main(int count, char **arguments) try {
  if (count < 4) {
    std::cerr << "usage: " << arguments[0] << " MODEL PROMPT TEXT...\n";
    return 2;
  }
  const ivg::model model(arguments[1]);
  ivg::session session(model);

  ivg::implicit_options value;
  value.role = IVG_ROLE_SCORE;
  value.tuned_template = "I loved it. {prompt}";
  value.untuned_template = "{prompt}";
  ivg::guidance guidance;
  guidance.add(value);

  const std::vector<std::string_view> texts(arguments + 3, arguments + count);
  const std::vector<double> scores = session.score(guidance, arguments[2], texts);
  std::cout << std::fixed << std::setprecision(3);
  for (std::size_t i = 0; i < texts.size(); i++) std::cout << std::setw(8) << scores[i] << "  " << texts[i] << '\n';
} catch (const std::exception &problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
